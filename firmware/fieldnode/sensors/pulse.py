"""Pulses per time: anemometer and flow meter."""

from micropython import const

from fieldnode.sensors.base import Sensor, SensorError

# The counter wraps at 2**30 (`hal.Counter`), itself no small int on the ESP32.
_MASK = const(0x3FFFFFFF)

# Shortest window a rate is taken over: at 2.4 km/h a pulse, 1 s resolves 2.4 km/h.
_MIN_WINDOW_MS = const(1000)
_WINDOW_MS = {"hz": 1000, "min": 60000}


class Pulse(Sensor):
    """`counter` has `count()`, pulses so far, wrapping at 2**30.

    The quantity is `factor` times pulses per millisecond, over the time since the last
    reading. `per_litre` (pulses) makes `volume_ml()` possible.
    """

    def __init__(self, counter, clock, pin, quantity, factor, per_litre=None):
        Sensor.__init__(self, "%s@%d" % (quantity, pin), (quantity,), clock)
        self._counter = counter
        self._factor = factor
        self._per_litre = per_litre
        self._count = counter.count()
        self._pulses = 0
        self._window_pulses = 0
        self._window_began = clock.ticks_ms()

    def volume_ml(self):
        """Millilitres (int) since the node started. Raises SensorError."""
        if self._per_litre is None:
            raise SensorError(self.name, "pulses_per_litre is not set")
        return int(self._total() * 1000 // self._per_litre)

    def _start(self):
        window = self._since(self._window_began)
        return _MIN_WINDOW_MS - window if 0 <= window < _MIN_WINDOW_MS else 0

    def _read(self):
        try:
            pulses = self._total() - self._window_pulses
            window = self._since(self._window_began)
        finally:
            self._window_pulses = self._pulses
            self._window_began = self._clock.ticks_ms()
        if window < _MIN_WINDOW_MS:
            raise SensorError(self.name, "window of %d ms is no window" % window)
        return (pulses * self._factor / window,)

    def _total(self):
        count = self._bus(self._counter.count)
        new = (count - self._count) & _MASK
        self._count = count
        if new > _MASK // 2:
            raise SensorError(self.name, "counter went backwards")
        self._pulses += new
        return self._pulses


def create(config, buses):
    per_litre = config.get("pulses_per_litre")
    if per_litre is None:
        factor = config["per_pulse"] * _WINDOW_MS[config.get("window", "hz")]
    else:
        factor = 60000 / per_litre
    pin = config["pin"]
    counter = buses.hal.counter(pin)
    return Pulse(counter, buses.clock, pin, config["quantity"], factor, per_litre)
