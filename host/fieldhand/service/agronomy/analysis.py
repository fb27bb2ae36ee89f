"""The analysis of a farm: every result with its inputs, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldhand.service import farm
from fieldhand.service.agronomy import (
    disease,
    evaporation,
    forecast,
    nutrients,
    soilwater,
    vpd,
    weather,
)
from fieldhand.service.agronomy.advice import recommend
from fieldhand.service.agronomy.forecast import Model, Way
from fieldhand.service.agronomy.results import (
    Analysis,
    Input,
    Result,
    computed,
    given,
    measured,
    missing,
    result,
)
from fieldhand.service.agronomy.weather import Hours
from fieldhand.service.commands.guards import WIND_LIMIT_KMH
from fieldhand.service.farm import FarmSettings
from fieldhand.service.store.agronomy import HOUR_S
from fieldproto.timestamps import format_utc

# What a reading says of the water in a soil, and of the air, a day later is no ground to act on.
STALE_S = 86_400.0
NOT_MEASURED = "the latest reading has no plausible value of {}"
LATEST = "the node's latest reading"
WATER_METHOD = "FAO-56 chapter 8: depletion of the root zone, eq. 82-84, 86 and 87"
VPD_METHOD = (
    "FAO-56 eq. 10 and 11, latest reading; by Ohio State University AEX-804 (2001) for infection"
    f" below {vpd.INFECTION:g} kPa, damp below {vpd.FUNGI:g} kPa"
)
WAYS: Mapping[Way, str] = {
    "ridge": "ridge regression on this node's own history",
    "physical": "FAO-56 water balance, eq. 58, 84 and 85",
    "naive": "as it is now",
}
FROST_METHOD = "frost at 0 °C and below"
AGE_METHOD = f"since the latest reading; old from {STALE_S / HOUR_S:g} h on"
WIND_METHOD = f"fertilizer is spread up to {WIND_LIMIT_KMH:g} km/h"
UNTRAINED = "no model is trained: fieldhand agronomy train"
OTHER_PLACE = "the farm's settings are not those it was trained with: fieldhand agronomy train"
BELOW_WILTING = "the sensor says less than the wilting point: is it in the soil?"


@dataclass(frozen=True)
class Farm:
    """What is known of a farm at `at` (Unix seconds): its latest values, its hours, its settings.

    `model_trouble` says why a trained model could not be loaded, `fertilization_blocked` why the
    command would be refused now. `now`: when it is analysed, Unix seconds; None is `at`.
    """

    at: float
    values: Mapping[str, float]
    hours: Hours
    place: FarmSettings
    model: Model | None = None
    model_trouble: str | None = None
    fertilization_blocked: str | None = None
    now: float | None = None

    @property
    def last_hour(self) -> int:
        return int(self.at // HOUR_S)


def analyse(known: Farm) -> Analysis:
    """The whole analysis. A result that lacks something says what; the others are there."""
    day = weather.day(known.hours, known.last_hour)
    found = {"et0": _et0(known, day), "vpd": _vpd(known)}
    found["water"] = _water(known, found["et0"])
    found["forecast"] = _forecast(known, found["et0"])
    found["nutrient_lockout"] = _lockout(known)
    found["salinity"] = _salinity(known)
    found["npk"] = _npk(known)
    found["late_blight"] = _late_blight(known, day)
    found["frost"] = _frost(known)
    found["leaf_fungi"] = _leaf_fungi(found["vpd"], found["frost"])
    found["wind"] = _wind(known)
    found["age"] = _age(known)
    return Analysis(
        analysis=found,
        recommendations=recommend(found, known.place),
        timestamp=format_utc(int(known.at)),
    )


def _latest(known: Farm, name: str, unit: str) -> Input | None:
    value = known.values.get(name)
    return None if value is None else measured(value, unit, LATEST)


def _et0(known: Farm, day: weather.Day | None) -> Result:
    if day is None:
        count = weather.measured_hours(known.hours, known.last_hour)
        return missing(evaporation.METHOD, evaporation.no_day(count))
    return evaporation.reference(day, weather.day_of_year(known.last_hour), known.place)


def _vpd(known: Farm) -> Result:
    temperature = _latest(known, weather.TEMPERATURE, "°C")
    humidity = _latest(known, weather.HUMIDITY, "%")
    if temperature is None or humidity is None:
        return missing(VPD_METHOD, NOT_MEASURED.format("temperature and humidity of the air"))
    value = vpd.deficit(temperature.value, humidity.value)
    inputs = {"temperature": temperature, "humidity": humidity}
    return result(value, "kPa", VPD_METHOD, inputs, state=vpd.band(value))


def _water(known: Farm, et0: Result) -> Result:
    moisture = _latest(known, weather.MOISTURE, "%")
    if moisture is None:
        return missing(WATER_METHOD, NOT_MEASURED.format("soil moisture"))
    soil = _soil(known.place)
    capacity, wilting, depth = (
        soil[name].value for name in ("field_capacity", "wilting_point", "root_depth")
    )
    p = soil["depletion_fraction"].value
    inputs = {"moisture": moisture, **soil}
    details: dict[str, float | str] = {}
    if et0.value is not None:
        kc = _crop(known.place)
        crop_et = max(0.0, kc.value * et0.value)
        inputs |= {"crop_coefficient": kc, "et0": computed(et0.value, "mm/day", "result et0")}
        p = soilwater.depletion_fraction(p, crop_et)
        details["crop_et_mm_per_day"] = round(crop_et, 2)
    taw = soilwater.total_available(capacity / 100, wilting / 100, depth)
    lacking = soilwater.depletion(moisture.value / 100, capacity / 100, depth, taw)
    ks = soilwater.stress(taw, lacking, p)
    details |= {
        "depletion_fraction_now": round(p, 3),
        "total_available_mm": round(taw, 1),
        "readily_available_mm": round(p * taw, 1),
        "stress_coefficient": round(ks, 3),
        # The moisture at which the crop begins to suffer.
        "threshold_percent": round(capacity - p * taw / (10 * depth), 2),
    }
    if moisture.value < wilting:
        details["doubt"] = BELOW_WILTING
    state = "dry" if lacking >= p * taw else "enough"
    return result(lacking, "mm", WATER_METHOD, inputs, state=state, details=details)


def _soil(place: FarmSettings) -> dict[str, Input]:
    return {
        "field_capacity": given(
            place.field_capacity, "%", farm.FIELD_CAPACITY, farm.FIELD_CAPACITY_HOW
        ),
        "wilting_point": given(
            place.wilting_point, "%", farm.WILTING_POINT, farm.WILTING_POINT_HOW
        ),
        "root_depth": given(place.root_depth, "m", farm.ROOT_DEPTH, farm.ROOT_DEPTH_HOW),
        "depletion_fraction": given(
            place.depletion_fraction, "", farm.DEPLETION_FRACTION, farm.DEPLETION_FRACTION_HOW
        ),
    }


def _crop(place: FarmSettings) -> Input:
    return given(place.crop_coefficient, "", farm.CROP_COEFFICIENT, farm.CROP_COEFFICIENT_HOW)


def _forecast(known: Farm, et0: Result) -> Result:
    """The moisture ahead: by the trained model where there is one and it applies."""
    model = known.model
    horizon = model.horizon_h if model is not None else forecast.DEFAULT_HORIZON_H
    moisture = _latest(known, weather.MOISTURE, "%")
    method = f"soil moisture in {horizon} h without water from above"
    if moisture is None:
        return missing(method, NOT_MEASURED.format("soil moisture"))
    # Without a trained model, or where it does not apply, what physics says.
    way: Way = model.chosen if model is not None else "physical"
    why = model.why if model is not None else known.model_trouble or UNTRAINED
    # Its errors are those of the soil and the place it was trained with.
    valid = model is not None and model.place == known.place
    if model is not None and not valid:
        way, why = "physical", OTHER_PLACE
    inputs = {"moisture": moisture}
    value: float | None = None
    if model is not None and way == "ridge":
        # The hour under way may have just begun: the last whole one.
        hour = known.last_hour - 1
        found = forecast.features(known.hours, hour, known.place)
        try:
            if found is None:
                raise ValueError("the moisture of the last hours is not known")
            value = forecast.ridge(model, found)
            inputs = {
                name: computed(found[name], forecast.UNITS[name], "readings of the last whole hour")
                for name in model.features
            }
        except ValueError as error:
            way, why = "physical", f"the trained model does not apply: {error}"
    if value is None and way == "physical" and et0.value is not None:
        share, how = forecast.day_share(known.place, known.at / HOUR_S, horizon)
        value = forecast.physical(moisture.value, et0.value, known.place, share)
        inputs |= _soil(known.place) | {"crop_coefficient": _crop(known.place)}
        inputs["et0"] = computed(et0.value, "mm/day", "result et0")
        inputs["day_share"] = Input(
            value=round(share, 4),
            unit="of a day's ET0",
            source="estimated" if known.place.longitude is None else "computed",
            how=how,
        )
    elif value is None:
        if way == "physical":
            why += f"; no physical model: {et0.missing}"
        way, value = "naive", moisture.value
    validated = model.errors.get(way) if model is not None and valid else None
    details: dict[str, float | str] = {"hours": horizon, "model": way, "why": why}
    if model is not None:
        details["trained"] = model.trained
        if model.first is not None and model.last is not None:
            details |= {"trained_from": model.first, "trained_to": model.last}
    if validated is None:
        details["error"] = "not validated on this farm"
    method = f"{method}: {WAYS[way]}"
    return result(value, "%", method, inputs, state=way, details=details, error=validated)


def _lockout(known: Farm) -> Result:
    ph = _latest(known, "ph", "pH")
    if ph is None:
        return missing(nutrients.PH_METHOD, NOT_MEASURED.format("the soil's pH"))
    locked = nutrients.locked_out(ph.value)
    details: dict[str, float | str] = dict(locked)
    if nutrients.toxic(ph.value):
        details["toxic"] = "aluminium and manganese"
    return result(
        ph.value,
        "pH",
        nutrients.PH_METHOD,
        {"ph": ph},
        state="locked" if locked else "available",
        details=details,
    )


def _salinity(known: Farm) -> Result:
    ec = _latest(known, "ec", "dS/m")
    if ec is None:
        return missing(nutrients.SALINITY_METHOD, NOT_MEASURED.format("salinity"))
    name, effect = nutrients.salinity(ec.value)
    return result(
        ec.value,
        "dS/m",
        nutrients.SALINITY_METHOD,
        {"ec": ec},
        state=name,
        details={"effect": effect},
    )


def _npk(known: Farm) -> Result:
    method = "raw value beside the farm's own limit, npk_low"
    npk = _latest(known, "npk", "raw")
    if npk is None:
        return missing(method, NOT_MEASURED.format("NPK"))
    limit = known.place.npk_low
    if limit is None:
        return result(
            npk.value,
            "raw",
            method,
            {"npk": npk},
            missing="npk_low is not set: a raw value says nothing by itself",
        )
    inputs = {"npk": npk, "npk_low": given(limit, "raw", 0, "")}
    return result(npk.value, "raw", method, inputs, state="poor" if npk.value < limit else "enough")


def _late_blight(known: Farm, last: weather.Day | None) -> Result:
    before = weather.day(known.hours, known.last_hour - 24)
    if last is None or before is None:
        return missing(
            disease.HUTTON_METHOD, "needs two days, each with 18 hours of temperature and humidity"
        )
    if last.rh_min is None or before.rh_min is None:
        return missing(disease.HUTTON_METHOD, "the humidity of the air is not known")
    inputs = {}
    for name, day in (("yesterday", before), ("last_24_h", last)):
        inputs[f"t_min_{name}"] = measured(day.t_min, "°C", evaporation.LAST_DAY)
        inputs[f"humid_hours_{name}"] = measured(day.humid_hours, "h", "hours of 90 % and more")
    return Result(
        state=disease.late_blight((before.air, last.air)),
        method=disease.HUTTON_METHOD,
        inputs=inputs,
    )


def _leaf_fungi(deficit: Result, frost: Result) -> Result:
    if deficit.value is None:
        return missing(disease.LEAF_METHOD, str(deficit.missing))
    if frost.state == "frost":
        # Cold air has little vapour to lack, however dry it is.
        return missing(disease.LEAF_METHOD, "the limits do not hold in frost")
    return Result(
        state=disease.leaf_fungi(deficit.value),
        method=disease.LEAF_METHOD,
        inputs={"vpd": computed(deficit.value, "kPa", "result vpd")},
    )


def _frost(known: Farm) -> Result:
    """By the soil where its temperature is measured, else by the air."""
    for name in (weather.SOIL_TEMPERATURE, weather.TEMPERATURE):
        found = _latest(known, name, "°C")
        if found is not None:
            state = "frost" if found.value <= 0 else "none"
            return result(found.value, "°C", FROST_METHOD, {name: found}, state=state)
    return missing(FROST_METHOD, NOT_MEASURED.format("temperature"))


def _age(known: Farm) -> Result:
    now = known.at if known.now is None else known.now
    age = max(0.0, now - known.at)
    inputs = {
        "latest_reading": measured(known.at, "s", "Unix time of the node's latest reading"),
        "now": computed(now, "s", "Unix time of this analysis"),
    }
    state = "old" if age >= STALE_S else "fresh"
    return result(age / HOUR_S, "h", AGE_METHOD, inputs, state=state)


def _wind(known: Farm) -> Result:
    wind = _latest(known, weather.WIND, "km/h")
    if wind is None and known.fertilization_blocked is None:
        return missing(WIND_METHOD, NOT_MEASURED.format("wind"))
    reason = known.fertilization_blocked
    return Result(
        value=None if wind is None else wind.value,
        unit="km/h",
        method=WIND_METHOD,
        inputs={} if wind is None else {"wind_speed": wind},
        state="blocked" if reason else "clear",
        details={"reason": reason} if reason else {},
    )
