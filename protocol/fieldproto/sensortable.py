"""Sensor types and their keys in node.json and fleet.toml, as data; `sensortypes` reads it.

A key is `(type, required, lo, hi, doc)`. Types: "pin" (drives the line), "in_pin", "adc_pin",
"int", "number", "bool", "pair" (two different numbers), "rom" (16 hex digits), "choice" (`lo`
holds the allowed values). `yields` names the canonical quantities, maps the value of the key
`quantity` (None: absent) to them, or is None when they are the value of `quantity` itself.
"""

PIN_MAX = 48  # ESP32-S3; the board knows better
ADC_MAX = 4095

_PIN = ("pin", True, 0, PIN_MAX, "GPIO")
_ADC = ("adc_pin", True, 0, PIN_MAX, "GPIO of ADC1; ADC2 is dead while Wi-Fi is up")
_AIR = ("air_temperature", "relative_humidity")

TYPES: dict = {
    "dht11": {"yields": _AIR, "keys": {"pin": _PIN}},
    "dht22": {"yields": _AIR, "keys": {"pin": _PIN}},
    "analog": {
        "yields": None,
        "keys": {
            "quantity": (
                "choice",
                True,
                (
                    "soil_moisture",
                    "luminosity",
                    "npk",
                    "water_level",
                    "ph",
                    "orp",
                    "chlorine",
                    "tds",
                    "ec",
                    "solar_voltage",
                    "solar_current",
                    "vibration",
                ),
                None,
                "what it measures",
            ),
            "pin": _ADC,
            "raw": ("pair", True, 0, ADC_MAX, "ADC readings at two known points"),
            "value": ("pair", True, -100000, 100000, "the quantity at those points"),
            "clamp": ("bool", False, None, None, "hold % to 0-100 (default) or refuse"),
        },
    },
    "ds18b20": {
        "yields": None,
        "keys": {
            "quantity": (
                "choice",
                True,
                ("water_temperature", "soil_temperature", "air_temperature"),
                None,
                "what it measures",
            ),
            "pin": _PIN,
            "rom": ("rom", False, None, None, "which one, when several share the pin"),
        },
    },
    "pulse": {
        "yields": None,
        "keys": {
            "quantity": ("choice", True, ("wind_speed", "flow_rate"), None, "what it measures"),
            "pin": ("in_pin", True, 0, PIN_MAX, "GPIO; the ESP32's 34-39 need an outside pull-up"),
            "per_pulse": ("number", False, 0.000001, 100000, "quantity at one pulse a window"),
            "window": ("choice", False, ("hz", "min"), None, "of per_pulse: second or minute"),
            "pulses_per_litre": ("number", False, 0.01, 100000, "flow meter, not per_pulse"),
        },
        "one_of": ("per_pulse", "pulses_per_litre"),
        "not_both": ("window", "pulses_per_litre"),
    },
    "battery": {
        "yields": {
            None: ("battery_voltage", "battery_level"),
            "battery_voltage": ("battery_voltage",),
            "battery_level": ("battery_level",),
        },
        "keys": {
            "quantity": (
                "choice",
                False,
                ("battery_voltage", "battery_level"),
                None,
                "only this one",
            ),
            "pin": _ADC,
            "divider": ("number", False, 1, 100, "battery volts per volt at the pin, default 2"),
            "full_scale": ("number", False, 0.5, 5, "volts at the pin for 4095, default 3.3"),
            "cells": ("int", False, 1, 16, "LiPo cells in series, default 1"),
            "linear": ("pair", False, 0, 100, "volts at 0 and 100 % in place of the LiPo curve"),
        },
        "not_both": ("cells", "linear"),
    },
    "rssi": {"yields": ("signal_strength",), "keys": {}},
    "ezo": {
        "yields": {"ph": ("ph",), "orp": ("orp",), "ec": ("ec", "tds"), "tds": ("tds",)},
        "keys": {
            "quantity": ("choice", True, ("ph", "orp", "ec", "tds"), None, "ec yields tds as well"),
            "address": ("int", False, 8, 119, "I2C, default ph 99, orp 98, ec and tds 100"),
            "tds_factor": ("number", False, 0.01, 1, "ppm per uS/cm, default 0.54 as the EZO's"),
        },
    },
    "bme280": {
        "yields": ("air_temperature", "relative_humidity", "pressure"),
        "keys": {"address": ("int", False, 118, 119, "I2C, default 118")},
    },
}

# Allowed for every type.
COMMON: dict = {
    "only": ("quantities", False, None, None, "some of what the type yields"),
    "calibration": ("calibration", False, None, None, "{quantity: {offset, scale}}"),
}
