"""The hardware of one simulated board, as the stand-ins in the node's process ask for it.

Runs in the simulator's event loop. What outlives a reset, and what only a power cut ends, is
decided in `reset`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .devices import ENODEV, ETIMEDOUT, I2cDevice
from .protocol import TIMER_BASE, ChipError, ChipValueError, Op, Reset
from .radio import Station
from .wiring import PulseInput, Wiring
from .world import World

UNIX_TO_2000 = 946684800
NVS_MAX_NAME = 15
# The 24 KiB partition of the stock image: 6 pages of 126 entries, one page kept free.
NVS_MAX_ENTRIES = 5 * 126
RTC_MEMORY_MAX = 2048

_ESP_ERR_NVS = {
    0x1102: "ESP_ERR_NVS_NOT_FOUND",
    0x1103: "ESP_ERR_NVS_TYPE_MISMATCH",
    0x1105: "ESP_ERR_NVS_NOT_ENOUGH_SPACE",
    0x1109: "ESP_ERR_NVS_KEY_TOO_LONG",
    0x110C: "ESP_ERR_NVS_INVALID_LENGTH",
}
# Least voltage that reads 4095, by attenuation, in units of the 11 dB range.
_ATTENUATION = (1100 / 3300, 1500 / 3300, 2200 / 3300, 1.0)
_OUTPUT = 2
_OPEN_DRAIN = 4
# Chip: how many GPIO numbers it has, those of ADC2, the first that is input only (no pull-up).
# The stand-in of `machine` knows the rest, and finds its chip by the place in this list.
CHIPS = {
    "esp32": (40, frozenset((0, 2, 4, 12, 13, 14, 15, 25, 26, 27)), 34),
    "esp32s3": (49, frozenset(range(11, 21)), 49),
    "esp32c3": (22, frozenset((5,)), 22),
}


@dataclass
class PinState:
    mode: int = 0  # 0: never set up
    latch: int = 0
    pull: int = 0  # 1 down, 2 up
    outside: int | None = None  # driven from outside the chip
    weak: int = 0  # what the module on it pulls to
    trigger: int = 0  # 1 rising, 2 falling, 4 low, 5 high
    pwm: tuple[int, int] | None = None  # Hz, duty of 65536
    dac: int | None = None  # of 255

    def level(self) -> int:
        if self.pwm is not None:
            return 1 if self.pwm[1] else 0
        if self.dac is not None:
            return int(self.dac > 127)
        if self.mode & _OUTPUT and not (self.mode & _OPEN_DRAIN and self.latch):
            return self.latch
        if self.outside is not None:
            return self.outside
        if self.pull & 3:
            return 1 if self.pull & 2 else 0
        return self.weak

    def voltage(self) -> float:
        """Of 3.3 V, behind a low-pass filter."""
        if self.pwm is not None:
            return self.pwm[1] / 65536
        return self.level() if self.dac is None else self.dac / 255


class Store(dict[str, dict[str, "int | bytes"]]):
    """NVS as committed: namespace to key to int or bytes. A new namespace is made when asked."""

    def __missing__(self, name: str) -> dict[str, int | bytes]:
        self[name] = {}
        return self[name]


@dataclass
class Hooks:
    """What the board needs of its node."""

    interrupt: Callable[[int], None]
    reset: Callable[[Reset, float | None], None]
    # 1: at the REPL; a virtual board says 2 before it runs its programs.
    stage: Callable[[int], None]
    ntp: Callable[[], float | None]
    committed: Callable[[], None] = lambda: None  # NVS has changed


@dataclass
class _Timer:
    generation: int
    period: float
    due: float
    periodic: bool
    handle: asyncio.TimerHandle | None = field(default=None, repr=False)


class Board:
    """Pins, timers, watchdog, NVS, RTC and what is wired to them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        mac: bytes,
        wiring: Wiring,
        world: World,
        station: Station,
        hooks: Hooks,
        chip: str = "esp32",
    ) -> None:
        self.chip = chip
        self.mac = mac
        self.wiring = wiring
        self.world = world
        self.station = station
        self.hooks = hooks
        self.nvs = Store()
        count, self._adc2, self._input_only = CHIPS[chip]
        self.pins = [PinState() for _ in range(count)]
        self.cause = Reset.POWER_ON
        self.requests = 0
        self._loop = loop
        self._staged: dict[str, dict[str, int | bytes | None]] = {}
        self._timers: dict[int, _Timer] = {}
        self._watchdog: asyncio.TimerHandle | None = None
        self._watchdog_s = 0.0
        self._rtc_memory = b""
        self._rtc_offset = 0
        self._jumpers: dict[int, int] = {}  # from an input to the pin that drives it
        self._attach()
        self._ask: dict[int, Callable[[int, int, int, bytes], int | bytes | None]] = {
            Op.PIN_INIT: self._pin_init,
            Op.PIN_SET: self._pin_set,
            Op.PIN_GET: lambda a, b, c, d: self.pins[a].level(),
            Op.PIN_IRQ: self._pin_irq,
            Op.ADC: self._adc,
            Op.TIMER: self._timer,
            Op.WDT_START: self._wdt_start,
            Op.WDT_FEED: self._wdt_feed,
            Op.RESET: self._reset,
            Op.I2C_READ: lambda a, b, c, d: self._chip(a).read(b),
            Op.I2C_WRITE: self._i2c_write,
            Op.I2C_MEM: self._i2c_mem,
            Op.I2C_SCAN: self._i2c_scan,
            Op.NVS_OPEN: self._nvs_open,
            Op.NVS_GET: self._nvs_get,
            Op.NVS_SET: self._nvs_set,
            Op.NVS_COMMIT: self._nvs_commit,
            Op.RTC_GET: lambda a, b, c, d: str(self._rtc_offset).encode(),
            Op.RTC_SET: self._rtc_set,
            Op.RTC_MEMORY: self._rtc_mem,
            Op.WLAN: self._wlan,
            Op.DHT: self._dht,
            Op.ONEWIRE: self._onewire,
            Op.NTP: self._ntp,
            Op.STATE: lambda a, b, c, d: self.hooks.stage(a),
            Op.PWM: self._pwm,
            Op.DAC: self._dac,
            Op.INFO: self._info,
        }
        self.reset(Reset.POWER_ON)

    def rewire(self, wiring: Wiring) -> None:
        """Hang other things on the pins."""
        for pin in self.wiring.outputs:
            self.world.detach((id(self), pin))
        self.wiring = wiring
        self._attach()

    def _attach(self) -> None:
        for pin in self.pins:
            pin.weak = 0
        for number, output in self.wiring.outputs.items():
            self.pins[number].weak = int(output.active_low)
            self.world.attach((id(self), number), output.effect, output.rate)
            self._drive(number)

    def close(self) -> None:
        self._quiet()
        self._stop_watchdog()
        for pin in self.wiring.outputs:
            self.world.detach((id(self), pin))

    def answer(self, op: int, a: int, b: int, c: int, payload: bytes) -> int | bytes | None:
        """One request; raises ChipError for what the chip refuses."""
        self.requests += 1
        return self._ask[op](a, b, c, payload)

    def reset(self, cause: Reset) -> None:
        """What the chip forgets before it boots because of `cause`."""
        self.cause = cause
        self._quiet()
        if cause is not Reset.SOFT:  # the chip's watchdog knows nothing of a soft reset
            self._stop_watchdog()
        self._staged.clear()
        for pin in self.pins:
            pin.trigger = 0
            pin.pwm = pin.dac = None
        if cause is Reset.SOFT:
            return  # levels, Wi-Fi, RTC and NVS handles stay
        for number, pin in enumerate(self.pins):
            pin.mode = pin.latch = pin.pull = 0
            self._drive(number)
        self.station.power_off()
        if cause is Reset.POWER_ON:
            self._rtc_memory = b""
            self._rtc_offset = -time.monotonic_ns() // 1000  # 2000-01-01 00:00 now
            self.wiring.power_on()

    def _quiet(self) -> None:
        for timer in self._timers.values():
            if timer.handle:
                timer.handle.cancel()
        self._timers.clear()

    def _stop_watchdog(self) -> None:
        if self._watchdog:
            self._watchdog.cancel()
            self._watchdog = None

    # -- pins ----------------------------------------------------------------------------------

    def set_pin(self, number: int, level: int | None) -> None:
        """Drive a pin from outside, None: let go; edges reach the node's handlers."""
        pin = self.pins[number]
        before = pin.level()
        pin.outside = level
        self._edge(number, before)

    def jumper(self, output: int, input: int | None) -> None:
        """A wire from `output` to `input`, levels and, at an ADC, voltages; None: taken off."""
        for number, source in list(self._jumpers.items()):
            if source == output:
                del self._jumpers[number]
                self.set_pin(number, None)
        if input is not None:
            self._jumpers[input] = output
            self._drive(output)

    def edge(self, number: int) -> None:
        """One short pulse from outside: both edges."""
        pin = self.pins[number]
        if pin.trigger & 1 and pin.trigger < 4:
            self.hooks.interrupt(number)
        if pin.trigger & 2 and pin.trigger < 4:
            self.hooks.interrupt(number)

    def _edge(self, number: int, before: int) -> None:
        pin = self.pins[number]
        now = pin.level()
        if now == before:
            return
        if pin.trigger in (1, 3) and now or pin.trigger in (2, 3) and not now:
            self.hooks.interrupt(number)

    def fail_output(self, number: int, fault: str | None) -> None:
        """Let the relay on a pin stick ("stuck", "dead") or work again (None)."""
        self.wiring.outputs[number].failed = fault
        self._drive(number)

    def pulse_rate(self, source: PulseInput) -> float:
        """Pulses a second."""
        if source.line:
            flow = self.world.flow_ml_per_s(*((id(self), pin) for pin in source.line))
            return flow * 60 / 1000 * source.per_unit
        return self.measure(source.quantity) * source.per_unit

    def _drive(self, number: int) -> None:
        for other, source in self._jumpers.items():
            if source == number:
                self.set_pin(other, self.pins[number].level())
        output = self.wiring.outputs.get(number)
        if output is not None:
            on = self.pins[number].level() != int(output.active_low)
            if output.failed:
                on = output.failed == "stuck"
            self.world.switch((id(self), number), on)

    def _pin_init(self, number: int, mode: int, settings: int, _: bytes) -> None:
        pin = self.pins[number]
        before = pin.level()
        value, pull = settings >> 8, settings & 0xFF
        if value:
            pin.latch = value - 1
        if mode >= 0:
            pin.mode = mode
            pin.pwm = None
        if pull != 0xFF and number < self._input_only:
            pin.pull = pull
        self._drive(number)
        self._edge(number, before)

    def _pin_set(self, number: int, level: int, _c: int, _d: bytes) -> None:
        pin = self.pins[number]
        before = pin.level()
        pin.latch = 1 - pin.latch if level == 2 else level
        self._drive(number)
        self._edge(number, before)

    def _pin_irq(self, number: int, trigger: int, _c: int, _d: bytes) -> None:
        self.pins[number].trigger = trigger

    def _dac(self, number: int, value: int, _c: int, _d: bytes) -> None:
        self.pins[number].dac = value if value >= 0 else None
        self._drive(number)

    def _pwm(self, number: int, hz: int, duty: int, _: bytes) -> None:
        self.pins[number].pwm = (hz, duty) if hz else None
        self._drive(number)

    def _adc(self, number: int, atten: int, _c: int, _d: bytes) -> int:
        if number in self._adc2 and self.station._active:
            raise ChipError(ETIMEDOUT, "ESP_ERR_TIMEOUT")  # the radio has ADC2
        analog = self.wiring.analog.get(number)
        if analog is not None:
            counts: float = analog.counts(self.measure(analog.quantity))
        elif number in self._jumpers:
            counts = 4095 * self.pins[self._jumpers[number]].voltage()
        else:
            counts = 4095 * self.pins[number].level()
        return min(round(counts / _ATTENUATION[atten]), 4095)

    def measure(self, quantity: str) -> float:
        """What the world is; 0 for what it does not have."""
        return self.world.read(quantity) or 0.0

    # -- timers --------------------------------------------------------------------------------

    def _timer(self, number: int, period_ms: int, how: int, _: bytes) -> None:
        old = self._timers.pop(number, None)
        if old and old.handle:
            old.handle.cancel()
        if period_ms:
            seconds = period_ms / 1000
            timer = _Timer(how >> 1, seconds, self._loop.time() + seconds, bool(how & 1))
            self._timers[number] = timer
            timer.handle = self._loop.call_at(timer.due, self._alarm, number, timer)

    def _alarm(self, number: int, timer: _Timer) -> None:
        self.hooks.interrupt(TIMER_BASE + (timer.generation << 2 | number))
        if timer.periodic:
            # An alarm that is late is not made up for.
            timer.due = max(timer.due + timer.period, self._loop.time())
            timer.handle = self._loop.call_at(timer.due, self._alarm, number, timer)

    def _wdt_start(self, timeout_ms: int, _b: int, _c: int, _d: bytes) -> None:
        # The stand-in keeps feeds to itself for a sixteenth of the timeout.
        self._watchdog_s = timeout_ms / 1000 * 17 / 16
        self._wdt_feed(0, 0, 0, b"")

    def _wdt_feed(self, _a: int, _b: int, _c: int, _d: bytes) -> None:
        if self._watchdog:
            self._watchdog.cancel()
        self._watchdog = self._loop.call_later(
            self._watchdog_s, self.hooks.reset, Reset.WATCHDOG, None
        )

    def _reset(self, cause: int, ms: int, _c: int, _d: bytes) -> None:
        self.hooks.reset(Reset(cause), None if ms < 0 else ms / 1000)

    # -- buses ---------------------------------------------------------------------------------

    def _chip(self, address: int) -> I2cDevice:
        chip = self.wiring.i2c.get(address)
        if chip is None or chip.failed == "dead":
            raise ChipError(ENODEV)
        return chip

    def _i2c_write(self, address: int, _b: int, _c: int, data: bytes) -> int:
        self._chip(address).write(data)
        return len(data)

    def _i2c_mem(self, address: int, size: int, _c: int, register: bytes) -> bytes:
        chip = self._chip(address)
        chip.write(register)
        return chip.read(size)

    def _i2c_scan(self, scl: int, sda: int, _c: int, _d: bytes) -> bytes:
        if self.wiring.i2c_pins not in (None, (scl, sda)):
            return b""
        return bytes(sorted(a for a, chip in self.wiring.i2c.items() if chip.failed != "dead"))

    def _dht(self, number: int, kind: int, _c: int, _d: bytes) -> bytes:
        sensor = self.wiring.dht.get(number)
        if sensor is None:
            raise ChipError(ETIMEDOUT)
        return sensor.measure(kind)

    def _onewire(self, number: int, what: int, size: int, data: bytes) -> int | bytes | None:
        bus = self.wiring.onewire.get(number)
        if bus is None:
            return (0, None, b"\xff" * size, b"")[what]
        if what == 0:
            return int(bus.reset())
        if what == 1:
            bus.write(data)
            return None
        return bus.read(size) if what == 2 else bus.scan()

    # -- memory --------------------------------------------------------------------------------

    def _nvs_open(self, _a: int, _b: int, _c: int, name: bytes) -> None:
        _nvs_name(name)

    def _nvs_find(self, namespace: str, key: str) -> int | bytes | None:
        staged = self._staged.get(namespace, {})
        value = staged[key] if key in staged else self.nvs.get(namespace, {}).get(key)
        return value.encode() if isinstance(value, str) else value

    def _nvs_get(self, blob: int, size: int, _c: int, names: bytes) -> int | bytes:
        namespace, key = (_nvs_name(name) for name in names.split(b"\0"))
        value = self._nvs_find(namespace, key)
        if value is None:
            raise _nvs_error(0x1102)
        if isinstance(value, int) == bool(blob):
            raise _nvs_error(0x1103)
        if isinstance(value, bytes) and len(value) > size:
            raise _nvs_error(0x110C)
        return value

    def _nvs_set(self, what: int, number: int, _c: int, data: bytes) -> None:
        namespace, key, *rest = data.split(b"\0", 2)
        space, name = _nvs_name(namespace), _nvs_name(key)
        if what == 2:
            if self._nvs_find(space, name) is None:
                raise _nvs_error(0x1102)
            self._staged.setdefault(space, {})[name] = None
            return
        value = rest[0] if what else number
        if self._nvs_entries() + _entries(value) > NVS_MAX_ENTRIES:
            raise _nvs_error(0x1105)
        self._staged.setdefault(space, {})[name] = value

    def _nvs_entries(self) -> int:
        return sum(
            _entries(value)
            for part in (self.nvs, self._staged)
            for space in part.values()
            for value in space.values()
        )

    def _nvs_commit(self, _a: int, _b: int, _c: int, name: bytes) -> None:
        namespace = name.decode()
        for key, value in self._staged.pop(namespace, {}).items():
            if value is None:
                self.nvs[namespace].pop(key, None)
            else:
                self.nvs[namespace][key] = value
        self.hooks.committed()

    def _rtc_set(self, _a: int, _b: int, _c: int, offset: bytes) -> None:
        self._rtc_offset = int(offset)

    def _rtc_mem(self, write: int, _b: int, _c: int, data: bytes) -> bytes | None:
        if not write:
            return self._rtc_memory
        if len(data) > RTC_MEMORY_MAX:
            raise ChipValueError("buffer too long")
        self._rtc_memory = data
        return None

    # -- the rest ------------------------------------------------------------------------------

    def _wlan(self, what: int, arg: int, _c: int, data: bytes) -> int | bytes | None:
        station = self.station
        if what == 0:
            return station.active(arg)
        if what == 1:
            station.connect(data)
        elif what == 2:
            station.disconnect()
        elif what == 3:
            return station.target_ssid() if arg else station.status()
        elif what == 4:
            return int(station.connected)
        elif what == 5:
            return station.rssi(self.measure("signal_strength"))
        elif what == 6:
            return station.scan(self.measure("signal_strength"))
        elif what == 7:
            return station.ifconfig()
        else:
            return self.mac
        return None

    def _ntp(self, _a: int, _b: int, _c: int, _host: bytes) -> bytes:
        if not self.station.connected:
            raise ChipError(-202)  # the name is not resolved
        now = self.hooks.ntp()
        if now is None:
            raise ChipError(ETIMEDOUT)
        return str(int(now) - UNIX_TO_2000).encode()

    def _info(self, what: int, _b: int, _c: int, _d: bytes) -> int | bytes:
        if what == 0:
            return int(self.cause)
        if what == 1:
            return self.mac
        if what == 3:
            return list(CHIPS).index(self.chip)
        return round((self.measure("air_temperature") + 12) * 9 / 5 + 32)  # the die is warmer


def _nvs_error(code: int) -> ChipError:
    return ChipError(-code, _ESP_ERR_NVS[code])


def _nvs_name(name: bytes) -> str:
    if not 0 < len(name) <= NVS_MAX_NAME:
        raise _nvs_error(0x1109)
    return name.decode("utf-8", "replace")


def _entries(value: int | bytes | None) -> int:
    """32-byte entries a value takes; a blob has an index and a header besides its data."""
    if value is None:
        return 0
    return 1 if isinstance(value, int) else 2 + -(-len(value) // 32)
