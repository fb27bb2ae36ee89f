"""The partition table of an ESP32's flash.

Format: ESP-IDF Programming Guide, "Partition Tables": entries of 32 bytes, then an MD5 of them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fieldhand.esp import ImageError

TABLE_OFFSET = 0x8000
TABLE_SIZE = 0xC00  # of the flash sector the rest is for a signature
SECTOR = 0x1000  # what flash is erased by

_ENTRY = struct.Struct("<HBBII16sI")
_MAGIC = 0x50AA
_MD5_MARK = b"\xeb\xeb" + b"\xff" * 14
_END = b"\xff" * _ENTRY.size

_KINDS = {0: "app", 1: "data"}
_SUBTYPES = {
    "app": {0x00: "factory", 0x20: "test"} | {0x10 + i: f"ota_{i}" for i in range(16)},
    "data": {
        0x00: "ota",
        0x01: "phy",
        0x02: "nvs",
        0x03: "coredump",
        0x04: "nvs_keys",
        0x80: "esphttpd",
        0x81: "fat",
        0x82: "spiffs",
        0x83: "littlefs",
    },
}


@dataclass(frozen=True)
class Partition:
    """`kind` and `subtype` as ESP-IDF's CSV names them ("0x40" where it has no name); bytes."""

    name: str
    kind: str
    subtype: str
    offset: int
    size: int
    flags: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.size


def parse(data: bytes) -> tuple[Partition, ...]:
    """The entries of a table, in its order. `data` begins with it and may go on after its end.

    Raises ImageError where there is none, or where it is damaged.
    """
    found: list[Partition] = []
    for start in range(0, min(len(data), TABLE_SIZE), _ENTRY.size):
        entry = data[start : start + _ENTRY.size]
        if entry.startswith(_MD5_MARK[:2]):
            if entry != _md5(data[:start]):
                raise ImageError("the partition table is damaged: its MD5 does not fit")
            return tuple(found)
        if entry == _END:
            if not found:
                raise ImageError("there is no partition table: only erased flash")
            return tuple(found)  # tables of before 2018, or built without the MD5
        if len(entry) < _ENTRY.size:
            break
        magic, kind, subtype, offset, size, name, flags = _ENTRY.unpack(entry)
        if magic != _MAGIC:
            what = "is damaged" if found else "is not there"
            raise ImageError(f"the partition table {what}: an entry begins with 0x{magic:04x}")
        kind_name = _KINDS.get(kind, hex(kind))
        found.append(
            Partition(
                name.rstrip(b"\0").decode("ascii", "replace"),
                kind_name,
                _SUBTYPES.get(kind_name, {}).get(subtype, hex(subtype)),
                offset,
                size,
                flags,
            )
        )
    raise ImageError("the partition table is cut off")


def pack(partitions: Iterable[Partition]) -> bytes:
    """The table of these partitions as it is in flash, TABLE_SIZE bytes. Raises ImageError."""
    table = b""
    for part in partitions:
        kind = _number(part.kind, _KINDS)
        subtype = _number(part.subtype, _SUBTYPES.get(part.kind, {}))
        name = part.name.encode("ascii")
        if not 0 < len(name) <= 16:
            raise ImageError(f"partition '{part.name}': a name has 1 to 16 characters")
        if part.offset % SECTOR:
            raise ImageError(f"partition '{part.name}': begins in the middle of a sector of 4 kB")
        table += _ENTRY.pack(_MAGIC, kind, subtype, part.offset, part.size, name, part.flags)
    table += _md5(table)
    if len(table) > TABLE_SIZE - _ENTRY.size:
        raise ImageError("the partition table has room for 94 entries")
    return table.ljust(TABLE_SIZE, b"\xff")


def find(partitions: Iterable[Partition], name: str) -> Partition | None:
    """The partition called `name`, if there is one."""
    return next((part for part in partitions if part.name == name), None)


def file_system(partitions: Sequence[Partition], flash_size: int) -> Partition:
    """Where MicroPython has its file system, on a chip with `flash_size` bytes of flash.

    The entry "vfs"; where there is none, MicroPython 1.26 and newer take all that is left after
    the last entry (`boardctrl_startup` in its ports/esp32/main.c). Raises ImageError.
    """
    end = max((part.end for part in partitions), default=0)
    part = find(partitions, "vfs")
    if part is None:
        if find(partitions, "ffat") is not None:
            raise ImageError("the image has a FAT file system (TinyUF2): take the plain .bin image")
        part = Partition("vfs", "data", "fat", end, flash_size - end)
    if part.size < 2 * SECTOR or part.end > flash_size:
        raise ImageError(
            f"the image is for a larger flash: its partitions end at {max(end, part.end) >> 10} "
            f"kB, and the flash has {flash_size >> 10} kB"
        )
    return part


def _md5(entries: bytes) -> bytes:
    return _MD5_MARK + hashlib.md5(entries, usedforsecurity=False).digest()


def _number(name: str, known: dict[int, str]) -> int:
    for number, word in known.items():
        if word == name:
            return number
    try:
        number = int(name, 0)
    except ValueError:
        raise ImageError(f"'{name}' is not a kind of partition") from None
    if not 0 <= number < 256:
        raise ImageError(f"'{name}' is not a kind of partition: it is a byte")
    return number
