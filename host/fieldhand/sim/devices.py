"""The sensors on a node's wires, byte for byte: DHT, DS18B20, Atlas EZO, BME280.

Each takes `measure(quantity)` for what its surroundings are and `clock()` in seconds. `failed`
is the fault: None, "dead" (does not answer) or "crc" (answers rubbish).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .protocol import ChipError

Measure = Callable[[str], float]
Clock = Callable[[], float]

# Devices are ready this much before the data sheet's limit: a node counts whole milliseconds.
_EARLY_S = 0.005

ENODEV = 19
ETIMEDOUT = 116


class Dht:
    """DHT11 or DHT22. Asked again within its rest it repeats what it had."""

    def __init__(self, kind: int, measure: Measure, clock: Clock) -> None:
        self.kind = kind
        self.failed: str | None = None
        self._measure = measure
        self._clock = clock
        self._rest_s = 1.0 if kind == 11 else 2.0
        self._last: tuple[float, bytes] | None = None

    def measure(self, kind: int) -> bytes:
        """The five bytes a driver of `kind` reads; raises ChipError as no answer does."""
        if self.failed == "dead":
            raise ChipError(ETIMEDOUT)
        now = self._clock()
        if self._last is None or now - self._last[0] >= self._rest_s - _EARLY_S:
            self._last = (now, self._bytes())
        data = self._last[1]
        if self.failed == "crc":
            data = data[:4] + bytes([data[4] ^ 0x55])
        return data

    def _bytes(self) -> bytes:
        celsius = self._measure("air_temperature")
        humidity = self._measure("relative_humidity")
        if self.kind == 11:
            data = bytes([_clip(round(humidity), 0, 95), 0, _clip(round(celsius), 0, 60), 0])
        else:
            tenths = _clip(round(abs(celsius) * 10), 0, 800)
            if celsius < 0:
                tenths |= 0x8000
            data = struct.pack(">HH", _clip(round(humidity * 10), 0, 1000), tenths)
        return data + bytes([sum(data) & 0xFF])


class Ds18b20:
    """One thermometer on a 1-Wire bus."""

    CONVERT_S = 0.75
    _POWER_ON = bytes([0x50, 0x05, 0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10])

    def __init__(self, serial: int, quantity: str, measure: Measure, clock: Clock) -> None:
        self.rom = crc8_closed(b"\x28" + serial.to_bytes(6, "little"))
        self.failed: str | None = None
        self.quantity = quantity
        self._measure = measure
        self._clock = clock
        self.power_on()

    def power_on(self) -> None:
        self._scratch = bytearray(self._POWER_ON)
        self._ready: float | None = None

    def convert(self) -> None:
        self._ready = self._clock() + self.CONVERT_S - _EARLY_S

    def scratchpad(self) -> bytes:
        if self._ready is not None and self._clock() >= self._ready:
            sixteenths = _clip(round(self._measure(self.quantity) * 16), -55 * 16, 125 * 16)
            self._scratch[0:2] = struct.pack("<h", sixteenths)
            self._ready = None
        data = bytearray(crc8_closed(bytes(self._scratch)))
        if self.failed == "crc":
            data[0] ^= 0x04
        return bytes(data)

    def write_scratchpad(self, data: bytes) -> None:
        self._scratch[2 : 2 + min(len(data), 3)] = data[:3]


class OneWireBus:
    """Reset, ROM command, function command: the bytes after each other decide."""

    def __init__(self) -> None:
        self.devices: list[Ds18b20] = []
        self._selected: list[Ds18b20] = []
        self._written = b""

    def present(self) -> list[Ds18b20]:
        return [d for d in self.devices if d.failed != "dead"]

    def reset(self) -> bool:
        self._written = b""
        self._selected = []
        return bool(self.present())

    def write(self, data: bytes) -> None:
        self._written += data
        rom_command = self._written[:1]
        if rom_command == b"\xcc":
            function = self._written[1:]
            self._selected = self.present()
        elif rom_command == b"\x55" and len(self._written) >= 9:
            function = self._written[9:]
            self._selected = [d for d in self.present() if d.rom == self._written[1:9]]
        else:
            return
        if function == b"\x44":
            for device in self._selected:
                device.convert()
        elif function[:1] == b"\x4e":
            for device in self._selected:
                device.write_scratchpad(function[1:])

    def read(self, size: int) -> bytes:
        if self._written[-1:] != b"\xbe" or not self._selected:
            return b"\xff" * size  # nobody pulls the line down
        pads = [d.scratchpad() for d in self._selected]
        wired_and = bytes(_all(column) for column in zip(*pads, strict=True))
        return (wired_and + b"\xff" * size)[:size]

    def scan(self) -> bytes:
        return b"".join(sorted(d.rom for d in self.present()))


class I2cDevice:
    """Something with an address; raises ChipError(ENODEV) from all when it is dead."""

    failed: str | None = None

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def read(self, size: int) -> bytes:
        raise NotImplementedError


class Ezo(I2cDevice):
    """Atlas Scientific EZO circuit in I2C mode: pH, ORP or EC with its ASCII commands.

    Answers `code, text, zeros`: 1 done, 2 syntax error, 254 still busy, 255 nothing to say.
    `error` is what an uncalibrated probe is off by, in the unit of the answer.
    """

    NAMES = {"ph": "pH", "orp": "ORP", "ec": "EC", "tds": "EC"}
    READ_S = {"ph": 0.9, "orp": 0.9, "ec": 0.6, "tds": 0.6}
    CAL_S = {"ph": 0.9, "orp": 0.9, "ec": 0.6, "tds": 0.6}
    OTHER_S = 0.3

    def __init__(self, quantity: str, measure: Measure, clock: Clock, error: float = 0.0) -> None:
        self.quantity = quantity
        self.error = error
        self.celsius = 25.0
        self.asleep = False
        self.commands: list[str] = []
        self._measure = measure
        self._clock = clock
        self._points: set[str] = set()
        self._correction = 0.0
        self._ready = 0.0
        self._answer: bytes | None = None

    def power_on(self) -> None:
        """Calibration is kept, temperature and answers are not."""
        self.celsius = 25.0
        self.asleep = False
        self._answer = None
        self._ready = 0.0

    def write(self, data: bytes) -> None:
        if self._clock() < self._ready:
            return  # busy: a command in between is not heard
        self.asleep = False
        text = data.decode("ascii", "replace").rstrip("\r\0")
        self.commands = [*self.commands[-99:], text]
        answer, seconds = self._run(text)
        self._answer = answer
        self._ready = self._clock() + seconds - (_EARLY_S if seconds else 0)

    def read(self, size: int) -> bytes:
        if self._answer is None:
            return b"\xff".ljust(size, b"\0")
        if self._clock() < self._ready:
            return b"\xfe".ljust(size, b"\0")
        answer, self._answer = self._answer, None
        return answer[:size].ljust(size, b"\0")

    def value(self) -> float:
        """What a reading would say now."""
        if self.quantity in ("ec", "tds"):
            true = self._measure("ec") * 1000  # dS/m to uS/cm
        else:
            true = self._measure(self.quantity)
        return true + self.error + self._correction

    def _run(self, text: str) -> tuple[bytes | None, float]:
        name, _, argument = text.partition(",")
        name = name.upper()
        kind = self.NAMES[self.quantity]
        if name == "R" and not argument or name == "RT" and _number(argument) is not None:
            if name == "RT":
                self.celsius = float(argument)
            digits = {"pH": 3, "ORP": 1, "EC": 2}[kind]
            return self._done(f"{self.value():.{digits}f}"), self.READ_S[self.quantity]
        if name == "CAL":
            return self._calibrate(argument), self.CAL_S[self.quantity]
        if name == "I" and not argument:
            return self._done(f"?I,{kind},2.13"), self.OTHER_S
        if name == "STATUS" and not argument:
            return self._done("?STATUS,P,3.30"), self.OTHER_S
        if name == "SLP" and not argument:
            self.asleep = True
            return None, 0.0
        if name == "T" and kind != "ORP":
            if argument == "?":
                return self._done(f"?T,{self.celsius:.1f}"), self.OTHER_S
            if _number(argument) is not None:
                self.celsius = float(argument)
                return self._done(""), self.OTHER_S
        if name in ("L", "FIND", "FACTORY", "O", "K", "NAME"):
            return self._done(""), self.OTHER_S
        return b"\x02", self.OTHER_S

    def _calibrate(self, argument: str) -> bytes:
        words = argument.lower().split(",")
        if words == ["?"]:
            return self._done(f"?CAL,{len(self._points)}")
        if words == ["clear"]:
            self._points.clear()
            self._correction = 0.0
            return self._done("")
        if words == ["dry"] and self.NAMES[self.quantity] == "EC":
            self._points.add("dry")
            return self._done("")
        point, number = (words[0], words[1]) if len(words) == 2 else ("mid", words[0])
        points = ("low", "mid", "high") if self.quantity == "ph" else ("low", "mid", "high", "one")
        value = _number(number)
        if len(words) > 2 or value is None or point not in points:
            return b"\x02"
        if self.quantity == "ph":
            if len(words) != 2:
                return b"\x02"
            if point == "mid":
                self._points.clear()
        self._points.add(point)
        self._correction += value - self.value()
        return self._done("")

    @staticmethod
    def _done(text: str) -> bytes:
        return b"\x01" + text.encode()


class Bme280(I2cDevice):
    """Registers of a BME280 whose raw values give the measured ones by the datasheet's formulas."""

    MEASURE_S = 0.0093  # three channels at x1
    # A trimming set like those in real chips; T 1-3, P 1-9, H 1-6.
    T = (28009, 26654, 50)
    P = (36738, -10635, 3024, 6980, -4, -7, 9900, -10230, 4285)
    H = (75, 362, 0, 313, 50, 30)

    def __init__(self, measure: Measure, clock: Clock) -> None:
        self._measure = measure
        self._clock = clock
        self.power_on()

    def power_on(self) -> None:
        regs = bytearray(256)
        struct.pack_into("<Hhh", regs, 0x88, *self.T)
        struct.pack_into("<Hhhhhhhhh", regs, 0x8E, *self.P)
        h1, h2, h3, h4, h5, h6 = self.H
        regs[0xA1] = h1
        struct.pack_into("<hB", regs, 0xE1, h2, h3)
        regs[0xE4] = h4 >> 4 & 0xFF
        regs[0xE5] = (h4 & 0x0F) | (h5 & 0x0F) << 4
        regs[0xE6] = h5 >> 4 & 0xFF
        regs[0xE7] = h6 & 0xFF
        regs[0xD0] = 0x60
        regs[0xF7:0xFF] = bytes([0x80, 0, 0, 0x80, 0, 0, 0x80, 0])
        self._regs = regs
        self._at = 0
        self._hum = 0  # takes effect with the next write to CTRL_MEAS
        self._ready: float | None = None

    def write(self, data: bytes) -> None:
        if not data:
            return
        self._at = data[0]
        for i in range(1, len(data), 2):  # register, value, register, value ...
            register = data[i - 1]
            self._set(register, data[i])

    def read(self, size: int) -> bytes:
        if self._ready is not None and self._clock() >= self._ready:
            self._ready = None
            self._take()
        self._regs[0xF3] = 0x08 if self._ready is not None else 0
        data = bytes(self._regs[(self._at + i) & 0xFF] for i in range(size))
        self._at = (self._at + size) & 0xFF
        return data

    def _set(self, register: int, value: int) -> None:
        if register == 0xE0 and value == 0xB6:
            self.power_on()
        elif register == 0xF2:
            self._regs[0xF2] = value & 7
        elif register == 0xF4:
            self._regs[0xF4] = value
            self._hum = self._regs[0xF2]
            if value & 3:
                self._ready = self._clock() + self.MEASURE_S
        elif register == 0xF5:
            self._regs[0xF5] = value

    def _take(self) -> None:
        meas = self._regs[0xF4]
        raw_t = _invert(self.celsius, self._measure("air_temperature"), 0, 1 << 20)
        raw_p, raw_h = 0x80000, 0x8000
        if meas >> 5 & 7:
            fine = self._fine(raw_t)
            if meas >> 2 & 7:
                goal = self._measure("pressure") * 100
                raw_p = _invert(lambda r: -self.pascal(r, fine), -goal, 0, 1 << 20)
            if self._hum:
                goal = self._measure("relative_humidity")
                raw_h = _invert(lambda r: self.percent(r, fine), goal, 0, 1 << 16)
        else:
            raw_t = 0x80000
        self._regs[0xF7:0xFF] = bytes(
            [
                raw_p >> 12, raw_p >> 4 & 0xFF, raw_p << 4 & 0xF0,
                raw_t >> 12, raw_t >> 4 & 0xFF, raw_t << 4 & 0xF0,
                raw_h >> 8, raw_h & 0xFF,
            ]
        )  # fmt: skip
        if meas & 3 != 3:
            self._regs[0xF4] = meas & ~3  # forced mode: back to sleep

    # Floating-point formulas of BST-BME280-DS002, section 8.1.

    def _fine(self, raw: int) -> float:
        t1, t2, t3 = self.T
        a = (raw / 16384 - t1 / 1024) * t2
        b = (raw / 131072 - t1 / 8192) ** 2 * t3
        return a + b

    def celsius(self, raw: int) -> float:
        return self._fine(raw) / 5120

    def pascal(self, raw: int, fine: float) -> float:
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.P
        a = fine / 2 - 64000
        b = a * a * p6 / 32768 + a * p5 * 2
        b = b / 4 + p4 * 65536
        a = (p3 * a * a / 524288 + p2 * a) / 524288
        a = (1 + a / 32768) * p1
        p = (1048576 - raw - b / 4096) * 6250 / a
        return p + (p9 * p * p / 2147483648 + p * p8 / 32768 + p7) / 16

    def percent(self, raw: int, fine: float) -> float:
        h1, h2, h3, h4, h5, h6 = self.H
        h = fine - 76800
        h = (raw - (h4 * 64 + h5 / 16384 * h)) * (
            h2 / 65536 * (1 + h6 / 67108864 * h * (1 + h3 / 67108864 * h))
        )
        return h * (1 - h1 * h / 524288)


def crc8_closed(data: bytes) -> bytes:
    """`data` and its Dallas CRC-8."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8C if crc & 1 else crc >> 1
    return data + bytes([crc])


def _invert(rising: Callable[[int], float], goal: float, low: int, high: int) -> int:
    """The raw value whose `rising` is nearest below `goal`."""
    while high - low > 1:
        middle = (low + high) // 2
        if rising(middle) <= goal:
            low = middle
        else:
            high = middle
    return low


def _clip(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _all(column: tuple[int, ...]) -> int:
    out = 0xFF
    for byte in column:
        out &= byte
    return out


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
