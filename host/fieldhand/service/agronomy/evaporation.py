"""ET0 of a farm's last day, with what stands in for what its node does not measure."""

from __future__ import annotations

from fieldhand.service import farm
from fieldhand.service.agronomy import atmosphere as air
from fieldhand.service.agronomy import et0, radiation
from fieldhand.service.agronomy.results import (
    Input,
    Result,
    computed,
    estimated,
    given,
    measured,
    missing,
)
from fieldhand.service.agronomy.results import result as result_of
from fieldhand.service.agronomy.weather import DAY_HOURS, Day
from fieldhand.service.farm import FarmSettings

METHOD = "FAO-56 Penman-Monteith, eq. 6, over the last 24 hours"
NO_LATITUDE = "latitude is not set: [service.agronomy] of the fleet file"
LAST_DAY = "the node's own, last 24 hours"


def no_day(hours: int) -> str:
    """Why there is no day of weather."""
    return f"needs {DAY_HOURS} of the last 24 hours measured, has {hours}"


def reference(day: Day, number: int, place: FarmSettings) -> Result:
    """ET0 in mm/day of `day`, the `number`th of the year. FAO-56 eq. 6 and chapter 3's fall-backs.

    Humidity: else dew point = Tmin (eq. 48); wind: else 2 m/s, and never below 0.5 m/s at 2 m;
    radiation: else eq. 50; pressure: else by altitude (eq. 7), which is sea level where it is not
    set. Latitude has no fall-back.
    """
    if place.latitude is None:
        return missing(METHOD, NO_LATITUDE)
    inputs: dict[str, Input] = {
        "t_max": measured(day.t_max, "°C", LAST_DAY),
        "t_min": measured(day.t_min, "°C", LAST_DAY),
        "latitude": given(place.latitude, "°", 0, ""),
        "day_of_year": computed(number, "", "of the middle of the 24 hours, UTC"),
    }
    es = air.mean_saturation_pressure(day.t_max, day.t_min)
    if day.rh_max is not None and day.rh_min is not None:
        inputs["rh_max"] = measured(day.rh_max, "%", LAST_DAY)
        inputs["rh_min"] = measured(day.rh_min, "%", LAST_DAY)
        ea = air.vapour_pressure(day.t_max, day.t_min, day.rh_max, day.rh_min)
    else:
        inputs["dew_point"] = estimated(day.t_min, "°C", "not measured: Tmin, FAO-56 eq. 48")
        ea = air.vapour_pressure_dew(day.t_min)
    wind = _wind(day, place, inputs)
    altitude = given(place.altitude, "m", farm.ALTITUDE, farm.ALTITUDE_HOW)
    inputs["altitude"] = altitude
    pressure = air.pressure(altitude.value)
    if day.pressure is not None:
        inputs["pressure"] = measured(day.pressure / 10, "kPa", LAST_DAY)
        pressure = day.pressure / 10
    ra = radiation.extraterrestrial(place.latitude, number)
    rso = radiation.clear_sky(altitude.value, ra)
    if rso <= 0:
        return missing(METHOD, f"the sun does not rise at {place.latitude:g}° on this day")
    rs = _solar(day, place, ra, rso, inputs)
    lost = radiation.net_longwave(day.t_max, day.t_min, ea, radiation.cloudiness(rs, rso))
    net = radiation.net_shortwave(rs) - lost
    mean = (day.t_max + day.t_min) / 2
    found = et0.penman_monteith(
        net_radiation=net,
        temperature=mean,
        wind=wind,
        es=es,
        ea=ea,
        slope=air.saturation_slope(mean),
        gamma=air.psychrometric_constant(pressure),
    )
    details = {
        "hours_measured": day.hours,
        "vpd_day_kpa": round(es - ea, 3),
        "wind_at_2m_m_per_s": round(wind, 3),
        "extraterrestrial_mj_per_m2": round(ra, 3),
        "clear_sky_mj_per_m2": round(rso, 3),
        "net_radiation_mj_per_m2": round(net, 3),
    }
    return result_of(found, "mm/day", METHOD, inputs, details=details)


def _wind(day: Day, place: FarmSettings, inputs: dict[str, Input]) -> float:
    if day.wind is None:
        inputs["wind"] = estimated(farm.WIND, "m/s", farm.WIND_HOW)
        return farm.WIND
    height = given(place.wind_height, "m", farm.WIND_HEIGHT, farm.WIND_HEIGHT_HOW)
    inputs["wind"] = measured(day.wind / 3.6, "m/s", LAST_DAY)
    inputs["wind_height"] = height
    wind = air.wind_at_2m(day.wind / 3.6, height.value)
    if wind < farm.CALM:
        inputs["wind_at_2m"] = estimated(farm.CALM, "m/s", farm.CALM_HOW)
        return farm.CALM
    return wind


def _solar(day: Day, place: FarmSettings, ra: float, rso: float, inputs: dict[str, Input]) -> float:
    if place.radiation is not None:
        inputs["radiation"] = given(place.radiation, "MJ/m²/day", 0, "")
        return place.radiation
    k = radiation.COAST if place.coastal else radiation.INLAND
    rs = min(rso, radiation.solar_from_temperature(day.t_max, day.t_min, ra, k))
    how = f"not measured: from Tmax - Tmin, FAO-56 eq. 50, kRs {k:g}"
    inputs["radiation"] = estimated(rs, "MJ/m²/day", how)
    return rs
