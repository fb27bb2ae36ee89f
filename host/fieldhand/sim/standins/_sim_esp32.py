"""The rarer parts of `esp32`."""

import _sim
from micropython import const

_INFO = const(27)

HEAP_DATA = const(4)
HEAP_EXEC = const(1)
WAKEUP_ALL_LOW = False
WAKEUP_ANY_HIGH = True


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
