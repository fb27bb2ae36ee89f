"""Buses and devices as the drivers see them, on a clock that only moves when told.

The devices answer with the bytes and the delays of their data sheets, and with the errors of
MicroPython's drivers for them.
"""

from binascii import unhexlify

ENODEV = 19
ETIMEDOUT = 116  # as the ESP32 numbers it
_TICKS = 1 << 30  # as the ESP32 wraps


class Clock:
    def __init__(self, now=_TICKS - 5000):
        # Starts just before the wrap, so that every driver meets it.
        self.now = now

    def ticks_ms(self):
        return self.now

    def ticks_diff(self, a, b):
        half = _TICKS // 2
        return ((a - b + half) % _TICKS) - half

    def pass_ms(self, ms):
        self.now = (self.now + ms) % _TICKS


class Adc:
    """Reads `values` one after the other, the last for ever."""

    def __init__(self, *values):
        self.values = list(values)
        self.reads = 0

    def read(self):
        self.reads += 1
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


class Dht:
    """`frame` is the five bytes on the wire, decoded as the data sheets say."""

    def __init__(self, kind, frame):
        self.kind = kind
        self.frame = frame
        self.error = None
        self.measured = 0

    def measure(self):
        self.measured += 1
        if self.error:
            raise self.error
        if sum(self.frame[:4]) & 0xFF != self.frame[4]:
            raise Exception("checksum error")  # what MicroPython's dht raises

    def humidity(self):
        if self.kind == "dht11":
            return self.frame[0]
        return (self.frame[0] << 8 | self.frame[1]) * 0.1

    def temperature(self):
        if self.kind == "dht11":
            return self.frame[2]
        t = ((self.frame[2] & 0x7F) << 8 | self.frame[3]) * 0.1
        return -t if self.frame[2] & 0x80 else t


class OneWireError(Exception):
    """MicroPython's onewire raises its own, no OSError and without a text."""


class Ds18x20:
    """`scratchpads` maps ROM (hex) to temperature register and configuration byte.

    A conversion takes 750 ms, before which the register holds its old value.
    """

    def __init__(self, clock, scratchpads=()):
        self.clock = clock
        self.registers = dict(scratchpads)
        self.visible = dict.fromkeys(self.registers, (0x0550, 0x7F))
        self.conversions = 0
        self.scans = 0
        self.short = False
        self.noise = False
        self._began = None

    def scan(self):
        self.scans += 1
        return [bytearray(unhexlify(r)) for r in sorted(self.registers)]

    def convert_temp(self):
        if not self.registers and not self.short:
            raise OneWireError
        self.conversions += 1
        self._began = self.clock.ticks_ms()

    def read_scratch(self, rom):
        if self.short:
            return bytearray(9)  # its CRC is 0, which is right
        if not self.registers:
            raise OneWireError
        if self.noise:
            raise Exception("CRC error")
        if self._began is not None:
            if self.clock.ticks_diff(self.clock.ticks_ms(), self._began) >= 750:
                self.visible = dict(self.registers)
        for key in self.visible:
            if unhexlify(key) == bytes(rom):
                raw, config = self.visible[key]
                return bytearray([raw & 0xFF, raw >> 8, 0x4B, 0x46, config, 0xFF, 0x0C, 0x10, 0])
        raise Exception("CRC error")  # nobody drives the line: nine 0xFF


class Counter:
    def __init__(self, start=0):
        self.pulses = start

    def count(self):
        return self.pulses % _TICKS

    def pulse(self, n):
        self.pulses += n


class Wlan:
    def __init__(self, rssi, connected=True):
        self.rssi = rssi
        self.connected = connected

    def isconnected(self):
        return self.connected

    def status(self, what):
        assert what == "rssi"
        return self.rssi


