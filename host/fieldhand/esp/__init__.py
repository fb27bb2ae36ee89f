"""What an ESP32's flash holds: partition table, MicroPython's image, NVS, file system.

Bytes in, bytes out: nothing in here knows of a serial port or of a node.
"""

from fieldhand.errors import FieldhandError


class ImageError(FieldhandError):
    """Bytes that are not what flash should hold, or do not fit; says what to do instead."""
