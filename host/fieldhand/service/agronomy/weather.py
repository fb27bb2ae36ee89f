"""Hours and days of a farm's weather, out of what its node measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fieldhand.service.agronomy.disease import HUTTON_HUMIDITY, DayOfAir
from fieldhand.service.store.agronomy import HOUR_S, Span
from fieldproto.quantities import PHYSICAL

TEMPERATURE = "air_temperature"
HUMIDITY = "relative_humidity"
WIND = "wind_speed"
MOISTURE = "soil_moisture"
SOIL_TEMPERATURE = "soil_temperature"
PRESSURE = "pressure"
# What can be: a device may send any number, and the formulae have poles.
LIMITS: Mapping[str, tuple[float, float]] = {
    name: PHYSICAL.get(name, (0, 100))
    for name in (
        TEMPERATURE,
        HUMIDITY,
        WIND,
        MOISTURE,
        PRESSURE,
        SOIL_TEMPERATURE,
        "ph",
        "ec",
        "npk",
    )
}
QUANTITIES = {name: LIMITS[name] for name in (TEMPERATURE, HUMIDITY, WIND, MOISTURE, PRESSURE)}

# Of a day's 24 hours so many must have been measured for its extremes to be known.
DAY_HOURS = 18

Hours = Mapping[int, Mapping[str, Span]]


@dataclass(frozen=True)
class Day:
    """24 hours of air: °C, %, km/h, hPa; None where the node measures no such thing."""

    hours: int
    t_max: float
    t_min: float
    rh_max: float | None
    rh_min: float | None
    wind: float | None
    pressure: float | None
    humid_hours: int

    @property
    def air(self) -> DayOfAir:
        return DayOfAir(self.t_min, self.humid_hours)


def plausible(values: Mapping[str, object]) -> dict[str, float]:
    """Of a reading's quantities those that an analysis looks at and that can be."""
    found = {}
    for name, (low, high) in LIMITS.items():
        value = values.get(name)
        if isinstance(value, (int, float)) and low <= value <= high:
            found[name] = float(value)
    return found


def day(hours: Hours, last: int) -> Day | None:
    """The 24 hours that end with hour `last`; None where too few of them were measured."""
    found = [hours[hour] for hour in range(last - 23, last + 1) if hour in hours]
    temperature = _spans(found, TEMPERATURE)
    if len(temperature) < DAY_HOURS:
        return None
    humidity, wind, pressure = (_spans(found, name) for name in (HUMIDITY, WIND, PRESSURE))
    enough = len(humidity) >= DAY_HOURS
    return Day(
        hours=len(temperature),
        t_max=max(span.high for span in temperature),
        t_min=min(span.low for span in temperature),
        rh_max=max(span.high for span in humidity) if enough else None,
        rh_min=min(span.low for span in humidity) if enough else None,
        wind=_mean(wind) if len(wind) >= DAY_HOURS else None,
        pressure=_mean(pressure) if pressure else None,
        humid_hours=sum(span.mean >= HUTTON_HUMIDITY for span in humidity),
    )


def measured_hours(hours: Hours, last: int) -> int:
    """How many of the 24 hours that end with `last` have a temperature."""
    return sum(TEMPERATURE in hours.get(hour, {}) for hour in range(last - 23, last + 1))


def day_of_year(last: int) -> int:
    """The number of the day (1-366, UTC) in the middle of the 24 hours that end with `last`."""
    return time.gmtime((last - 11) * HOUR_S).tm_yday


def _spans(hours: Iterable[Mapping[str, Span]], name: str) -> list[Span]:
    return [spans[name] for spans in hours if name in spans]


def _mean(spans: list[Span]) -> float:
    """Of the hours, each counting once: a node that sampled more at noon tells no more of it."""
    return sum(span.mean for span in spans) / len(spans)
