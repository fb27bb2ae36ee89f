"""A farm's analysis: each result with its inputs, and the advice that follows."""

import math

import pytest

from fieldhand.service import farm
from fieldhand.service.agronomy import atmosphere as air
from fieldhand.service.agronomy import disease, nutrients, radiation, soilwater, weather
from fieldhand.service.agronomy.analysis import Farm, analyse
from fieldhand.service.agronomy.et0 import penman_monteith
from fieldhand.service.farm import FarmSettings
from fieldhand.service.store.agronomy import HOUR_S, Span

# 6 July 2026, 12:00 UTC: the 24 hours before it have their middle in day 187, as example 18 of
# FAO-56 has. Hours of its Uccle, with its extremes.
NOON = 1783339200.0
LAST = int(NOON // HOUR_S)
UCCLE = FarmSettings(latitude=50.80, altitude=100, wind_height=10, radiation=22.07)
# The telemetry of the Smart Farming document.
DOCUMENT = {
    "soil_moisture": 53.1,
    "air_temperature": 26.1,
    "relative_humidity": 41.9,
    "npk": 389,
    "ec": 1.06,
    "wind_speed": 20.6,
    "ph": 8.1,
}


def span(value, low=None, high=None):
    return Span(120, value, value if low is None else low, value if high is None else high)


def uccle_hours(count=24, **more):
    hours = {}
    for n in range(count):
        hours[LAST - n] = {
            "air_temperature": span(16.0, low=12.3 if n == 8 else 15.0, high=16.5),
            "relative_humidity": span(75.0, low=74.0, high=84.0 if n == 8 else 76.0),
            "wind_speed": span(10.0),
            **more,
        }
    hours[LAST]["air_temperature"] = span(21.0, low=20.0, high=21.5)
    hours[LAST]["relative_humidity"] = span(65.0, low=63.0, high=66.0)
    return hours


def look(values, hours=None, place=UCCLE, **more):
    return analyse(Farm(NOON, values, uccle_hours() if hours is None else hours, place, **more))


def advice(found, subject):
    return [item for item in found.recommendations if item.subject == subject]


def test_et0_of_example_18_through_the_whole_analysis():
    et0 = look(DOCUMENT).analysis["et0"]
    assert et0.value == pytest.approx(3.88, abs=0.01)
    assert et0.unit == "mm/day"
    sources = {name: item.source for name, item in et0.inputs.items()}
    assert sources == {
        "t_max": "measured",
        "t_min": "measured",
        "rh_max": "measured",
        "rh_min": "measured",
        "wind": "measured",
        "wind_height": "set",
        "latitude": "set",
        "day_of_year": "computed",
        "altitude": "set",
        "radiation": "set",
    }


def test_every_number_can_be_had_from_the_inputs_told_with_it():
    """As a reader of the answer would do it, who has nothing but the answer and FAO-56."""
    place = UCCLE.model_copy(update={"radiation": None, "longitude": 4.36, "crop_coefficient": 1.1})
    found = look({**DOCUMENT, "soil_moisture": 17.0}, place=place)
    results = found.model_dump(mode="json")["analysis"]

    def told(name):
        return {key: item["value"] for key, item in results[name]["inputs"].items()}

    et0 = told("et0")
    ra = radiation.extraterrestrial(et0["latitude"], et0["day_of_year"])
    rso = radiation.clear_sky(et0["altitude"], ra)
    es = air.mean_saturation_pressure(et0["t_max"], et0["t_min"])
    ea = air.vapour_pressure(et0["t_max"], et0["t_min"], et0["rh_max"], et0["rh_min"])
    lost = radiation.net_longwave(et0["t_max"], et0["t_min"], ea, et0["radiation"] / rso)
    mean = (et0["t_max"] + et0["t_min"]) / 2
    again = penman_monteith(
        net_radiation=radiation.net_shortwave(et0["radiation"]) - lost,
        temperature=mean,
        wind=air.wind_at_2m(et0["wind"], et0["wind_height"]),
        es=es,
        ea=ea,
        slope=air.saturation_slope(mean),
        gamma=air.psychrometric_constant(air.pressure(et0["altitude"])),
    )
    assert results["et0"]["value"] == pytest.approx(again, abs=2e-4)

    vpd = told("vpd")
    again = air.saturation_pressure(vpd["temperature"]) * (1 - vpd["humidity"] / 100)
    assert results["vpd"]["value"] == pytest.approx(again, abs=1e-4)

    for name in ("water", "forecast"):
        soil = told(name)
        crop_et = soil["crop_coefficient"] * soil["et0"]
        p = soil["depletion_fraction"] + 0.04 * (5 - crop_et)
        taw = 10 * (soil["field_capacity"] - soil["wilting_point"]) * soil["root_depth"]
        lacking = 10 * (soil["field_capacity"] - soil["moisture"]) * soil["root_depth"]
        ks = (taw - lacking) / ((1 - p) * taw)
        assert 0 < ks < 1
        if name == "water":
            assert results["water"]["value"] == pytest.approx(lacking)
            assert results["water"]["details"]["stress_coefficient"] == pytest.approx(ks, abs=6e-4)
        else:
            dried = ks * crop_et * soil["day_share"]
            again = soil["moisture"] - dried / (10 * soil["root_depth"])
            assert results["forecast"]["value"] == pytest.approx(again, abs=2e-4)


def test_in_a_calm_et0_is_that_of_half_a_metre_a_second():
    """FAO-56, "Missing wind speed data": u2 is limited to about 0.5 m/s."""
    still = look(DOCUMENT, uccle_hours(wind_speed=span(0.0))).analysis["et0"]
    # 1.8 km/h are 0.5 m/s, at 10 m 0.37 m/s at 2 m; 0.5 m/s at 2 m are 0.6685 m/s at 10 m.
    slow = look(DOCUMENT, uccle_hours(wind_speed=span(1.8))).analysis["et0"]
    limit = look(DOCUMENT, uccle_hours(wind_speed=span(0.669 * 3.6))).analysis["et0"]
    assert still.value == slow.value
    assert still.value == pytest.approx(limit.value, abs=1e-3)
    assert still.inputs["wind"].value == 0
    assert still.inputs["wind_at_2m"].how == farm.CALM_HOW
    assert "wind_at_2m" not in limit.inputs


def test_et0_of_example_20_with_nothing_but_temperatures():
    hours = {LAST - n: {"air_temperature": span(20.7, 20.0, 21.0)} for n in range(24)}
    hours[LAST]["air_temperature"] = span(26.0, 25.0, 26.6)
    hours[LAST - 9]["air_temperature"] = span(15.0, 14.8, 15.5)
    # 9 days on: day 196. Lyon, its altitude set.
    later = {hour + 9 * 24: spans for hour, spans in hours.items()}
    place = FarmSettings(latitude=45.72, altitude=200)
    found = analyse(Farm(NOON + 9 * 86400, {}, later, place))
    et0 = found.analysis["et0"]
    assert et0.value == pytest.approx(4.56, abs=0.01)
    how = {name: item.how for name, item in et0.inputs.items() if item.source == "estimated"}
    assert how == {
        "dew_point": "not measured: Tmin, FAO-56 eq. 48",
        "wind": farm.WIND_HOW,
        "radiation": "not measured: from Tmax - Tmin, FAO-56 eq. 50, kRs 0.16",
    }


def test_a_measured_pressure_counts_more_than_the_altitude():
    at_sea = look(DOCUMENT, place=FarmSettings(latitude=50.8, radiation=22.07))
    assert at_sea.analysis["et0"].inputs["altitude"].how == farm.ALTITUDE_HOW
    hours = uccle_hours(pressure=span(700.0))
    high = look(DOCUMENT, hours, place=FarmSettings(latitude=50.8, radiation=22.07))
    assert high.analysis["et0"].inputs["pressure"].value == 70.0
    assert high.analysis["et0"].value != at_sea.analysis["et0"].value


@pytest.mark.parametrize(
    "hours, place, why",
    [
        (uccle_hours(17), UCCLE, "needs 18 of the last 24 hours measured, has 17"),
        ({}, UCCLE, "needs 18 of the last 24 hours measured, has 0"),
        (None, FarmSettings(), "latitude is not set: [service.agronomy] of the fleet file"),
        (None, FarmSettings(latitude=-80), "the sun does not rise at -80° on this day"),
    ],
)
def test_an_et0_that_cannot_be_had_says_why(hours, place, why):
    et0 = look(DOCUMENT, hours, place).analysis["et0"]
    assert (et0.value, et0.missing) == (None, why)


def test_the_reading_of_the_document():
    """pH 8.1 locks out nitrogen too by ammonia; the wind of 20.6 km/h stops fertilization."""
    found = look(DOCUMENT, fertilization_blocked="wind 20.6 km/h is above 20 km/h")
    results = found.analysis
    # e°(26.1) = 0.6108 exp(17.27 * 26.1 / 263.4) = 3.381 kPa, of which 58.1 % lack.
    assert results["vpd"].value == pytest.approx(3.381 * 0.581, abs=0.001)
    assert results["vpd"].state == "dry"
    assert set(results["nutrient_lockout"].details) == {
        "nitrogen", "phosphorus", "iron", "manganese", "zinc", "copper", "boron",
    }  # fmt: skip
    assert results["salinity"].state == "non-saline"
    assert results["npk"].missing is not None
    assert results["wind"].state == "blocked"
    assert [(r.subject, r.advice) for r in found.recommendations] == [
        ("irrigation", "none"),
        ("fertilization", "blocked"),
        ("ph", "lower"),
    ]
    assert "20.6 km/h" in advice(found, "fertilization")[0].text


def test_every_result_has_a_method_and_what_it_comes_from_or_what_is_missing():
    for values in (DOCUMENT, {}, {"soil_moisture": 20.0}):
        for place in (UCCLE, FarmSettings()):
            for name, result in look(values, place=place).analysis.items():
                assert result.method, name
                assert result.inputs or result.missing, name
                assert all(item.how for item in result.inputs.values()), name
                for recommendation in look(values, place=place).recommendations:
                    assert recommendation.because


def test_irrigation_by_hand():
    """Loam, 0.5 m of roots: TAW = 65 mm. ETc 3.88 mm/day: p = 0.5 + 0.04 (5 - 3.88) = 0.545, so RAW
    = 35.4 mm, which 17.9 % moisture falls short of by 7.1 points of 5 mm each = 35.5 mm."""
    found = look({**DOCUMENT, "soil_moisture": 17.9})
    water = found.analysis["water"]
    assert water.value == pytest.approx(35.5)
    assert water.details["total_available_mm"] == 65.0
    assert water.details["readily_available_mm"] == 35.4
    assert water.state == "dry"
    (now,) = advice(found, "irrigation")
    assert (now.advice, now.unit) == ("now", "mm")
    assert now.amount == pytest.approx(35.5 / 0.75, abs=0.05)


def test_no_more_lacks_than_a_root_zone_holds():
    """FAO-56 eq. 86: Dr is TAW at most. A sensor that lies on the ground says 0 %."""
    found = look({**DOCUMENT, "soil_moisture": 0.0})
    assert found.analysis["water"].value == 65.0
    (now,) = advice(found, "irrigation")
    assert now.amount == pytest.approx(65 / 0.75, abs=0.05)
    assert "is it in the soil?" in now.text
    assert "is it" not in advice(look({**DOCUMENT, "soil_moisture": 12.0}), "irrigation")[0].text


def test_what_of_the_soil_is_only_estimated_is_told_with_the_advice():
    (now,) = advice(look({**DOCUMENT, "soil_moisture": 15.0}), "irrigation")
    assert "(field capacity, wilting point and root depth estimated)" in now.text
    soil = {"field_capacity": 25.0, "wilting_point": 12.0}
    (now,) = advice(
        look({**DOCUMENT, "soil_moisture": 15.0}, place=UCCLE.model_copy(update=soil)), "irrigation"
    )
    assert "field capacity (root depth estimated): give" in now.text


def test_a_soil_wetter_than_field_capacity():
    (none,) = advice(look(DOCUMENT), "irrigation")
    assert none.advice == "none"
    assert none.text.startswith("53.1 % is above field capacity (25 %, not set")


FROST = {"soil_moisture": 5.0, "air_temperature": -5.0, "ec": 9.0, "npk": 100, "ph": 6.5}


def test_frozen_soil_reads_dry_and_is_neither_watered_nor_fertilized():
    place = UCCLE.model_copy(update={"npk_low": 300})
    found = look({**DOCUMENT, **FROST}, place=place)
    said = {item.subject: item for item in found.recommendations}
    assert {name: item.advice for name, item in said.items()} == {
        "irrigation": "wait", "fertilization": "wait", "salinity": "wait",
    }  # fmt: skip
    assert said["irrigation"].because == ["frost", "water"]
    assert said["irrigation"].amount is None
    # At 0.1 degrees there is no frost: e°(-5) is 0.42 kPa, and any air would be damp.
    assert found.analysis["leaf_fungi"].missing == "the limits do not hold in frost"
    thaw = look({**DOCUMENT, **FROST, "air_temperature": 0.1}, place=place)
    assert advice(thaw, "irrigation")[0].advice == "now"
    assert advice(thaw, "salinity")[0].advice == "leach"
    # The soil's own temperature counts more than the air's.
    warm = look({**DOCUMENT, **FROST, "soil_temperature": 2.0}, place=place)
    assert advice(warm, "irrigation")[0].advice == "now"


def test_of_an_old_reading_nothing_is_to_be_done():
    found = look({**DOCUMENT, "soil_moisture": 10.0}, now=NOON + 86_400)
    assert found.analysis["age"].value == 24
    assert [(item.advice, item.text) for item in found.recommendations] == [
        ("unknown", "the latest reading is 24 h old")
    ] * 2
    young = look({**DOCUMENT, "soil_moisture": 10.0}, now=NOON + 86_399)
    assert advice(young, "irrigation")[0].advice == "now"


def test_irrigation_soon_by_the_physical_forecast():
    # 3.88 mm/day in 6 hours are 0.97 mm, 0.19 points of a root zone of 0.5 m.
    found = look({**DOCUMENT, "soil_moisture": 18.0})
    ahead = found.analysis["forecast"]
    assert ahead.value == pytest.approx(18.0 - 0.194, abs=0.002)
    assert ahead.details["model"] == "physical"
    assert "no model is trained" in ahead.details["why"]
    assert ahead.details["error"] == "not validated on this farm"
    (soon,) = advice(found, "irrigation")
    assert soon.advice == "soon"
    assert "physical model" in soon.text


def test_a_forecast_without_et0_is_the_moisture_of_now_and_says_so():
    ahead = look(DOCUMENT, hours={}).analysis["forecast"]
    assert (ahead.value, ahead.state) == (53.1, "naive")
    assert "needs 18 of the last 24 hours" in ahead.details["why"]


@pytest.mark.parametrize(
    "change, place, wanted",
    [
        ({}, {}, "unknown"),
        ({"npk": 500}, {"npk_low": 400}, "none"),
        ({"npk": 300, "ph": 6.5}, {"npk_low": 400}, "apply"),
        ({"npk": 300, "ph": 5.0}, {"npk_low": 400}, "wait"),
        ({"npk": 300, "ph": 6.5, "ec": 4.0}, {"npk_low": 400}, "wait"),
    ],
)
def test_fertilization(change, place, wanted):
    settings = UCCLE.model_copy(update=place)
    found = look({**DOCUMENT, **change}, place=settings)
    assert [item.advice for item in advice(found, "fertilization")] == [wanted]


def test_acid_soil_is_limed_and_toxic():
    found = look({**DOCUMENT, "ph": 5.2})
    (ph,) = advice(found, "ph")
    assert ph.advice == "raise"
    assert "aluminium and manganese are toxic" in ph.text
    assert "iron" not in found.analysis["nutrient_lockout"].details


@pytest.mark.parametrize(
    "ph, wanted, word",
    [
        (0, "check", "ultra acid (below 3.5)"),
        (3, "check", "try the probe in a buffer first"),
        (3.5, "raise", "lime"),
        (8.5, "lower", "sulphur"),
        (8.6, "lower", "gypsum"),
        (9.0, "lower", "gypsum"),
        (10, "check", "very strongly alkaline (above 9)"),
    ],
)
def test_a_ph_at_the_edges(ph, wanted, word):
    (said,) = advice(look({**DOCUMENT, "ph": ph}), "ph")
    assert said.advice == wanted
    assert word in said.text


def test_what_locks_a_nutrient_out_is_told_with_its_limit():
    details = look({**DOCUMENT, "ph": 8.1}).analysis["nutrient_lockout"].details
    assert details["phosphorus"] == "fixed by calcium (above 7.5)"
    assert details["nitrogen"] == "lost as ammonia (above 8)"


def test_fertilizer_where_ph_and_salt_are_not_known():
    values = {name: DOCUMENT[name] for name in ("npk", "soil_moisture")}
    found = look(values, place=UCCLE.model_copy(update={"npk_low": 400}))
    (said,) = advice(found, "fertilization")
    assert said.advice == "apply"
    assert said.text == (
        "NPK 389 is below the farm's limit of 400;"
        " pH and salinity not measured: either may lock it out"
    )


@pytest.mark.parametrize("ph", [6.0, 6.5, 7.0, 7.5])
def test_nothing_is_locked_out_between_6_and_7_5(ph):
    assert nutrients.locked_out(ph) == {}


@pytest.mark.parametrize(
    "ec, name",
    [(0, "non-saline"), (2, "slightly saline"), (4, "moderately saline"), (8, "strongly saline"),
     (16, "very strongly saline"), (20, "very strongly saline")],
)  # fmt: skip
def test_salinity_classes_of_handbook_60(ec, name):
    assert nutrients.salinity(ec)[0] == name


def test_saline_soil_is_leached():
    assert [item.advice for item in advice(look({**DOCUMENT, "ec": 9}), "salinity")] == ["leach"]


def blight_hours(humid, t_min=11.0):
    """Two days with so many hours of 92 %, the older day's first."""
    hours = {}
    for day, count in enumerate(humid):
        for n in range(24):
            hour = LAST - 47 + 24 * day + n
            hours[hour] = {
                "air_temperature": span(15.0, t_min, 18.0),
                "relative_humidity": span(92.0 if n < count else 80.0),
            }
    return hours


@pytest.mark.parametrize(
    "humid, t_min, wanted",
    [
        ((6, 6), 10.0, "high"),
        ((6, 6), 9.9, "low"),
        ((5, 6), 11.0, "medium"),
        ((6, 5), 11.0, "low"),
        ((24, 24), 20.0, "high"),
    ],
)
def test_late_blight_by_the_hutton_criteria(humid, t_min, wanted):
    found = look(DOCUMENT, blight_hours(humid, t_min))
    assert found.analysis["late_blight"].state == wanted
    said = [r.advice for r in advice(found, "disease") if "late_blight" in r.because]
    assert said == ([] if wanted == "low" else [wanted])


def test_late_blight_needs_two_days():
    assert "two days" in look(DOCUMENT).analysis["late_blight"].missing


@pytest.mark.parametrize(
    "kpa, risk", [(0.1, "high"), (0.2, "medium"), (0.42, "medium"), (0.43, "low")]
)
def test_leaf_fungi_by_vpd(kpa, risk):
    assert disease.leaf_fungi(kpa) == risk


def test_stress_by_hand():
    # TAW 160 mm, p 0.4: RAW 64 mm. At 112 mm half of the rest is gone.
    assert soilwater.total_available(0.32, 0.12, 0.8) == pytest.approx(160)
    assert soilwater.stress(160, 64, 0.4) == 1
    assert soilwater.stress(160, 112, 0.4) == pytest.approx(0.5)
    assert soilwater.stress(160, 160, 0.4) == 0
    assert soilwater.stress(160, 170, 0.4) == 0


def test_depletion_fraction_of_table_22s_footnote():
    # The footnote: p of 0.3 is 0.3 at 5 mm/day; the limits are 0.1 and 0.8.
    assert soilwater.depletion_fraction(0.3, 5) == pytest.approx(0.3)
    assert soilwater.depletion_fraction(0.3, 10) == pytest.approx(0.1)
    assert soilwater.depletion_fraction(0.65, 0) == pytest.approx(0.8)


def test_a_farms_own_settings_come_after_those_of_every_farm():
    settings = {"*": FarmSettings(latitude=10, altitude=5), "farm_001": FarmSettings(latitude=20)}
    found = farm.farm_of(settings, "farm_001", {"agronomy": {"altitude": 7}})
    assert (found.latitude, found.altitude) == (20, 7)
    assert farm.farm_of(settings, "farm_002", {}).latitude == 10


@pytest.mark.parametrize(
    "option, reason",
    [
        ({"latitude": 91}, "agronomy.latitude: Input should be less than or equal to 90"),
        ({"latitude": math.nan}, "agronomy.latitude"),
        ({"lattitude": 1}, "agronomy.lattitude: Extra inputs"),
        ({"wilting_point": 30}, "wilting_point .30 %. is not a point below field_capacity .25 %"),
    ],
)
def test_a_wrong_option_is_refused(option, reason):
    with pytest.raises(ValueError, match=reason):
        farm.farm_of({}, "farm_001", {"agronomy": option})


def test_the_day_of_the_year_is_that_of_the_middle():
    assert weather.day_of_year(LAST) == 187
    assert weather.day_of_year(LAST - 2) == 186
