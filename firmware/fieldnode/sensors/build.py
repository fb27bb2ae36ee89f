"""Makes the sensors that node.json names, importing only the drivers they need.

Forgotten when the node has started.
"""

import gc

from fieldproto.calibration import SensorConfigError

# Type -> module. A driver's module has `create(config, buses)`.
_MODULES = {"dht11": "dht", "dht22": "dht"}


class Buses:
    """What drivers are handed: one I2C bus, one 1-Wire bus a pin, `hal` for the rest."""

    def __init__(self, hal, clock, i2c):
        self.hal = hal
        self.clock = clock
        self.onewires = {}  # pin -> ds18b20.Wire
        self._i2c_pins = i2c
        self._i2c = None

    def i2c(self):
        if self._i2c is None:
            if not self._i2c_pins:
                raise SensorConfigError("i2c", "missing: scl and sda of a bus the sensors need")
            self._i2c = self.hal.i2c(self._i2c_pins["scl"], self._i2c_pins["sda"])
        return self._i2c


def build(configs, hal, clock, i2c=None, facts=None):
    """List of `base.Sensor`, one per table of `configs` (the `sensors` of node.json).

    `clock` has `ticks_ms()` and `ticks_diff(a, b)`, `i2c` the pins `scl` and `sda`
    (only when a sensor needs them). `facts` of each spare the tables they are looked up in.
    Raises SensorConfigError naming index and key.
    """
    if facts is None:
        from fieldproto import sensortypes

        sensortypes.check(configs)
        facts = [sensortypes.facts(config) for config in configs]
    buses = Buses(hal, clock, i2c)
    found = []
    for index, config in enumerate(configs):
        kind = config["type"]
        # A first collection in the middle of an import leaves holes the rest of it does not fit.
        gc.collect()
        driver = __import__(
            "fieldnode.sensors." + _MODULES.get(kind, kind), None, None, ("create",)
        )
        try:
            sensor = driver.create(dict(config, **facts[index]), buses)
        except SensorConfigError:
            raise
        except ValueError as exc:
            # What the chip refuses and the table cannot know, as an input-only pin.
            raise SensorConfigError("sensors[%d]" % index, str(exc))
        sensor.quantities = tuple(facts[index]["yields"])
        sensor.bounds = facts[index]["bounds"]
        calibration = config.get("calibration", {})
        for quantity in calibration:
            sensor.apply_calibration(quantity, **calibration[quantity])
        found.append(sensor)
    return found
