"""When something was: a node's clock may be ahead, or never have been set.

Its own time is kept as it was told. What all history is ordered by is the time it can have been:
one reading from the year 2099 would else be the newest for ever, and one from 1970 hide behind
all that came before. The service's own clock is taken to be right.
"""

from __future__ import annotations

# 2001-01-01: clocks begin at 1970 (Unix) or 2000 (MicroPython, clock chips) when nobody sets them.
SET_SINCE = 978_307_200
# In seconds. One that is ahead by as much is nearly right; one further ahead says nothing of when.
AHEAD_S = 60.0


def moment(time: int | None, received: float) -> float:
    """When it was (Unix seconds), as far as one can tell: never after it was received.

    Of a clock that is ahead, as of one that is not set, only the arrival is to be believed.
    """
    if time is None or time < SET_SINCE <= received:
        return received
    return received if time > received else float(time)


def credible(time: int | None, received: float) -> bool:
    """Whether it is known when it was; where it is not, it may have come long after."""
    return time is None or abs(moment(time, received) - time) <= AHEAD_S
