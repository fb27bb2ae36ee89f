"""DHT11 and DHT22 (AM2302): air temperature and relative humidity on one wire."""

from micropython import const

from fieldnode.sensors.base import Sensor, SensorError

# Least time between two measurements, and after power-up: datasheets of both.
_DHT11_MS = const(1000)
_DHT22_MS = const(2000)

# The measuring ranges of the two datasheets. Some DHT11 read on below 20 % and below 0 °C,
# where they are only less exact.
_LIMITS = {
    "dht11": {"air_temperature": (-20, 60), "relative_humidity": (0, 100)},
    "dht22": {"air_temperature": (-40, 80), "relative_humidity": (0, 100)},
}


class Dht(Sensor):
    """`device` has `measure()`, `temperature()` and `humidity()`, as MicroPython's `dht.DHT22`.

    `read()` takes 25 ms: the sensor is awakened and answers within it.
    """

    def __init__(self, device, clock, kind, pin):
        Sensor.__init__(
            self, "%s@%d" % (kind, pin), ("air_temperature", "relative_humidity"), clock
        )
        self.limits = _LIMITS[kind]
        self._device = device
        self._rest = _DHT11_MS if kind == "dht11" else _DHT22_MS
        self._measured = clock.ticks_ms()

    def _start(self):
        rested = self._since(self._measured)
        return self._rest - rested if 0 <= rested < self._rest else 0

    def _read(self):
        device = self._device
        self._measured = self._clock.ticks_ms()
        self._bus(device.measure)
        celsius, humidity = device.temperature(), device.humidity()
        if celsius == 0 and humidity == 0:
            # Forty zero bits have a good checksum: a line held low, not weather.
            raise SensorError(self.name, "all zero, is the line shorted?")
        return celsius, humidity


def create(config, buses):
    pin = config["pin"]
    return Dht(buses.hal.dht(pin, config["type"]), buses.clock, config["type"], pin)
