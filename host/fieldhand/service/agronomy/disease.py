"""Whether the weather favours leaf diseases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fieldhand.service.agronomy import vpd

# "Hutton Criteria" for potato late blight (James Hutton Institute and AHDB, 2017): on two days in a
# row at least 10 °C throughout, and at least 6 hours of 90 % relative humidity or more.
HUTTON_TEMPERATURE = 10.0
HUTTON_HUMIDITY = 90.0
HUTTON_HOURS = 6
HUTTON_METHOD = (
    "Hutton Criteria (2017), potato late blight, on the last two times 24 hours: each at least"
    f" {HUTTON_TEMPERATURE:g} °C and {HUTTON_HOURS} h of {HUTTON_HUMIDITY:g} % and more"
)
LEAF_METHOD = (
    f"VPD limits of Ohio State University AEX-804 (2001), fungi on leaves: high below"
    f" {vpd.INFECTION:g} kPa, medium below {vpd.FUNGI:g} kPa"
)


class DayOfAir(NamedTuple):
    """A day: its lowest temperature in °C, and its hours of 90 % humidity or more."""

    t_min: float
    humid_hours: int


def hutton_day(day: DayOfAir) -> bool:
    """Whether a day fulfils its half of the Hutton Criteria."""
    return day.t_min >= HUTTON_TEMPERATURE and day.humid_hours >= HUTTON_HOURS


def late_blight(days: Sequence[DayOfAir]) -> str:
    """ "high" after two days that fulfil the Hutton Criteria, "medium" after the last, else "low".

    `days` are the last two, the older first.
    """
    older, last = (hutton_day(day) for day in days)
    return "high" if older and last else "medium" if last else "low"


def leaf_fungi(deficit: float) -> str:
    """The risk at this VPD (kPa): "high" below 0.20, "medium" below 0.43, else "low"."""
    return {"infection": "high", "damp": "medium", "dry": "low"}[vpd.band(deficit)]
