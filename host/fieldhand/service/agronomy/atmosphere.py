"""Pressure, humidity and wind: FAO-56, chapter 3, "Atmospheric parameters" to "Wind speed"."""

from __future__ import annotations

import math


def pressure(altitude: float) -> float:
    """Atmospheric pressure in kPa at `altitude` in m, in a standard atmosphere. FAO-56 eq. 7."""
    return 101.3 * float(((293 - 0.0065 * altitude) / 293) ** 5.26)


def psychrometric_constant(pressure: float) -> float:
    """γ in kPa/°C at `pressure` in kPa. FAO-56 eq. 8."""
    return 0.665e-3 * pressure


def saturation_pressure(temperature: float) -> float:
    """e°(T), saturation vapour pressure in kPa at `temperature` in °C. FAO-56 eq. 11."""
    return 0.6108 * math.exp(17.27 * temperature / (temperature + 237.3))


def mean_saturation_pressure(t_max: float, t_min: float) -> float:
    """es of a day, kPa, from its extremes in °C; not e° of their mean. FAO-56 eq. 12."""
    return (saturation_pressure(t_max) + saturation_pressure(t_min)) / 2


def saturation_slope(temperature: float) -> float:
    """Δ, slope of e°(T), in kPa/°C at `temperature` in °C. FAO-56 eq. 13."""
    return 4098 * saturation_pressure(temperature) / (temperature + 237.3) ** 2


def vapour_pressure_dew(dew_point: float) -> float:
    """ea in kPa from the dew point in °C. FAO-56 eq. 14.

    Without a hygrometer the dew point is about the day's lowest temperature: eq. 48.
    """
    return saturation_pressure(dew_point)


def vapour_pressure_psychrometer(t_dry: float, t_wet: float, pressure: float) -> float:
    """ea in kPa of an Asmann psychrometer: °C, °C, kPa. FAO-56 eq. 15 and 16."""
    return saturation_pressure(t_wet) - 0.000662 * pressure * (t_dry - t_wet)


def vapour_pressure(t_max: float, t_min: float, rh_max: float, rh_min: float) -> float:
    """ea of a day in kPa from the extremes of temperature (°C) and humidity (%). FAO-56 eq. 17."""
    damp = saturation_pressure(t_min) * rh_max
    dry = saturation_pressure(t_max) * rh_min
    return (damp + dry) / 200


def vapour_pressure_mean(t_max: float, t_min: float, rh_mean: float) -> float:
    """ea of a day in kPa from its mean humidity (%), less good than eq. 17. FAO-56 eq. 19."""
    return rh_mean / 100 * mean_saturation_pressure(t_max, t_min)


def wind_at_2m(speed: float, height: float) -> float:
    """u2: wind at 2 m above ground from `speed` at `height` m, in the unit of it. FAO-56 eq. 47.

    Raises ValueError for a height at which the profile has no meaning (below 0.5 m).
    """
    if height < 0.5:
        raise ValueError(f"wind measured at {height} m cannot be reckoned to 2 m")
    return speed * 4.87 / math.log(67.8 * height - 5.42)
