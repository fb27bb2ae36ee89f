"""Anything that puts a voltage on an ADC pin, calibrated in two points."""

from micropython import const

from fieldnode.sensors.base import Sensor, SensorError

# Readings a value is the median of: one spike of the pump or the radio does not show.
SAMPLES = const(9)

# How far beyond the calibrated span a working sensor may read, in percent of the span.
_MARGIN = const(25)


def median(adc, samples):
    """Median of `len(samples)` readings of `adc`; `samples` is a list used as the buffer."""
    for i in range(len(samples)):
        samples[i] = adc.read()
    samples.sort()
    return samples[len(samples) // 2]


class Analog(Sensor):
    """`adc` has `read()`, 0 to 4095. `raw` and `value` are the two points."""

    def __init__(self, adc, clock, pin, quantity, raw, value, clamp=True):
        Sensor.__init__(self, "%s@%d" % (quantity, pin), (quantity,), clock)
        self._adc = adc
        self._raw = raw
        self._value = value
        self._samples = [0] * SAMPLES
        margin = abs(raw[1] - raw[0]) * _MARGIN // 100
        self._low = min(raw) - margin
        self._high = max(raw) + margin
        if not clamp:
            self.limits = {quantity: (0, 100)}

    def _start(self):
        return 0

    def _read(self):
        reading = self._bus(median, self._adc, self._samples)
        if not self._low <= reading <= self._high:
            raise SensorError(
                self.name,
                "ADC reads %d, calibrated for %d to %d: open or shorted?"
                % (reading, min(self._raw), max(self._raw)),
            )
        r0, r1 = self._raw
        v0, v1 = self._value
        return (v0 + (reading - r0) * (v1 - v0) / (r1 - r0),)


def create(config, buses):
    pin, quantity = config["pin"], config["quantity"]
    return Analog(
        buses.hal.adc(pin),
        buses.clock,
        pin,
        quantity,
        config["raw"],
        config["value"],
        quantity in config["bounds"] or config.get("clamp", True),  # only of percentages
    )
