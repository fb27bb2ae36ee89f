"""Sensor types and their keys in node.json and fleet.toml, as data and as a check.

A key is `(type, required, lo, hi, doc)`. Types: "pin" (drives the line), "in_pin", "adc_pin",
"int", "number", "bool", "pair" (two different numbers), "rom" (16 hex digits), "choice" (`lo`
holds the allowed values). `yields` names the canonical quantities, or maps the value of the
key `quantity` (None: absent) to them.
"""

from fieldproto.quantities import UNITS

PIN_MAX = 48  # ESP32-S3; the board knows better
ADC_MAX = 4095

_PIN = ("pin", True, 0, PIN_MAX, "GPIO")
_ADC = ("adc_pin", True, 0, PIN_MAX, "GPIO of ADC1; ADC2 is dead while Wi-Fi is up")
_AIR = ("air_temperature", "relative_humidity")

TYPES = {
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
            "pin": ("in_pin", True, 0, PIN_MAX, "GPIO; 34-39 need an outside pull-up"),
            "per_pulse": ("number", False, 0.000001, 100000, "quantity at one pulse a window"),
            "window": ("choice", False, ("hz", "min"), None, "of per_pulse: second or minute"),
            "pulses_per_litre": ("number", False, 0.01, 100000, "flow meter, not per_pulse"),
        },
        "one_of": ("per_pulse", "pulses_per_litre"),
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
COMMON = {
    "only": ("quantities", False, None, None, "some of what the type yields"),
    "calibration": ("calibration", False, None, None, "{quantity: {offset, scale}}"),
}

_PINS = ("pin", "in_pin", "adc_pin")
_EZO_ADDRESS = {"ph": 99, "orp": 98, "ec": 100, "tds": 100}
_HEX = "0123456789abcdefABCDEF"


class SensorConfigError(ValueError):
    """A sensor table that cannot be used. `path` is like "sensors[2].pin", `reason` what is wrong."""

    def __init__(self, path: str, reason: str) -> None:
        ValueError.__init__(self, "%s: %s" % (path, reason))
        self.path = path
        self.reason = reason


def address(config: dict) -> int | None:
    """I2C address of a checked `config`, None for what is not on the I2C bus."""
    if config["type"] == "ezo":
        return config.get("address", _EZO_ADDRESS[config["quantity"]])
    if config["type"] == "bme280":
        return config.get("address", 118)
    return None


def measures(config: dict) -> tuple:
    """Quantities the device of a checked `config` measures, whatever `only` says."""
    found = TYPES[config["type"]]["yields"]
    if found is None:
        return (config["quantity"],)
    if isinstance(found, dict):
        return found[config.get("quantity")]
    return found


def yields(config: dict) -> tuple:
    """Quantities a checked `config` yields, in the order of its readings."""
    return tuple(q for q in measures(config) if q in config.get("only", (q,)))


def check(configs: list, path: str = "sensors") -> None:
    """Check the list of sensor tables; raises SensorConfigError naming index and key."""
    if not isinstance(configs, list):
        raise SensorConfigError(path, "is not a list")
    places: dict = {}
    owners: dict = {}
    for index, config in enumerate(configs):
        here = "%s[%d]" % (path, index)
        _check_one(config, here)
        _claim(places, _place(config), here, config)
        for quantity in yields(config):
            if quantity in owners:
                reason = "%s comes from %s already, choose with only" % (quantity, owners[quantity])
                raise SensorConfigError(here, reason)
            owners[quantity] = here


def _check_one(config: dict, here: str) -> None:
    if not isinstance(config, dict):
        raise SensorConfigError(here, "is not a table")
    kind = config.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        known = ", ".join(sorted(TYPES))
        raise SensorConfigError(here + ".type", "%r is not one of %s" % (kind, known))
    keys = TYPES[kind]["keys"]
    for key in config:
        if key not in keys and key not in COMMON and key != "type":
            known = ", ".join(sorted(keys) + sorted(COMMON))
            raise SensorConfigError("%s.%s" % (here, key), "%s has %s" % (kind, known))
    for key in keys:
        if key in config:
            _check_value(keys[key], config[key], "%s.%s" % (here, key))
        elif keys[key][1]:
            raise SensorConfigError("%s.%s" % (here, key), "missing: %s" % keys[key][4])
    choice = TYPES[kind].get("one_of")
    if choice and sum(1 for key in choice if key in config) != 1:
        raise SensorConfigError(here, "give one of %s" % ", ".join(choice))
    _check_common(config, here)


