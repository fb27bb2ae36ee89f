"""What a quantity can be. Forgotten when the sensors are made."""

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
