"""ESP-IDF's non-volatile storage (NVS): names and values in a partition of their own.

Format: ESP-IDF Programming Guide, "Non-Volatile Storage Library", section "Internals", version 2
(blobs in chunks, with an index).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldhand import paths
from fieldhand.esp import ImageError

PAGE = 4096
NAME_MAX = 15  # characters of a key or a namespace
Value = int | str | bytes

_ENTRY = 32
_ENTRIES = 126
_FIRST = 64  # after the page's header and the table of the entries' states
_WRITTEN = 0b10
_LIVE = {0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8}  # states of a page: active, full, being freed
_INTS = {
    0x01: "<B",
    0x11: "<b",
    0x02: "<H",
    0x12: "<h",
    0x04: "<I",
    0x14: "<i",
    0x08: "<Q",
    0x18: "<q",
}
_STRING, _BLOB_V1, _BLOB_DATA, _BLOB_INDEX = 0x21, 0x41, 0x42, 0x48
_I32 = range(-(2**31), 2**31)


def write(namespaces: Mapping[str, Mapping[str, int | bytes]], size: int) -> bytes:
    """An image of `size` bytes; the same bytes for the same values.

    Whole numbers become i32 and bytes blobs, the types that MicroPython's `esp32.NVS` knows.
    Raises ImageError for what NVS cannot hold, and MissingPart.
    """
    if size % PAGE or size < 3 * PAGE:
        raise ImageError(f"NVS of {size} bytes: it takes whole pages of {PAGE}, from 3")
    try:
        from esp_idf_nvs_partition_gen import nvs_partition_gen as generator
    except ImportError:
        raise paths.MissingPart(
            "no esp-idf-nvs-partition-gen: pip install 'fieldhand[board]'"
        ) from None
    made = io.BytesIO()
    # One page stays empty: NVS needs it to move entries to.
    nvs = generator.nvs_open(made, size - PAGE, version=generator.Page.VERSION2)
    try:
        for space in sorted(namespaces):
            generator.write_entry(nvs, _name(space), "namespace", "", "")
            for key, value in sorted(namespaces[space].items()):
                if isinstance(value, bytes):
                    generator.write_entry(nvs, _name(key), "data", "binary", value)
                elif value in _I32:
                    generator.write_entry(nvs, _name(key), "data", "i32", str(value))
                else:
                    raise ImageError(f"NVS: {key}: {value} does not fit in 32 bits")
        generator.nvs_close(nvs)
    except (generator.InsufficientSizeError, generator.PageFullError):
        raise ImageError(f"the values do not fit in the {size >> 10} kB of NVS") from None
    return made.getvalue()


def read(data: bytes) -> dict[str, dict[str, Value]]:
    """What an NVS partition holds, by namespace and key.

    As the chip does, it passes over pages and entries that are damaged, and takes the newer of
    two values of one key, which a power cut may leave. Encrypted NVS reads as empty.
    """
    spaces: dict[int, str] = {}
    values: dict[tuple[int, str], Value] = {}
    chunks: dict[tuple[int, str, int], bytes] = {}
    indexes: dict[tuple[int, str], list[tuple[int, int, int]]] = {}
    for entry in _entries(data):
        at = (entry.space, entry.key)
        if entry.kind in _INTS:
            number: int = struct.unpack_from(_INTS[entry.kind], entry.data)[0]
            if entry.space == 0:
                spaces[number] = entry.key
            else:
                values[at] = number
                indexes.pop(at, None)
        elif entry.kind == _BLOB_DATA:
            chunks[(*at, entry.chunk)] = entry.payload
        elif entry.kind == _BLOB_INDEX:
            size, count, start = struct.unpack_from("<IBB", entry.data)
            indexes.setdefault(at, []).append((size, count, start))
        elif entry.kind in (_STRING, _BLOB_V1):
            text = entry.kind == _STRING
            values[at] = entry.payload.rstrip(b"\0").decode() if text else entry.payload
            indexes.pop(at, None)
    for at, candidates in indexes.items():
        for size, count, start in candidates:
            parts = [chunks.get((*at, number)) for number in range(start, start + count)]
            blob = b"".join(part for part in parts if part is not None)
            if None not in parts and len(blob) == size:
                values[at] = blob
    found: dict[str, dict[str, Value]] = {name: {} for name in spaces.values()}
    for (space, key), value in values.items():
        if space in spaces:
            found[spaces[space]][key] = value
    return found


def used(data: bytes) -> int:
    """Bytes of a partition that hold pages and entries in use."""
    found = 0
    for start in range(0, len(data) - PAGE + 1, PAGE):
        if struct.unpack_from("<I", data, start)[0] in _LIVE:
            states = data[start + 32 : start + _FIRST]
            pairs = (byte >> shift & 0b11 for byte in states for shift in (0, 2, 4, 6))
            found += _FIRST + _ENTRY * sum(state == _WRITTEN for state in pairs)
    return found


@dataclass(frozen=True)
class _Entry:
    space: int
    kind: int
    chunk: int
    key: str
    data: bytes  # 8 bytes: a number, or the size and CRC of what follows
    payload: bytes


def _entries(data: bytes) -> Iterator[_Entry]:
    """The good entries of the good pages, oldest first."""
    pages = []
    for start in range(0, len(data) - PAGE + 1, PAGE):
        page = data[start : start + PAGE]
        state, sequence = struct.unpack_from("<II", page)
        if state in _LIVE and _crc(page[4:28]) == struct.unpack_from("<I", page, 28)[0]:
            pages.append((sequence, page))
    for _, page in sorted(pages, key=lambda item: item[0]):
        yield from _page_entries(page)


def _page_entries(page: bytes) -> Iterator[_Entry]:
    number = 0
    while number < _ENTRIES:
        state = page[32 + number // 4] >> (number % 4 * 2) & 0b11
        start = _FIRST + number * _ENTRY
        head = page[start : start + _ENTRY]
        number += 1
        crc = struct.unpack_from("<I", head, 4)[0]
        if state != _WRITTEN or _crc(head[:4] + head[8:]) != crc:
            continue
        space, kind, span, chunk = head[:4]
        if not 1 <= span <= _ENTRIES - number + 1:
            continue
        payload = b""
        if kind in (_STRING, _BLOB_V1, _BLOB_DATA):
            size, _, crc = struct.unpack_from("<HHI", head, 24)
            payload = page[start + _ENTRY : start + _ENTRY + size]
            number += span - 1
            if size > (span - 1) * _ENTRY or _crc(payload) != crc:
                continue
        key = head[8:24].rstrip(b"\0").decode("ascii", "replace")
        yield _Entry(space, kind, chunk, key, head[24:], payload)


def _crc(data: bytes) -> int:
    return zlib.crc32(data, 0xFFFFFFFF)


def _name(name: str) -> str:
    if not (name.isascii() and 0 < len(name) <= NAME_MAX):
        raise ImageError(f"NVS: the name '{name}' has to have 1 to {NAME_MAX} ASCII characters")
    return name