def _check_value(key: tuple, value: object, here: str) -> None:
    kind, _, lo, hi, _ = key
    if kind == "choice":
        if value not in lo:
            raise SensorConfigError(here, "%r is not one of %s" % (value, ", ".join(lo)))
    elif kind == "bool":
        if not isinstance(value, bool):
            raise SensorConfigError(here, "%r is not true or false" % (value,))
    elif kind == "rom":
        if not isinstance(value, str) or len(value) != 16 or any(c not in _HEX for c in value):
            raise SensorConfigError(here, "%r is not 16 hex digits" % (value,))
    elif kind == "pair":
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise SensorConfigError(here, "%r is not two numbers" % (value,))
        for i in range(2):
            _check_number(value[i], lo, hi, "%s[%d]" % (here, i))
        if value[0] == value[1]:
            raise SensorConfigError(here, "the two are both %s" % value[0])
    else:
        if kind != "number" and (isinstance(value, bool) or not isinstance(value, int)):
            raise SensorConfigError(here, "%r is not a whole number" % (value,))
        _check_number(value, lo, hi, here)


def _check_number(value: object, lo: float, hi: float, here: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SensorConfigError(here, "%r is not a number" % (value,))
    if not lo <= value <= hi:
        raise SensorConfigError(here, "%s is not %s to %s" % (value, lo, hi))


def _check_common(config: dict, here: str) -> None:
    known = measures(config)
    only = config.get("only", known)
    if not isinstance(only, (list, tuple)) or not only:
        raise SensorConfigError(here + ".only", "is not a list of quantities")
    calibration = config.get("calibration", {})
    if not isinstance(calibration, dict):
        raise SensorConfigError(here + ".calibration", "is not a table")
    for key, names in (("only", only), ("calibration", calibration)):
        for name in names:
            if name not in known:
                reason = "%r is not one of %s" % (name, ", ".join(known))
                raise SensorConfigError("%s.%s" % (here, key), reason)
    for name in calibration:
        check_calibration(calibration[name], "%s.calibration.%s" % (here, name))


def check_calibration(value: object, here: str) -> None:
    """Check one `{"offset": number, "scale": number}`; raises SensorConfigError."""
    if not isinstance(value, dict):
        raise SensorConfigError(here, "is not a table of offset and scale")
    for key in value:
        if key not in ("offset", "scale"):
            raise SensorConfigError("%s.%s" % (here, key), "calibration has offset, scale")
        _check_number(value[key], -100000, 100000, "%s.%s" % (here, key))
    if value.get("scale", 1) == 0:
        raise SensorConfigError(here + ".scale", "0 would make every reading the same")


def _place(config: dict) -> tuple | None:
    """What two sensors cannot share: (key, number)."""
    for key in TYPES[config["type"]]["keys"]:
        if TYPES[config["type"]]["keys"][key][0] in _PINS:
            return ("pin", config[key])
    at = address(config)
    return None if at is None else ("address", at)


def _claim(places: dict, place: tuple | None, here: str, config: dict) -> None:
    if place is None:
        return
    other = places.setdefault(place, (here, config))
    if other[1] is config:
        return
    both = (config, other[1])
    if all(c["type"] == "ds18b20" for c in both):
        if all("rom" in c for c in both):
            return
        raise SensorConfigError(here + ".rom", "missing: shares its pin with %s" % other[0])
    raise SensorConfigError("%s.%s" % (here, place[0]), "%d is in use by %s" % (place[1], other[0]))


def unit(quantity: str) -> str:
    """Unit of a canonical quantity, "" when it has none."""
    return UNITS.get(quantity, "")
