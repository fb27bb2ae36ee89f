"""Ticks that begin where a test wants and wrap at 2**30, as on the chip after 12 days."""

import os

from utime import ticks_ms as _clock_ms
from utime import ticks_us as _clock_us

_PERIOD = 1 << 30
_shift = int(os.getenv("FIELDHAND_TICKS")) - _clock_ms()


def ticks_ms():
    return (_clock_ms() + _shift) & (_PERIOD - 1)


def ticks_us():
    return (_clock_us() + _shift * 1000) & (_PERIOD - 1)


def ticks_add(ticks, delta):
    return (ticks + delta) & (_PERIOD - 1)


def ticks_diff(a, b):
    return ((a - b + _PERIOD // 2) & (_PERIOD - 1)) - _PERIOD // 2
