"""`time` of the ESP32 port: whole seconds since 2000-01-01, starting at 0 until the RTC is set.

Ticks are the machine's. A node made with `ticks_start` has them wrap at 2**30 as on the chip.
"""

import os

import _sim
from utime import gmtime as _gmtime
from utime import sleep_ms, sleep_us, ticks_cpu  # noqa: F401
from utime import ticks_us as _clock_us

_EPOCH = 946684800
_RTC_GET = 18

# us since 2000 at tick 0 of the machine's monotonic clock, which the supervisor shares.
_offset = int(_sim.call(_RTC_GET))

if os.getenv("FIELDHAND_TICKS"):
    from _sim_ticks import ticks_add, ticks_diff, ticks_ms, ticks_us
else:
    from utime import ticks_add, ticks_diff, ticks_ms, ticks_us  # noqa: F401


def sleep(seconds):
    sleep_ms(int(seconds * 1000))


def _us():
    return _clock_us() + _offset


def time():
    return _us() // 1000000


def gmtime(secs=None):
    t = _gmtime((time() if secs is None else secs) + _EPOCH)
    return t[:8]


def __getattr__(name):
    import _sim_time

    return getattr(_sim_time, name)
