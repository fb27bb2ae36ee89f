"""Readings as bytes, in RTC memory and on flash: frames that each prove themselves by a CRC.

A frame is kind, length and CRC-32 of its body. Of a reading: boot (number and random half), seq,
ms, shape, Unix time (0: not known by then), single-precision values. A shape is the checksum of
the quantities' names, which a NAMES frame before it spells out: it never means two things.
"""

from binascii import crc32
from struct import pack_into, unpack_from

from micropython import const

MAX = const(1000)  # bytes of a frame: two fit a Batch
HEAD = const(7)
READING, NAMES, RUN = range(0xA5, 0xA8)
_BODY = "<IHIIHII"
_VALUES = const(31)  # HEAD and the body's fixed part


def seal(buf, at, kind, size):
    """Write the head of the frame whose body of `size` bytes is in place; offset behind it."""
    end = at + HEAD + size
    pack_into("<BHI", buf, at, kind, size, _crc(buf, at, kind, size))
    return end


def _crc(buf, at, kind, size):
    return crc32(memoryview(buf)[at + HEAD : at + HEAD + size], kind | size << 8)


def sound(buf, at, end):
    """Bytes of the frame at `at`; 0: there is none, -1: it would end behind `end`."""
    if end - at < HEAD:
        return -1
    kind, size, crc = unpack_from("<BHI", buf, at)
    if not READING <= kind <= RUN or size > MAX - HEAD:
        return 0
    if end - at < HEAD + size:
        return -1
    return HEAD + size if crc == _crc(buf, at, kind, size) else 0


def length(buf, at):
    """Bytes of the frame at `at`, which is known to be sound."""
    return HEAD + unpack_from("<H", buf, at + 1)[0]


def shape_of(names):
    return crc32(names) & 0x3FFFFFFF  # a small int on the ESP32


def put_names(buf, at, shape, names):
    pack_into("<I", buf, at + HEAD, shape)
    buf[at + HEAD + 4 : at + HEAD + 4 + len(names)] = names
    return seal(buf, at, NAMES, 4 + len(names))


def names(buf, at):
    """(shape, names) of a NAMES frame."""
    body = bytes(memoryview(buf)[at + HEAD + 4 : at + length(buf, at)])
    return unpack_from("<I", buf, at + HEAD)[0], body.decode().split(",")


def size(values):
    return _VALUES + 4 * len(values)


def put(buf, at, boot, seq, ms, shape, epoch, values):
    """Write a READING frame; offset behind it. `boot` is (number, random half)."""
    low, high = ms & 0xFFFFFFFF, ms >> 32
    pack_into(_BODY, buf, at + HEAD, boot[0], boot[1], seq, low, high, shape, epoch)
    to = at + _VALUES
    for value in values:
        pack_into("<f", buf, to, value)
        to += 4
    return seal(buf, at, READING, to - at - HEAD)


def head(buf, at):
    """(boot, seq, ms, shape, epoch) of a READING frame."""
    n, random, seq, low, high, shape, epoch = unpack_from(_BODY, buf, at + HEAD)
    return (n, random), seq, low | high << 32, shape, epoch


def values(buf, at, names):
    """{name: value} of a READING frame, as far as there are names and values."""
    found = {}
    to = at + _VALUES
    end = at + length(buf, at)
    for name in names:
        if to < end:
            found[name] = unpack_from("<f", buf, to)[0]
            to += 4
    return found