class I2C:
    """A bus of devices by address; an address without one is ENODEV."""

    def __init__(self):
        self.devices = {}

    def attach(self, address, device):
        self.devices[address] = device

    def _at(self, address):
        if address not in self.devices:
            raise OSError(ENODEV)
        return self.devices[address]

    def scan(self):
        return sorted(self.devices)

    def writeto(self, address, data):
        self._at(address).write(bytes(data, "ascii") if isinstance(data, str) else bytes(data))

    def readfrom_into(self, address, buf):
        self._at(address).read_into(buf)

    def readfrom_mem(self, address, register, size):
        buf = bytearray(size)
        self.readfrom_mem_into(address, register, buf)
        return bytes(buf)

    def readfrom_mem_into(self, address, register, buf):
        registers = self._at(address).registers()
        buf[:] = registers[register : register + len(buf)]

    def writeto_mem(self, address, register, data):
        self._at(address).write_register(register, data)


class Ezo:
    """An EZO circuit: takes a command, is busy, answers with code, ASCII and null."""

    DELAY_MS = {"R": 900, "Cal": 900, "T": 300}

    def __init__(self, clock, reading, read_ms=900):
        self.clock = clock
        self.reading = reading
        self.read_ms = read_ms
        self.commands = []
        self.raw = None  # answer with exactly these bytes
        self._due = None
        self._answer = b""

    def write(self, data):
        text = data.decode()
        assert self._left() <= 0, "command while busy: " + text
        self.commands.append(text)
        name = text.split(",")[0]
        known = name in self.DELAY_MS
        self._answer = b"\x01" + (self.reading if name == "R" else b"") if known else b"\x02"
        delay = self.read_ms if name == "R" else self.DELAY_MS.get(name, 300)
        self._due = self.clock.ticks_ms(), delay

    def _left(self):
        if self._due is None:
            return 0
        return self._due[1] - self.clock.ticks_diff(self.clock.ticks_ms(), self._due[0])

    def read_into(self, buf):
        if self.raw is not None:
            answer = self.raw
        elif self._due is None:
            answer = b"\xff"
        elif self._left() > 0:
            answer = b"\xfe"
        else:
            answer = self._answer
        for i in range(len(buf)):
            buf[i] = answer[i] if i < len(answer) else 0


class Bme280:
    """Registers of a BME280; measures only when told to, in forced mode."""

    def __init__(self, clock, calib_tp, calib_h, data, chip=0x60):
        self.clock = clock
        self.measurement = data
        self._memory = bytearray(256)
        self._memory[0x88 : 0x88 + 26] = calib_tp
        self._memory[0xE1 : 0xE1 + 7] = calib_h
        self._memory[0xD0] = chip
        self._began = None
        self.reset()

    def reset(self):
        # Values after power-up, table 18.
        self._memory[0xF2] = self._memory[0xF4] = 0
        self._memory[0xF7:0xFF] = b"\x80\x00\x00\x80\x00\x00\x80\x00"
        self._began = None

    def write_register(self, register, data):
        self._memory[register] = data[0]
        if register == 0xF4 and data[0] & 3 in (1, 2):
            self._began = self.clock.ticks_ms()

    def registers(self):
        memory = self._memory
        busy = False
        if self._began is not None:
            busy = self.clock.ticks_diff(self.clock.ticks_ms(), self._began) < 9
            if not busy:
                self._began = None
                memory[0xF4] &= 0xFC
                if memory[0xF4] >> 2 & 7:
                    memory[0xF7:0xFA] = self.measurement[0:3]
                if memory[0xF4] >> 5:
                    memory[0xFA:0xFD] = self.measurement[3:6]
                if memory[0xF2] & 7:
                    memory[0xFD:0xFF] = self.measurement[6:8]
        memory[0xF3] = 0x08 if busy else 0
        return memory


class Hal:
    """Hands out what the test put into it: `Hal(adc={34: Adc(...)}, i2c=I2C())`."""

    def __init__(self, **parts):
        self.parts = parts
        self.asked = []

    def _part(self, name, pin):
        self.asked.append((name, pin))
        found = self.parts[name]
        if isinstance(found, dict):
            if pin not in found:
                raise ValueError("invalid pin")  # as machine.Pin
            return found[pin]
        return found

    def adc(self, pin):
        return self._part("adc", pin)

    def dht(self, pin, kind):
        return self._part(kind, pin)

    def ds18x20(self, pin):
        return self._part("ds18x20", pin)

    def counter(self, pin):
        return self._part("counter", pin)

    def i2c(self, scl, sda):
        return self._part("i2c", (scl, sda))

    def wlan(self):
        return self._part("wlan", None)
