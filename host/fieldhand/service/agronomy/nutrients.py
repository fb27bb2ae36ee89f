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

# Richards, L.A. (ed., 1954), USDA Agriculture Handbook 60: dS/m of the saturation extract.
SALINITY = (
    (2.0, "non-saline", "effects are mostly negligible"),
    (4.0, "slightly saline", "very sensitive crops yield less"),
    (8.0, "moderately saline", "many crops yield less"),
    (16.0, "strongly saline", "only tolerant crops yield satisfactorily"),
)
BEYOND = ("very strongly saline", "only a few very tolerant crops yield satisfactorily")
SALINITY_METHOD = "classes of USDA Handbook 60 (1954)"
# From here on fertilizer, a salt itself, does more harm than good to many crops.
SALT_STOPS_FERTILIZER = 4.0


def locked_out(ph: float) -> dict[str, str]:
    """Nutrient -> why it is hardly available at this pH; empty where all are."""
    found = {}
    for name, limits in AVAILABLE.items():
        if limits.low is not None and ph < limits.low:
            found[name] = limits.too_low
        elif limits.high is not None and ph > limits.high:
            found[name] = limits.too_high
    return found


def toxic(ph: float) -> bool:
    """Whether aluminium and manganese are dissolved to harmful amounts at this pH."""
    return ph < TOXIC_BELOW


def salinity(ec: float) -> tuple[str, str]:
    """Class of a soil by its EC (dS/m), and what it means for crops."""
    for limit, name, effect in SALINITY:
        if ec < limit:
            return name, effect
    return BEYOND
