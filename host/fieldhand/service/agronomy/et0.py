"""Reference evapotranspiration of grass: the FAO Penman-Monteith equation, FAO-56, chapter 4."""

from __future__ import annotations

from fieldhand.service.agronomy import atmosphere as air


def penman_monteith(
    *,
    net_radiation: float,
    temperature: float,
    wind: float,
    es: float,
    ea: float,
    slope: float,
    gamma: float,
    soil_heat: float = 0.0,
) -> float:
    """ET0 in mm/day. FAO-56 eq. 6.

    Rn and G in MJ/m²/day, mean temperature in °C, wind at 2 m in m/s, es and ea in kPa, Δ and γ in
    kPa/°C. Dew may make it negative.
    """
    energy = 0.408 * slope * (net_radiation - soil_heat)
    drying = gamma * 900 / (temperature + 273) * wind * (es - ea)
    return (energy + drying) / (slope + gamma * (1 + 0.34 * wind))


def penman_monteith_hour(
    *,
    net_radiation: float,
    temperature: float,
    wind: float,
    ea: float,
    gamma: float,
    soil_heat: float,
) -> float:
    """ET0 in mm/hour; Rn and G in MJ/m²/hour, the rest as `penman_monteith`. FAO-56 eq. 53."""
    slope = air.saturation_slope(temperature)
    energy = 0.408 * slope * (net_radiation - soil_heat)
    deficit = air.saturation_pressure(temperature) - ea
    drying = gamma * 37 / (temperature + 273) * wind * deficit
    return (energy + drying) / (slope + gamma * (1 + 0.34 * wind))


def soil_heat_hour(net_radiation: float, daylight: bool) -> float:
    """G of an hour, MJ/m², of Rn. FAO-56 eq. 45 and 46. Over a day it is about 0: eq. 42."""
    return (0.1 if daylight else 0.5) * net_radiation


def soil_heat_month(before: float, after: float) -> float:
    """G of a month, MJ/m²/day, from the mean °C of the months before and after. FAO-56 eq. 43."""
    return 0.07 * (after - before)


def soil_heat_month_so_far(before: float, this: float) -> float:
    """G of a month, MJ/m²/day, while the next is unknown. FAO-56 eq. 44."""
    return 0.14 * (this - before)


def hargreaves(t_max: float, t_min: float, ra: float) -> float:
    """ET0 in mm/day from the extremes in °C and Ra in MJ/m²/day alone. FAO-56 eq. 52.

    The paper prints Ra in mm/day: 1 MJ/m² evaporates 0.408 mm (eq. 20).
    """
    spread = max(0.0, t_max - t_min)
    return float(0.0023 * ((t_max + t_min) / 2 + 17.8) * spread**0.5 * 0.408 * ra)
