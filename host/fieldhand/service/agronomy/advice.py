"""What to do, out of the results of an analysis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fieldhand.service import farm
from fieldhand.service.agronomy import nutrients
from fieldhand.service.agronomy.results import Recommendation, Result
from fieldhand.service.farm import FarmSettings

Results = Mapping[str, Result]
# The nutrients that a fertilizer of N, P and K brings.
FERTILIZED = ("nitrogen", "phosphorus", "potassium")
# Of the water in a soil: what is as good as the soil's own values.
SOIL = ("field_capacity", "wilting_point", "root_depth")


def recommend(found: Results, place: FarmSettings) -> list[Recommendation]:
    """What follows from the results, water first. A subject without trouble may be absent."""
    if found["age"].state == "old":
        return [_too_old(found, "irrigation"), _too_old(found, "fertilization")]
    advice = [_irrigation(found, place), _fertilization(found), *_ph(found), *_salinity(found)]
    return [*advice, *_disease(found)]


def _too_old(found: Results, subject: str) -> Recommendation:
    return _say(subject, "unknown", f"the latest reading is {found['age'].value:.0f} h old", "age")


def _say(
    subject: str,
    advice: str,
    text: str,
    *because: str,
    amount: float | None = None,
    unit: str = "",
) -> Recommendation:
    return Recommendation.model_validate(
        {
            "subject": subject,
            "advice": advice,
            "text": text,
            "because": list(because),
            "amount": amount,
            "unit": unit,
        }
    )


def _irrigation(found: Results, place: FarmSettings) -> Recommendation:
    water, ahead = found["water"], found["forecast"]
    if water.value is None:
        return _say("irrigation", "unknown", str(water.missing), "water")
    threshold = float(water.details["threshold_percent"])
    if found["frost"].state == "frost" and (
        water.state == "dry" or (ahead.value is not None and ahead.value <= threshold)
    ):
        # A sensor of the soil's permittivity does not see ice.
        text = f"{_frost(found)}: frozen water reads as dry soil, and frozen soil takes no water"
        return _say("irrigation", "wait", text, "frost", "water")
    if water.state == "dry":
        return _water_now(water, place)
    if ahead.value is not None and ahead.value <= threshold:
        text = (
            f"by the {ahead.state} model the soil is at {ahead.value:.1f} % in"
            f" {ahead.details['hours']:g} h, the crop suffers below {threshold:.1f} %"
            f"{_soil_how(water)}"
        )
        return _say("irrigation", "soon", text, "forecast", "water")
    moisture, capacity = water.inputs["moisture"].value, water.inputs["field_capacity"]
    if moisture > capacity.value:
        how = "set" if capacity.source == "set" else capacity.how
        text = f"{moisture:g} % is above field capacity ({capacity.value:g} %, {how})"
        return _say("irrigation", "none", text, "water")
    text = (
        f"{water.value:.1f} mm lack of the {water.details['readily_available_mm']:g} mm that the"
        f" crop takes without harm{_soil_how(water)}"
    )
    return _say("irrigation", "none", text, "water", "forecast")


def _water_now(water: Result, place: FarmSettings) -> Recommendation:
    assert water.value is not None
    efficiency = place.irrigation_efficiency or farm.EFFICIENCY
    gross = water.value / efficiency
    how = "set" if place.irrigation_efficiency else farm.EFFICIENCY_HOW
    text = (
        f"{water.value:.1f} mm lack to field capacity{_soil_how(water)}: give {gross:.1f} mm"
        f" (efficiency {efficiency:g}, {how})"
    )
    if "doubt" in water.details:
        text = f"{water.details['doubt']} If so, {text}"
    return _say("irrigation", "now", text, "water", amount=round(gross, 1), unit="mm")


def _soil_how(water: Result) -> str:
    """Which of the soil's values nobody has set."""
    names = [name for name in SOIL if water.inputs[name].source == "estimated"]
    return f" ({_listed(name.replace('_', ' ') for name in names)} estimated)" if names else ""


def _listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _frost(found: Results) -> str:
    return f"frost ({found['frost'].value:g} °C)"


def _fertilization(found: Results) -> Recommendation:
    def say(advice: str, text: str, *because: str) -> Recommendation:
        return _say("fertilization", advice, text, *because)

    wind, npk, salt, ph = (found[name] for name in ("wind", "npk", "salinity", "nutrient_lockout"))
    if wind.state == "blocked":
        return say("blocked", str(wind.details["reason"]), "wind")
    if npk.missing is not None:
        return say("unknown", npk.missing, "npk")
    limit = f"the farm's limit of {npk.inputs['npk_low'].value:g}"
    if npk.state != "poor":
        return say("none", f"NPK {npk.value:g} is not below {limit}", "npk")
    if found["frost"].state == "frost":
        return say("wait", f"{_frost(found)}: what lies on frozen soil washes off", "frost", "npk")
    if salt.value is not None and salt.value >= nutrients.SALT_STOPS_FERTILIZER:
        return say("wait", f"the soil is {salt.state}: wash the salt out first", "salinity", "npk")
    locked = [name for name in FERTILIZED if name in ph.details]
    if locked:
        return say(
            "wait",
            f"at pH {ph.value:g} {_listed(locked)} would not reach the crop: pH first",
            "nutrient_lockout",
            "npk",
        )
    text = f"NPK {npk.value:g} is below {limit}"
    unknown = [word for word, result in (("pH", ph), ("salinity", salt)) if result.value is None]
    if unknown:
        text += f"; {_listed(unknown)} not measured: either may lock it out"
    return say("apply", text, "npk", "wind", "nutrient_lockout", "salinity")


def _ph(found: Results) -> list[Recommendation]:
    ph = found["nutrient_lockout"]
    if ph.state != "locked" or ph.value is None:
        return []
    rare = nutrients.rare(ph.value)
    if rare is not None:
        text = f"pH {ph.value:g} is {rare}, as few soils are: try the probe in a buffer first"
        return [_say("ph", "check", text, "nutrient_lockout")]
    low = ph.value < 7
    names = ", ".join(name for name in ph.details if name != "toxic")
    cure = "lime" if low else "sulphur or an acid fertilizer"
    if ph.value > nutrients.SODIC:
        cure = "gypsum where sodium is the cause, as it often is above 8.5, else sulphur"
    text = f"pH {ph.value:g} locks out {names}: {cure}"
    if "toxic" in ph.details:
        text += f"; {ph.details['toxic']} are toxic"
    return [_say("ph", "raise" if low else "lower", text, "nutrient_lockout")]


def _salinity(found: Results) -> list[Recommendation]:
    salt = found["salinity"]
    if salt.value is None or salt.value < nutrients.SALT_STOPS_FERTILIZER:
        return []
    text = f"{salt.state}: {salt.details['effect']}"
    if found["frost"].state == "frost":
        return [_say("salinity", "wait", f"{text}; no leaching in {_frost(found)}", "salinity")]
    return [_say("salinity", "leach", text, "salinity")]


def _disease(found: Results) -> list[Recommendation]:
    words = {"late_blight": "late blight of potato and tomato", "leaf_fungi": "fungi on leaves"}
    return [
        _say(
            "disease",
            str(found[name].state),
            f"{found[name].state} risk of {what}: {found[name].method}",
            name,
        )
        for name, what in words.items()
        if found[name].state in ("medium", "high")
    ]
