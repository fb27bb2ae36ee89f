"""What the soil's pH and salt do to nutrients."""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """The pH between which a nutrient is readily available; beyond it, `why` it is not."""

    low: float | None
    high: float | None
    too_low: str
    too_high: str


# Truog, E. (1946): Soil reaction influence on availability of plant nutrients, Soil Science Society
# of America Proceedings 11, 305-308; its chart, as redrawn in Brady & Weil, The Nature and
# Properties of Soils, read to half a unit. Mineral soils; organic ones and substrates lie about
# one unit lower.
_SLOW = "microbes release it slowly"
_LEACHED = "leached"
_HYDROXIDE = "bound as hydroxide"
AVAILABLE = {
    "nitrogen": Range(6.0, 8.0, _SLOW, "lost as ammonia"),
    "phosphorus": Range(6.0, 7.5, "fixed by iron and aluminium", "fixed by calcium"),
    "potassium": Range(6.0, None, _LEACHED, ""),
    "sulphur": Range(6.0, None, _SLOW, ""),
    "calcium": Range(6.0, None, _LEACHED, ""),
    "magnesium": Range(6.0, None, _LEACHED, ""),
    "molybdenum": Range(6.0, None, "adsorbed by iron oxides", ""),
    "iron": Range(None, 7.5, "", _HYDROXIDE),
    "manganese": Range(None, 7.5, "", _HYDROXIDE),
    "zinc": Range(None, 7.5, "", _HYDROXIDE),
    "copper": Range(None, 7.5, "", _HYDROXIDE),
    "boron": Range(None, 7.5, "", "adsorbed"),
}
# Brady & Weil: below it aluminium and manganese reach what harms roots.
TOXIC_BELOW = 5.5
PH_METHOD = "ranges of Truog (1946), mineral soil"
# "Ultra acid" and "very strongly alkaline" in the classes of the USDA Soil Survey Manual: few soils
# are, many a probe that is dry, broken or not calibrated says so.
ULTRA_ACID = 3.5
VERY_ALKALINE = 9.0
# USDA Handbook 60: soils of more sodium than others have are at 8.5 to 10.
SODIC = 8.5

# Richards, L.A. (ed., 1954), USDA Agriculture Handbook 60: dS/m of the saturation extract.
SALINITY = (
    (2.0, "non-saline", "effects are mostly negligible"),
    (4.0, "slightly saline", "very sensitive crops yield less"),
    (8.0, "moderately saline", "many crops yield less"),
    (16.0, "strongly saline", "only tolerant crops yield satisfactorily"),
)
BEYOND = ("very strongly saline", "only a few very tolerant crops yield satisfactorily")
SALINITY_METHOD = (
    "classes of USDA Handbook 60 (1954), the sensor's EC taken as saturation extract's"
)
# From here on fertilizer, a salt itself, does more harm than good to many crops.
SALT_STOPS_FERTILIZER = 4.0


def locked_out(ph: float) -> dict[str, str]:
    """Nutrient -> why it is hardly available at this pH, with the limit; empty where all are."""
    found = {}
    for name, limits in AVAILABLE.items():
        if limits.low is not None and ph < limits.low:
            found[name] = f"{limits.too_low} (below {limits.low:g})"
        elif limits.high is not None and ph > limits.high:
            found[name] = f"{limits.too_high} (above {limits.high:g})"
    return found


def rare(ph: float) -> str | None:
    """The class of a soil so acid or alkaline that the probe is to be doubted first."""
    if ph < ULTRA_ACID:
        return f"ultra acid (below {ULTRA_ACID:g})"
    return f"very strongly alkaline (above {VERY_ALKALINE:g})" if ph > VERY_ALKALINE else None


def toxic(ph: float) -> bool:
    """Whether aluminium and manganese are dissolved to harmful amounts at this pH."""
    return ph < TOXIC_BELOW


def salinity(ec: float) -> tuple[str, str]:
    """Class of a soil by its EC (dS/m), and what it means for crops, with its limits."""
    low = 0.0
    for limit, name, effect in SALINITY:
        if ec < limit:
            return name, f"{effect} ({low:g} to {limit:g} dS/m)"
        low = limit
    name, effect = BEYOND
    return name, f"{effect} (from {low:g} dS/m on)"
