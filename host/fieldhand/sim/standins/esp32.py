"""`esp32`: NVS with its limits, and what little of the rest a node asks for."""

import _sim
from micropython import const

_NVS_OPEN = const(14)
_NVS_GET = const(15)
_NVS_SET = const(16)
_NVS_COMMIT = const(17)


class NVS(_sim.Lean):
    def __init__(self, namespace):
        self._name = namespace.encode()
        _sim.call(_NVS_OPEN, 0, 0, 0, self._name)

    def _key(self, key):
        return self._name + b"\0" + key.encode()

    def set_blob(self, key, value):
        if isinstance(value, int):
            raise TypeError("object with buffer protocol required")
        _sim.call(_NVS_SET, 1, 0, 0, self._key(key) + b"\0" + _sim.data(value))

    def get_blob(self, key, value):
        data = _sim.call(_NVS_GET, 1, len(value), 0, self._key(key))
        value[: len(data)] = data
        return len(data)

    def set_i32(self, key, value):
        if not -0x80000000 <= value <= 0x7FFFFFFF:
            raise OverflowError("overflow converting long int to machine word")
        _sim.call(_NVS_SET, 0, value, 0, self._key(key))

    def get_i32(self, key):
        return _sim.call(_NVS_GET, 0, 0, 0, self._key(key))

    def commit(self):
        _sim.call(_NVS_COMMIT, 0, 0, 0, self._name)


def __getattr__(name):
    import _sim_esp32

    return getattr(_sim_esp32, name)
