"""Whether another client uses our id.

A broker closes a session when a client with the same id comes (MQTT 3.1.1, 3.1.4-2). Two that both
come back do that to each other for ever, and neither is told why.
"""

from __future__ import annotations

from collections import deque

# A session that lasted so long is a success: more than the longest pause between two tries, or two
# that take turns would each count as well.
STEADY_S = 35.0
# So many shorter ones, closed by the broker within so long, are no accident.
TIMES = 3
WITHIN_S = 30.0


class Takeovers:
    """Counts short sessions that the broker closed; `suspected` until one is steady."""

    def __init__(self) -> None:
        self._closed: deque[float] = deque(maxlen=TIMES)
        self.suspected = False

    def ended(self, lasted_s: float | None, by_broker: bool, now: float) -> None:
        """A session ended at `now` (monotonic s); None: there was none, we were not let in."""
        if lasted_s is None or not by_broker or lasted_s >= STEADY_S:
            self.forget()
            return
        self._closed.append(now)
        if len(self._closed) == TIMES and now - self._closed[0] <= WITHIN_S:
            self.suspected = True

    def forget(self) -> None:
        """Begin anew: the session is steady, or what ended it was something else."""
        self._closed.clear()
        self.suspected = False
