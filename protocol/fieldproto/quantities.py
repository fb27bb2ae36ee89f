"""Canonical quantities: the name a sensor yields, its unit, its bounds. A dialect renames them."""

UNITS = {
    "air_temperature": "°C",
    "water_temperature": "°C",
    "soil_temperature": "°C",
    "relative_humidity": "%",
    "pressure": "hPa",
    "soil_moisture": "%",
    "luminosity": "%",
    "ph": "pH",
    "orp": "mV",
    "chlorine": "ppm",
    "tds": "ppm",
    "ec": "dS/m",
    "npk": "raw",  # 0-1023
    "flow_rate": "L/min",
    "water_level": "%",
    "wind_speed": "km/h",
    "battery_level": "%",
    "battery_voltage": "V",
    "solar_voltage": "V",
    "solar_current": "A",
    "vibration": "g",
    "signal_strength": "dBm",
    "uptime": "s",
    "energy": "Wh",
    "water_used": "L",
    "area": "m²",
    "free_memory": "B",
}

# What can be, after calibration; a driver's own `limits` say what its device can measure.
PHYSICAL = {
    "air_temperature": (-60, 85),
    "water_temperature": (-5, 110),
    "soil_temperature": (-60, 85),
    "pressure": (300, 1100),
    "ph": (0, 14),
    "orp": (-2000, 2000),
    "chlorine": (0, 20),
    "tds": (0, 500000),
    "ec": (0, 500),
    "npk": (0, 1023),
    "flow_rate": (0, 1000),
    "wind_speed": (0, 400),
    "battery_voltage": (0, 100),
    "solar_voltage": (0, 500),
    "solar_current": (-100, 100),
    "vibration": (0, 200),
    "signal_strength": (-127, -1),
}


def bounds(measures) -> dict:
    """Quantity of `measures` -> (lo, hi) that can be, None for any; percentages have no entry."""
    return {q: PHYSICAL.get(q) for q in measures if UNITS[q] != "%"}
