"""`machine.I2C` and `machine.SoftI2C`."""

import _sim
from micropython import const

_READ = const(10)
_WRITE = const(11)
_MEM = const(12)
_SCAN = const(13)


class SoftI2C:
    def __init__(self, scl, sda, *, freq=400000, timeout=50000):
        self._wire(scl, sda)

    def _wire(self, scl, sda):
        from machine import _number

        self._scl, self._sda = _number(scl), _number(sda)
        if self._scl >= 34 or self._sda >= 34:
            raise ValueError("invalid pin")

    def scan(self):
        return list(_sim.call(_SCAN, self._scl, self._sda))

    def readfrom(self, addr, nbytes, stop=True):
        return _sim.call(_READ, addr, nbytes)

    def readfrom_into(self, addr, buf, stop=True):
        buf[:] = _sim.call(_READ, addr, len(buf))

    def writeto(self, addr, buf, stop=True):
        return _sim.call(_WRITE, addr, 0, 0, _sim.data(buf))

    def writevto(self, addr, vector, stop=True):
        return self.writeto(addr, b"".join(vector))

    def readfrom_mem(self, addr, memaddr, nbytes, *, addrsize=8):
        return _sim.call(_MEM, addr, nbytes, 0, memaddr.to_bytes(addrsize // 8, "big"))

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        buf[:] = self.readfrom_mem(addr, memaddr, len(buf), addrsize=addrsize)

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        _sim.call(_WRITE, addr, 0, 0, memaddr.to_bytes(addrsize // 8, "big") + _sim.data(buf))


class I2C(SoftI2C):
    def __init__(self, id, *, scl=None, sda=None, freq=400000, timeout=50000):
        if not 0 <= id <= 1:
            raise ValueError("I2C(%d) doesn't exist" % id)
        self._wire((18, 25)[id] if scl is None else scl, (19, 26)[id] if sda is None else sda)
