"""`onewire`: whole bytes at a time; the bits are the supervisor's."""

import _sim
from micropython import const

_OW = const(23)
_RESET = const(0)
_WRITE = const(1)
_READ = const(2)
_SCAN = const(3)


class OneWireError(Exception):
    pass


class OneWire(_sim.Lean):
    MATCH_ROM = 0x55

    def __init__(self, pin):
        self.pin = pin
        pin.init(pin.OPEN_DRAIN, pin.PULL_UP)

    def reset(self, required=False):
        present = bool(_sim.call(_OW, self.pin._n, _RESET))
        if required and not present:
            raise OneWireError
        return present

    def writebyte(self, value):
        self.write(bytes((value,)))

    def write(self, buf):
        _sim.call(_OW, self.pin._n, _WRITE, 0, bytes(buf))

    def readinto(self, buf):
        buf[:] = _sim.call(_OW, self.pin._n, _READ, len(buf))

    def select_rom(self, rom):
        self.reset()
        self.write(bytes((self.MATCH_ROM,)) + bytes(rom))

    def scan(self):
        roms = _sim.call(_OW, self.pin._n, _SCAN)
        return [bytearray(roms[i : i + 8]) for i in range(0, len(roms), 8)]

    def crc8(self, data):
        crc = 0
        for byte in data:
            for _ in range(8):
                mix = (crc ^ byte) & 1
                crc >>= 1
                if mix:
                    crc ^= 0x8C
                byte >>= 1
        return crc
