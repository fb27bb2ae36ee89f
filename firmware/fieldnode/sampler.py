"""Takes a reading of all sensors at the interval, without ever waiting for one."""

import gc

from micropython import const

from . import log
from .sensors.base import SensorError

# An EZO circuit reads for 950 ms and is deaf for 300 ms after it was told the temperature: at a
# shorter interval the next reading would find it busy.
_COMPENSATE_FROM_MS = const(2000)


class Sampler:
    """`on_reading(ms, values)` gets each reading that has at least one quantity."""

    def __init__(self, sensors, clock, interval_ms, on_reading):
        self.sensors = sensors
        self.interval_ms = interval_ms
        self.failed = {}  # sensor name -> reason of its last, unrecovered failure
        self._clock = clock
        self._on_reading = on_reading
        self._next_ms = 0
        self._ready_ms = None  # a conversion is under way until then
        self._started = []

    def set_interval(self, interval_ms):
        """A new interval, counted from now."""
        if interval_ms != self.interval_ms:
            self.interval_ms = interval_ms
            self._next_ms = self._clock.ms() + interval_ms

    def sample_now(self):
        """Take a reading at once, outside the interval."""
        if self._ready_ms is None:
            self._next_ms = self._clock.ms()

    def step(self):
        """Do what is due; milliseconds until there is more to do."""
        now = self._clock.ms()
        if self._ready_ms is None:
            if now < self._next_ms:
                return self._next_ms - now
            self._next_ms += self.interval_ms
            if self._next_ms <= now:  # late: keep the interval, not the phase
                self._next_ms = now + self.interval_ms
            longest = self._start()
            now = self._clock.ms()  # what a start took does not count
            self._ready_ms = now + longest
        if now < self._ready_ms:
            return self._ready_ms - now
        self._ready_ms = None
        values = self._read()
        if values:
            self._on_reading(now, values)
        gc.collect()  # here rather than wherever the heap runs full, which may be mid-packet
        return 0

    def _start(self):
        longest = 0
        self._started = []
        for sensor in self.sensors:
            try:
                longest = max(longest, sensor.start())
                self._started.append(sensor)
            except SensorError as error:
                self._note(error)
        return longest

    def _read(self):
        values = {}
        for sensor in self._started:
            try:
                for quantity, value in sensor.read():
                    values[quantity] = value
            except SensorError as error:
                self._note(error)
            else:
                if self.failed.pop(sensor.name, None):
                    log.info("%s works again" % sensor.name)
        if "water_temperature" in values and self.interval_ms >= _COMPENSATE_FROM_MS:
            self._compensate(values["water_temperature"])
        return values

    def _compensate(self, celsius):
        for sensor in self.sensors:
            try:
                sensor.compensate(celsius)
            except SensorError as error:
                self._note(error)

    def _note(self, error):
        if self.failed.get(error.sensor) != error.reason:
            log.warning(str(error))
        self.failed[error.sensor] = error.reason
