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


def time_ns():
    return _us() * 1000


def gmtime(secs=None):
    t = _gmtime((time() if secs is None else secs) + _EPOCH)
    return t[:8]


localtime = gmtime


def mktime(t):
    y, mo, d, h, mi, s = t[:6]
    y += (mo - 1) // 12
    mo = (mo - 1) % 12 + 1
    if mo < 3:
        y -= 1
        mo += 12
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * mo - 457) // 5 + d - 730426
    return ((days * 24 + h) * 60 + mi) * 60 + s
