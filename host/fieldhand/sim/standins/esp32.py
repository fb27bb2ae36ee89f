"""`esp32`: NVS with its limits, and what little of the rest a node asks for."""

import _sim
from micropython import const

_NVS_OPEN = const(14)
_NVS_GET = const(15)
_NVS_SET = const(16)
_NVS_COMMIT = const(17)
_INFO = const(27)

HEAP_DATA = const(4)
HEAP_EXEC = const(1)
WAKEUP_ALL_LOW = False
WAKEUP_ANY_HIGH = True


class NVS:
    def __init__(self, namespace):
        self._name = namespace.encode()
        _sim.call(_NVS_OPEN, 0, 0, 0, self._name)

    def _key(self, key):
        return self._name + b"\0" + key.encode()

    def set_i32(self, key, value):
        if not -0x80000000 <= value <= 0x7FFFFFFF:
            raise OverflowError("overflow converting long int to machine word")
        _sim.call(_NVS_SET, 0, value, 0, self._key(key))

    def get_i32(self, key):
        return _sim.call(_NVS_GET, 0, 0, 0, self._key(key))

    def set_blob(self, key, value):
        if isinstance(value, int):
            raise TypeError("object with buffer protocol required")
        _sim.call(_NVS_SET, 1, 0, 0, self._key(key) + b"\0" + _sim.data(value))

    def get_blob(self, key, value):
        data = _sim.call(_NVS_GET, 1, len(value), 0, self._key(key))
        value[: len(data)] = data
        return len(data)

    def erase_key(self, key):
        _sim.call(_NVS_SET, 2, 0, 0, self._key(key))

    def commit(self):
        _sim.call(_NVS_COMMIT, 0, 0, 0, self._name)


def raw_temperature():
    """Fahrenheit, as the ESP32's sensor gives it."""
    return _sim.call(_INFO, 2)


def idf_heap_info(capabilities):
    """(total, free, largest free block, least free seen) of the IDF heap, constant here."""
    return [(229376, 110592, 65536, 98304)]


class Partition:
    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id):
        if id not in (self.BOOT, self.RUNNING, "factory"):
            raise OSError(2)

    def info(self):
        return (0, 0, 0x10000, 0x1F0000, "factory", False)

    @staticmethod
    def find(type=1, subtype=255, label=None, block_size=None):
        return [Partition("factory")] if type == 0 else []

    @staticmethod
    def mark_app_valid_cancel_rollback():
        raise OSError(-261)  # the stock image is built without rollback

    def set_boot(self):
        pass

    def get_next_update(self):
        raise OSError(2)  # one app partition only
