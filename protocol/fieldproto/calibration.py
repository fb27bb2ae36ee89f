"""Check of one calibration: all that a running node needs of the sensor tables' checks."""


class SensorConfigError(ValueError):
    """A sensor table that cannot be used.

    Attributes: `path`, like "sensors[2].pin", and `reason`.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__("%s: %s" % (path, reason))
        self.path = path
        self.reason = reason


def check_number(value: object, lo: float, hi: float, here: str) -> None:
    """Check that `value` is a number from `lo` to `hi`; raises SensorConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SensorConfigError(here, "%r is not a number" % (value,))
    if not lo <= value <= hi:
        raise SensorConfigError(here, "%s is not %s to %s" % (value, lo, hi))


def check_calibration(value: object, here: str) -> None:
    """Check one `{"offset": number, "scale": number}`; raises SensorConfigError."""
    if not isinstance(value, dict):
        raise SensorConfigError(here, "is not a table of offset and scale")
    for key in value:
        if key not in ("offset", "scale"):
            raise SensorConfigError("%s.%s" % (here, key), "calibration has offset, scale")
        check_number(value[key], -100000, 100000, "%s.%s" % (here, key))
    if value.get("scale", 1) == 0:
        raise SensorConfigError(here + ".scale", "0 would make every reading the same")
