"""What to do, out of the results of an analysis."""

from __future__ import annotations

from collections.abc import Mapping

from fieldhand.service.agronomy import farm, nutrients
from fieldhand.service.agronomy.farm import FarmSettings
from fieldhand.service.agronomy.results import Recommendation, Result

Results = Mapping[str, Result]
# The nutrients that a fertilizer of N, P and K brings.
FERTILIZED = ("nitrogen", "phosphorus", "potassium")


def recommend(found: Results, place: FarmSettings) -> list[Recommendation]:
    """What follows from the results, water first. A subject without trouble may be absent."""
    advice = [_irrigation(found, place), _fertilization(found), *_ph(found), *_salinity(found)]
    return [*advice, *_disease(found)]


def _irrigation(found: Results, place: FarmSettings) -> Recommendation:
    water, ahead = found["water"], found["forecast"]
    if water.value is None:
        return Recommendation(
            subject="irrigation", advice="unknown", text=str(water.missing), because=["water"]
        )
    threshold = float(water.details["threshold_percent"])
    efficiency = place.irrigation_efficiency or farm.EFFICIENCY
    if water.state == "dry":
        gross = water.value / efficiency
        how = "set" if place.irrigation_efficiency else farm.EFFICIENCY_HOW
        return Recommendation(
            subject="irrigation",
            advice="now",
            text=f"{water.value:.1f} mm lack to field capacity: give {gross:.1f} mm"
            f" (efficiency {efficiency:g}, {how})",
            amount=round(gross, 1),
            unit="mm",
            because=["water"],
        )
    if ahead.value is not None and ahead.value <= threshold:
        return Recommendation(
            subject="irrigation",
            advice="soon",
            text=f"in {ahead.details['hours']:g} h the soil is at {ahead.value:.1f} %, the crop"
            f" suffers below {threshold:.1f} % (by the {ahead.state} model)",
            because=["forecast", "water"],
        )
    return Recommendation(
        subject="irrigation",
        advice="none",
        text=f"{water.value:.1f} mm lack of the {water.details['readily_available_mm']:g} mm that"
        " the crop takes without harm",
        because=["water", "forecast"],
    )


def _fertilization(found: Results) -> Recommendation:
    def say(advice: str, text: str, *because: str) -> Recommendation:
        return Recommendation(
            subject="fertilization", advice=advice, text=text, because=list(because)
        )

    wind, npk, salt, ph = (found[name] for name in ("wind", "npk", "salinity", "nutrient_lockout"))
    if wind.state == "blocked":
        return say("blocked", str(wind.details["reason"]), "wind")
    if npk.missing is not None:
        return say("unknown", npk.missing, "npk")
    if npk.state != "poor":
        return say("none", f"NPK {npk.value:g} is not below the farm's limit", "npk")
    if salt.value is not None and salt.value >= nutrients.SALT_STOPS_FERTILIZER:
        return say("wait", f"the soil is {salt.state}: wash the salt out first", "salinity", "npk")
    locked = [name for name in FERTILIZED if name in ph.details]
    if locked:
        return say(
            "wait",
            f"at pH {ph.value:g} {' and '.join(locked)} would not reach the crop: pH first",
            "nutrient_lockout",
            "npk",
        )
    return say("apply", f"NPK {npk.value:g} is below the farm's limit", "npk", "wind")


def _ph(found: Results) -> list[Recommendation]:
    ph = found["nutrient_lockout"]
    if ph.state != "locked" or ph.value is None:
        return []
    low = ph.value < 7
    names = ", ".join(name for name in ph.details if name != "toxic")
    cure = "lime" if low else "sulphur or an acid fertilizer"
    text = f"pH {ph.value:g} locks out {names}: {cure}"
    if "toxic" in ph.details:
        text += f"; {ph.details['toxic']} are toxic"
    return [
        Recommendation(
            subject="ph",
            advice="raise" if low else "lower",
            text=text,
            because=["nutrient_lockout"],
        )
    ]


def _salinity(found: Results) -> list[Recommendation]:
    salt = found["salinity"]
    if salt.value is None or salt.value < nutrients.SALT_STOPS_FERTILIZER:
        return []
    return [
        Recommendation(
            subject="salinity",
            advice="leach",
            text=f"{salt.state}: {salt.details['effect']}",
            because=["salinity"],
        )
    ]


def _disease(found: Results) -> list[Recommendation]:
    words = {"late_blight": "late blight of potato and tomato", "leaf_fungi": "fungi on leaves"}
    return [
        Recommendation(
            subject="disease",
            advice=str(found[name].state),
            text=f"{found[name].state} risk of {what}: {found[name].method}",
            because=[name],
        )
        for name, what in words.items()
        if found[name].state in ("medium", "high")
    ]
