"""`machine` of the ESP32 port, as of MicroPython 1.24 and later, backed by the supervisor.

Constants of classes that our firmware does not name are in `_sim_constants`. What is raised and
returned follows ports/esp32; where 1.24 and later versions differ, the one
that forgives less.
"""

import _sim
import utime
from micropython import const

PWRON_RESET = const(1)
HARD_RESET = const(2)
WDT_RESET = const(3)
DEEPSLEEP_RESET = const(4)
SOFT_RESET = const(5)

_PIN_INIT = const(1)
_PIN_SET = const(2)
_PIN_GET = const(3)
_PIN_IRQ = const(4)
_ADC = const(5)
_TIMER = const(6)
_WDT_START = const(7)
_WDT_FEED = const(8)
_INFO = const(27)

# By the place of the chip in board.CHIPS. GPIO numbers as ports/esp32/machine_pin.h has them for
# ESP32_GENERIC, _S3 and _C3, those with an ADC as machine_adc.c, the first that is input only,
# hardware timers.
_PINS, _ADCS, _INPUTS, _TIMERS = (
    (0xFF0EFFFFFF, 0xFF0E00F015, 34, 4),
    (0x1FFFE0027FFFF, 0x1FFFFE, 99, 4),
    (0x303FFF, 0x3F, 99, 2),
)[_sim.call(_INFO, 3)]


def _number(pin):
    if isinstance(pin, Pin):
        return pin._n
    if isinstance(pin, int) and 0 <= pin < 49 and _PINS >> pin & 1:
        return pin
    raise ValueError("invalid pin")


_pins = {}


class Pin(_sim.Lean):
    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_UP = 2
    IRQ_RISING = 1

    def __new__(cls, pin, *args, **kwargs):
        # One object per pin, as in the chip: Pin(2) is Pin(2).
        n = _number(pin)
        self = _pins.get(n)
        if self is None:
            self = object.__new__(cls)
            self._n = n
            _pins[n] = self
        return self

    def __init__(self, pin, *args, **kwargs):
        if args or kwargs:
            self.init(*args, **kwargs)

    def init(self, mode=None, pull=-1, *, value=None, drive=None, hold=None):
        if mode is not None and self._n >= _INPUTS and mode & 2:
            raise ValueError("pin can only be input")
        level = 0 if value is None else 2 if value else 1
        pull = 0 if pull is None else pull & 0xFF
        _sim.call(_PIN_INIT, self._n, -1 if mode is None else mode, level << 8 | pull)

    def value(self, x=None):
        if x is None:
            return _sim.call(_PIN_GET, self._n)
        _sim.call(_PIN_SET, self._n, 1 if x else 0)

    __call__ = value

    def on(self):
        _sim.call(_PIN_SET, self._n, 1)

    def off(self):
        _sim.call(_PIN_SET, self._n, 0)

    def irq(self, handler=None, trigger=3, *, wake=None):
        _sim.arguments[self._n] = self
        _sim.handlers[self._n] = handler
        _sim.call(_PIN_IRQ, self._n, trigger if handler else 0)


class ADC(_sim.Lean):
    ATTN_11DB = 3

    def __init__(self, pin, *, atten=0):
        self._n = _number(pin)
        if not _ADCS >> self._n & 1:
            raise ValueError("invalid pin")
        self._bits = 12
        self.atten(atten)

    def atten(self, atten):
        if not 0 <= atten <= 3:
            raise ValueError("invalid atten")
        self._atten = atten

    def read(self):
        return _sim.call(_ADC, self._n, self._atten) >> (12 - self._bits)


_timers = [None] * _TIMERS


class Timer(_sim.Lean):
    PERIODIC = 1

    def __new__(cls, id, **kwargs):
        if id >= _TIMERS:
            raise ValueError(
                "Timer(%d) doesn't exist, there are only %d hardware timers" % (id, _TIMERS)
            )
        # 1.24 has no virtual timers: it takes -1 for the last hardware timer.
        id &= _TIMERS - 1
        self = _timers[id]
        if self is None:
            self = _timers[id] = object.__new__(cls)
            self._id = id
            self._start = 0
        return self

    def __init__(self, id, **kwargs):
        if kwargs:
            self.init(**kwargs)

    def init(
        self, *, mode=1, callback=None, period=0xFFFFFFFF, tick_hz=1000, freq=None, hard=False
    ):
        if hard:
            raise ValueError("hard Timers are not implemented")
        self.deinit()
        ms = int(1000 / freq) if freq is not None else period * 1000 // tick_hz
        if (freq or period) <= 0:
            raise ValueError("Timer period is too short for this timer")
        self._start = utime.ticks_ms()
        n = _sim.TIMER0 + self._id
        _sim.arguments[n] = self
        _sim.handlers[n] = callback
        generation = _sim.generations[self._id]
        _sim.call(_TIMER, self._id, min(max(ms, 1), 0x7FFFFFFF), generation << 1 | bool(mode))

    def deinit(self):
        _sim.generations[self._id] = (_sim.generations[self._id] + 1) & 31
        _sim.call(_TIMER, self._id, 0)


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        # The supervisor hears of a feed at most 16 times a timeout and adds that much grace.
        self._quiet = timeout >> 4
        self._fed = utime.ticks_ms()
        _sim.call(_WDT_START, timeout)

    def feed(self):
        now = utime.ticks_ms()
        if utime.ticks_diff(now, self._fed) >= self._quiet:
            self._fed = now
            _sim.call(_WDT_FEED)


def reset():
    _sim.reset(_sim.HARD)


def reset_cause():
    return _sim.call(_INFO, 0)


def unique_id():
    return _sim.call(_INFO, 1)


def __getattr__(name):
    # Loaded when used: the board has all this in ROM, we pay for it in the node's heap.
    if name in ("I2C", "SoftI2C"):
        import _sim_i2c as module
    elif name == "PWM":
        import _sim_pwm as module
    else:
        import _sim_machine as module
    return getattr(module, name)
