"""The rarer parts of `machine`."""

import sys
import time

import _sim
import utime
from micropython import const

SLEEP = const(2)
DEEPSLEEP = const(4)
PIN_WAKE = const(2)
EXT0_WAKE = const(2)
EXT1_WAKE = const(3)
TIMER_WAKE = const(4)

_RTC_SET = const(19)
_RTC_MEMORY = const(20)
_INFO = const(27)
_DAC = const(28)
_RTC_MEMORY_MAX = const(2048)


class RTC:
    def init(self, datetime):
        self.datetime(datetime)

    def datetime(self, datetime=None):
        if datetime is None:
            now = time._us()
            y, mo, d, h, mi, s, wd, _ = time.gmtime(now // 1000000)
            return (y, mo, d, wd, h, mi, s, now % 1000000)
        y, mo, d, _, h, mi, s, us = datetime
        time._offset = time.mktime((y, mo, d, h, mi, s, 0, 0)) * 1000000 + us - utime.ticks_us()
        _sim.call(_RTC_SET, 0, 0, 0, str(time._offset).encode())
        sys.modules.pop("_sim_time", None)  # of no more use, and the chip has that in its ROM

    def memory(self, data=None):
        if data is None:
            return _sim.call(_RTC_MEMORY, 0)
        if len(data) > _RTC_MEMORY_MAX:
            raise ValueError("buffer too long")
        _sim.call(_RTC_MEMORY, 1, 0, 0, _sim.data(data))


class Signal:
    def __init__(self, pin, *args, invert=False, **kwargs):
        from machine import Pin

        self._pin = pin if isinstance(pin, Pin) else Pin(pin, *args, **kwargs)
        self._invert = invert

    def value(self, x=None):
        if x is None:
            return self._pin.value() ^ self._invert
        self._pin.value(bool(x) ^ self._invert)

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)


class DAC:
    """The ESP32's two, at GPIO25 and 26; the S3 and the C3 have none."""

    def __init__(self, pin, **kwargs):
        from machine import _INPUTS, _number

        self._n = _number(pin)
        if self._n not in (25, 26) or _INPUTS != 34:
            raise ValueError("invalid Pin for DAC")
        self.write(0)

    def write(self, value):
        if not 0 <= value <= 255:
            raise ValueError("value out of range")
        _sim.call(_DAC, self._n, value)

    def deinit(self):
        _sim.call(_DAC, self._n, -1)


def time_pulse_us(pin, level, timeout_us=1000000):
    """-2: no pulse came, -1: it did not end in time."""
    for at, missing in ((level, -2), (not level, -1)):
        start = utime.ticks_us()
        while bool(pin.value()) != bool(at):
            if utime.ticks_diff(utime.ticks_us(), start) >= timeout_us:
                return missing
        if missing == -1:
            return utime.ticks_diff(utime.ticks_us(), start)


def bitstream(*args):
    raise NotImplementedError("no bitstream in the simulator")


_freq = 160000000


def freq(hz=None):
    global _freq
    if hz is None:
        return _freq
    if hz // 1000000 not in (20, 40, 80, 160, 240):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _freq = hz // 1000000 * 1000000


def wake_reason():
    return TIMER_WAKE if _sim.call(_INFO, 0) == _sim.DEEPSLEEP else 0


def soft_reset():
    raise SystemExit


def idle():
    utime.sleep_ms(1)


def disable_irq():
    state = not _sim.masked
    _sim.masked = True
    return state


def enable_irq(state=True):
    _sim.masked = not state


def lightsleep(ms=None):
    utime.sleep_ms(0x7FFFFFFF if ms is None else ms)


def deepsleep(ms=-1):
    _sim.reset(_sim.DEEPSLEEP, ms)


def bootloader(ms=0):
    raise NotImplementedError("no bootloader in the simulator")
