"""How often something may be tried."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

MAX_KEYS = 10_000


class RateLimit:
    """For each key `burst` at once, and one more every `every_s` seconds.

    The generic cell rate algorithm (ITU-T I.371): of a key only the time is kept at which all it
    took is paid for. Any thread.
    """

    def __init__(
        self,
        burst: int,
        every_s: float,
        keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slack = (burst - 1) * every_s
        self._every = every_s
        self._keys = keys
        self._clock = clock
        self._paid: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def take(self, key: Hashable) -> float:
        """0 when it may be tried now, else in how many seconds."""
        with self._lock:
            now = self._clock()
            paid = max(now, self._paid.pop(key, now))
            wait = paid - now - self._slack
            self._paid[key] = paid if wait > 0 else paid + self._every
            if len(self._paid) > self._keys:
                self._forget(now)
            return max(0.0, wait)

    def give_back(self, key: Hashable) -> None:
        """What was taken last does not count."""
        with self._lock:
            if key in self._paid:
                self._paid[key] -= self._every

    def _forget(self, now: float) -> None:
        """Keys that are free again; and if there are too many still, the least used one."""
        self._paid = {key: paid for key, paid in self._paid.items() if paid > now}
        while len(self._paid) > self._keys:
            del self._paid[next(iter(self._paid))]
