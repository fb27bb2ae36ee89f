"""Time in ints: milliseconds since boot, and Unix seconds once the network has told them.

The ESP32's floats are single precision (an epoch in one loses minutes), its `ticks_ms` wraps after
12 days and its epoch is 2000-01-01; here milliseconds never wrap and seconds count from 1970.
"""

SYNCED = "synced"
BACKFILLED = "backfilled"
UNKNOWN = "unknown"


class Clock:
    """`source` is the `time` module, or what a test moves by hand."""

    def __init__(self, source):
        self.ticks_ms = source.ticks_ms
        self.ticks_diff = source.ticks_diff
        self.sleep_ms = source.sleep_ms
        self._last = source.ticks_ms()
        self._ms = 0
        self._zero_s = None  # Unix time of ms() == 0
        self._synced_ms = 0
        self._first_sync_ms = None

    def ms(self):
        """Milliseconds since boot. Call it at least once in 6 days, half a wrap of the ticks."""
        now = self.ticks_ms()
        self._ms += self.ticks_diff(now, self._last)
        self._last = now
        return self._ms

    def set(self, epoch):
        """The Unix time is `epoch` (int seconds) now."""
        now = self.ms()
        if self._first_sync_ms is None:
            self._first_sync_ms = now
        self._zero_s = epoch - now // 1000
        self._synced_ms = now

    def restore(self, zero_s):
        """The Unix time was `zero_s` at ms() == 0, by what an earlier boot knew."""
        self._zero_s = zero_s

    def known(self):
        return self._zero_s is not None

    def synced(self):
        """Whether the network told the time since boot."""
        return self._first_sync_ms is not None

    def age_ms(self):
        """Milliseconds since the time was last set."""
        return self.ms() - self._synced_ms

    def epoch(self, at_ms=None):
        """Unix seconds (int) of the instant `at_ms` of `ms()`, now by default; None if unknown."""
        if self._zero_s is None:
            return None
        return self._zero_s + (self.ms() if at_ms is None else at_ms) // 1000

    def quality(self, at_ms):
        """How the wall time of the instant `at_ms` came to be known."""
        if self._zero_s is None:
            return UNKNOWN
        first = self._first_sync_ms
        return BACKFILLED if first is None or at_ms < first else SYNCED
