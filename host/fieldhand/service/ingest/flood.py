"""How much one node may send: a token bucket each.

A node that keeps to the rate never meets it, however long the service was away: what it sent
meanwhile is granted on top (`grant`). The excess of one that floods is dropped and counted, which
is said at the first, the tenth, the hundredth and so on (`to_say`), and when it is over (`over`);
nobody else waits for it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# Buckets remembered, and floods; a bucket that is forgotten begins full.
MAX_BUCKETS = 50_000
# A count is said again when it has grown so much.
SAY_TIMES = 10
# A flood is over when nothing has been dropped for so long.
OVER_S = 60.0


class _Bucket:
    __slots__ = ("at", "level")

    def __init__(self, level: float, at: float) -> None:
        self.level = level
        self.at = at


@dataclass(slots=True)
class Flooding:
    """What one node sent too much: how many messages were dropped, the first and last of them."""

    began: float
    last: float
    dropped: int = 0
    say_at: int = 1


class Flood:
    """Buckets by any key; `rate` messages a second (0: no limit), `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._granted = 0.0
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()
        self._floods: dict[object, Flooding] = {}

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
        flood = self._floods.get(key)
        if flood is None:
            flood = self._floods[key] = Flooding(now, now)
            if len(self._floods) > MAX_BUCKETS:
                del self._floods[next(iter(self._floods))]
        flood.dropped += 1
        flood.last = now
        return False

    def to_say(self, key: object, now: float) -> int:
        """How many have been dropped in this flood; 0 when it is too early to say it again."""
        flood = self._floods.get(key)
        if flood is None or flood.dropped < flood.say_at:
            return 0
        flood.say_at *= SAY_TIMES
        return flood.dropped

    def over(self, now: float) -> list[tuple[object, Flooding]]:
        """The floods that have ended, each once."""
        ended = [one for one in self._floods.items() if now - one[1].last >= OVER_S]
        for key, _ in ended:
            del self._floods[key]
        return ended
