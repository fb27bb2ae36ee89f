"""What flows past the meter: the volume of a run, a dry pump, a leak."""

from micropython import const

from .sensors.base import SensorError

# Flow in this long after the end of a run comes from the momentum of the water.
_SETTLE_MS = const(10000)
_MARKS = const(6)  # of the last minute
_MARK_MS = const(10000)
_POOR = const(10)  # less than this part of what the calibration says is no flow


class Flow:
    """The meter of one relay. `line` are all relays on it: each gets all of the flow."""

    def __init__(self, meter, table, line, clock):
        self._meter = meter
        self.line = line
        self._clock = clock
        self._dry_ms = table["dry_run_s"] * 1000
        self._leak_ml = table["leak_ml"]
        rate = table.get("flow_ml_per_s", 0)
        self._least_ml = max(int(rate * table["dry_run_s"] / _POOR), 1)
        self._limit_ml = self.full_reason = None
        self._began_ml = self._moved_ml = None
        self._moved_ms = 0
        self.leaking = False
        self._marks = []
        self._mark_ms = self._settled_ms = 0

    def volume_ml(self):
        """Since the boot, None where the meter fails."""
        try:
            return self._meter.volume_ml()
        except SensorError:
            return None

    def begin(self, limit_ml, reason):
        """A run begins, of `limit_ml` at most (None: any amount), which it ends with `reason`."""
        self._limit_ml = limit_ml
        self.full_reason = reason
        self._began_ml = self._moved_ml = self.volume_ml()
        self._moved_ms = self._clock.ms()

    def run_ml(self):
        """Of the last run or the one under way, None if unknown."""
        volume = self.volume_ml()
        return None if volume is None or self._began_ml is None else volume - self._began_ml

    def full(self):
        """Whether the run has its limit."""
        return self._limit_ml is not None and (self.run_ml() or 0) >= self._limit_ml

    def dry(self):
        """Whether nothing to speak of has flowed for `dry_run_s` of the run."""
        volume = self.volume_ml()
        now = self._clock.ms()
        if volume is not None and volume - (self._moved_ml or 0) >= self._least_ml:
            self._moved_ml = volume
            self._moved_ms = now
        return now - self._moved_ms >= self._dry_ms

    def leaked_ml(self):
        """What flowed in the last minute with all relays off; `leaking` says if it is too much."""
        now = self._clock.ms()
        for relay in self.line:
            if relay.running:
                self._settled_ms = now + _SETTLE_MS
                self._marks.clear()
        volume = self.volume_ml()
        if now < self._settled_ms or volume is None:
            return 0
        marks = self._marks
        if not marks or now >= self._mark_ms:
            marks.append(volume)
            self._mark_ms = now + _MARK_MS
            if len(marks) > _MARKS:
                marks.pop(0)
        leaked = volume - marks[0]
        if leaked > self._leak_ml:
            self.leaking = True
        elif len(marks) == _MARKS and leaked <= self._leak_ml // 2:
            self.leaking = False  # and not at once again, near the limit
        return leaked
