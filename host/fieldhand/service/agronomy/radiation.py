"""Radiation: FAO-56, chapter 3, "Radiation". MJ/m² per day, or per hour where it says so.

Latitude and longitude in degrees, north and east positive.
"""

from __future__ import annotations

import math

SOLAR_CONSTANT = 0.0820  # MJ/m² per minute
STEFAN_BOLTZMANN = 4.903e-9  # MJ/K⁴/m² per day
ALBEDO = 0.23  # of the reference crop
# kRs of eq. 50.
INLAND, COAST = 0.16, 0.19
# Limits of Rs/Rso in eq. 39: FAO-56 has it at most 1 (clear sky) and about 0.33 under dense cloud;
# 0.3, its total cloud cover in chapter 4, is also the limit of ASCE-EWRI (2005) eq. 18.
DARKEST = 0.3


def inverse_distance(day: int) -> float:
    """dr, inverse relative distance of the sun on `day` (1-366) of the year. FAO-56 eq. 23."""
    return 1 + 0.033 * math.cos(2 * math.pi * day / 365)


def declination(day: int) -> float:
    """δ, solar declination in rad on `day` of the year. FAO-56 eq. 24."""
    return 0.409 * math.sin(2 * math.pi * day / 365 - 1.39)


def sunset_angle(latitude: float, day: int) -> float:
    """ωs, sunset hour angle in rad; 0 where the sun stays down, π where it stays up.

    FAO-56 eq. 25.
    """
    x = -math.tan(math.radians(latitude)) * math.tan(declination(day))
    return math.acos(min(1.0, max(-1.0, x)))


def extraterrestrial(latitude: float, day: int) -> float:
    """Ra of a day, MJ/m². FAO-56 eq. 21."""
    phi, delta, omega = math.radians(latitude), declination(day), sunset_angle(latitude, day)
    return (
        (24 * 60 / math.pi * SOLAR_CONSTANT * inverse_distance(day))
        * _sunshine(phi, delta, -omega, omega)
        / 2
    )


def daylight_hours(latitude: float, day: int) -> float:
    """N, hours of daylight. FAO-56 eq. 34."""
    return 24 / math.pi * sunset_angle(latitude, day)


def solar_from_sunshine(sunshine: float, daylight: float, ra: float) -> float:
    """Rs from hours of sunshine of hours of daylight, Ångström with a = 0.25, b = 0.50.

    FAO-56 eq. 35.
    """
    return (0.25 + 0.50 * sunshine / daylight) * ra


def solar_from_temperature(t_max: float, t_min: float, ra: float, k: float = INLAND) -> float:
    """Rs from a day's extremes in °C: Hargreaves' formula, FAO-56 eq. 50; `k` is kRs.

    A cloudy day is one that warms little. Good to some tenths, not more.
    """
    return k * math.sqrt(max(0.0, t_max - t_min)) * ra


def clear_sky(altitude: float, ra: float) -> float:
    """Rso, radiation under a clear sky at `altitude` in m. FAO-56 eq. 37."""
    return (0.75 + 2e-5 * altitude) * ra


def net_shortwave(rs: float) -> float:
    """Rns. FAO-56 eq. 38."""
    return (1 - ALBEDO) * rs


def cloudiness(rs: float, rso: float) -> float:
    """Rs/Rso within its limits, 0.3 to 1. Raises ValueError at night, when Rso is 0."""
    if rso <= 0:
        raise ValueError("at night the cloudiness is that of some hours before sunset")
    return min(1.0, max(DARKEST, rs / rso))


def net_longwave(t_max: float, t_min: float, ea: float, relative: float) -> float:
    """Rnl of a day: extremes in °C, ea in kPa, `relative` = Rs/Rso. FAO-56 eq. 39."""
    body = STEFAN_BOLTZMANN * ((t_max + 273.16) ** 4 + (t_min + 273.16) ** 4) / 2
    return body * (0.34 - 0.14 * math.sqrt(ea)) * (1.35 * relative - 0.35)


def net_longwave_hour(temperature: float, ea: float, relative: float) -> float:
    """Rnl of an hour, MJ/m². FAO-56 eq. 39 with σ/24."""
    return net_longwave(temperature, temperature, ea, relative) / 24


def extraterrestrial_hour(
    latitude: float, longitude: float, day: int, hour_utc: float, length: float = 1.0
) -> float:
    """Ra of `length` hours around `hour_utc` (the middle, 0-24, UTC), MJ/m². FAO-56 eq. 28-33.

    The paper's clock of a zone, its Lz and Lm in degrees west, come to the same.
    """
    phi, delta = math.radians(latitude), declination(day)
    b = 2 * math.pi * (day - 81) / 364
    correction = 0.1645 * math.sin(2 * b) - 0.1255 * math.cos(b) - 0.025 * math.sin(b)
    solar = (hour_utc + longitude / 15 + correction) % 24
    middle, half = math.pi / 12 * (solar - 12), math.pi * length / 24
    omega = sunset_angle(latitude, day)
    first, last = max(middle - half, -omega), min(middle + half, omega)
    if first >= last:
        return 0.0
    total = _sunshine(phi, delta, first, last)
    return max(0.0, 12 * 60 / math.pi * SOLAR_CONSTANT * inverse_distance(day) * total)


def _sunshine(phi: float, delta: float, first: float, last: float) -> float:
    """The bracket of eq. 28; of eq. 21, twice, where it goes from sunrise to sunset."""
    across = math.cos(phi) * math.cos(delta) * (math.sin(last) - math.sin(first))
    return (last - first) * math.sin(phi) * math.sin(delta) + across
