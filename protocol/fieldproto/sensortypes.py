"""Check of the sensor tables of node.json and fleet.toml, and what a checked one means."""

from .calibration import SensorConfigError as SensorConfigError
from .calibration import check_calibration, check_number
from .quantities import bounds
from .sensortable import COMMON, TYPES

_EZO_ADDRESS = {"ph": 99, "orp": 98, "ec": 100, "tds": 100}
_PINS = ("pin", "in_pin", "adc_pin")
_HEX = "0123456789abcdefABCDEF"


def address(config: dict) -> int | None:
    """I2C address of a checked `config`, None for what is not on the I2C bus."""
    at: int | None = None
    if config["type"] == "ezo":
        at = config.get("address", _EZO_ADDRESS[config["quantity"]])
    elif config["type"] == "bme280":
        at = config.get("address", 118)
    return at


def measures(config: dict) -> tuple:
    """Quantities the device of a checked `config` measures, whatever `only` says."""
    found = TYPES[config["type"]]["yields"]
    if found is None:
        found = (config["quantity"],)
    elif isinstance(found, dict):
        found = found[config.get("quantity")]
    return tuple(found)


def yields(config: dict) -> tuple:
    """Quantities a checked `config` yields, in the order of its readings."""
    return tuple(q for q in measures(config) if q in config.get("only", (q,)))


def facts(config: dict) -> dict:
    """What a node asks of these tables about a checked `config`: see `fieldnode.sensors.build`."""
    known = measures(config)
    found: dict = {"measures": known, "yields": yields(config), "bounds": bounds(known)}
    at = address(config)
    if at is not None:
        found["address"] = at
    return found


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
    choice = TYPES[kind].get("not_both")
    if choice and all(key in config for key in choice):
        raise SensorConfigError(here, "%s and %s exclude each other" % choice)
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
            check_number(value[i], lo, hi, "%s[%d]" % (here, i))
        if value[0] == value[1]:
            raise SensorConfigError(here, "the two are both %s" % value[0])
    else:
        if kind != "number" and (isinstance(value, bool) or not isinstance(value, int)):
            raise SensorConfigError(here, "%r is not a whole number" % (value,))
        check_number(value, lo, hi, here)


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


def _place(config: dict) -> tuple | None:
    """What two sensors cannot share: (key, number)."""
    for key in TYPES[config["type"]]["keys"]:
        if TYPES[config["type"]]["keys"][key][0] in _PINS:
            return ("pin", config[key])
    at = address(config)
    return None if at is None else ("address", at)


def _claim(places: dict, where: tuple | None, here: str, config: dict) -> None:
    if where is None:
        return
    other = places.setdefault(where, (here, config))
    if other[1] is config:
        return
    both = (config, other[1])
    if all(c["type"] == "ds18b20" for c in both):
        if all("rom" in c for c in both):
            return
        raise SensorConfigError(here + ".rom", "missing: shares its pin with %s" % other[0])
    raise SensorConfigError("%s.%s" % (here, where[0]), "%d is in use by %s" % (where[1], other[0]))
