"""Vapour pressure deficit of the air."""

from __future__ import annotations

from fieldhand.service.agronomy import atmosphere as air

# Prenger, J.J., Ling, P.P. (2001), Ohio State University AEX-804, "Greenhouse Condensation
# Control": fungal pathogens survive best below 0.43 kPa, infection is worst below 0.20 kPa.
INFECTION = 0.20
FUNGI = 0.43


def deficit(temperature: float, humidity: float) -> float:
    """VPD in kPa of air at `temperature` in °C and `humidity` in %.

    e°(T) of FAO-56 eq. 11 less its share that is there, eq. 10.
    """
    return air.saturation_pressure(temperature) * (1 - humidity / 100)


def mean_deficit(t_max: float, t_min: float, rh_max: float, rh_min: float) -> float:
    """es - ea of a day in kPa, from its extremes in °C and %. FAO-56 eq. 12 and 17."""
    return air.mean_saturation_pressure(t_max, t_min) - air.vapour_pressure(
        t_max, t_min, rh_max, rh_min
    )


def band(deficit: float) -> str:
    """ "infection" below 0.20 kPa, "damp" below 0.43 kPa, else "dry" (AEX-804, see above)."""
    return "infection" if deficit < INFECTION else "damp" if deficit < FUNGI else "dry"
