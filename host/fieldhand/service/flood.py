"""How much one node may send: a token bucket each.

A node that keeps to the rate never meets it, however long the service was away: what it sent
meanwhile is granted on top (`grant`). The excess of one that floods is dropped and counted, and
once a minute a dead letter says so; nobody else waits for it.
"""

from __future__ import annotations

from collections import OrderedDict

# Buckets remembered; one that is forgotten begins full.
MAX_BUCKETS = 50_000
SAY_EVERY_S = 60.0


class _Bucket:
    __slots__ = ("at", "dropped", "level", "said_at")

    def __init__(self, level: float, at: float) -> None:
        self.level = level
        self.at = at
        self.dropped = 0
        self.said_at: float | None = None


class Flood:
    """Buckets by any key; `rate` messages a second (0: no limit), `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._granted = 0.0
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()

    def grant(self, away_s: float) -> None:
        """Every node may have sent for so long while nobody listened."""
        self._granted = self._rate * max(0.0, away_s)
        for bucket in self._buckets.values():
            bucket.level = self._burst + self._granted

    def takes(self, key: object, now: float) -> bool:
        """Whether a message is within the limit."""
        if not self._rate:
            return True
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst + self._granted, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        elif now > bucket.at:
            if bucket.level < self._burst:
                bucket.level = min(self._burst, bucket.level + (now - bucket.at) * self._rate)
            bucket.at = now
        if bucket.level >= 1:
            bucket.level -= 1
            return True
        bucket.dropped += 1
        return False

    def to_say(self, key: object, now: float) -> int:
        """How many were dropped since it was last said; 0 when it is too early to say it again."""
        bucket = self._buckets.get(key)
        if bucket is None or not bucket.dropped:
            return 0
        if bucket.said_at is not None and now - bucket.said_at < SAY_EVERY_S:
            return 0
        bucket.said_at = now
        dropped, bucket.dropped = bucket.dropped, 0
        return dropped
