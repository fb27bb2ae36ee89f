"""The flash of a virtual board: a file, written as soon as the chip writes."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from fieldhand.errors import FieldhandError

SECTOR = 4096
_ERASED = b"\xff"


class Flash:
    """`size` bytes in the file `path`, 0xFF where erased. What is written outlives a kill.

    A file that is there keeps its contents, a shorter one is filled up with 0xFF. Raises
    FieldhandError where the file cannot be used, or is longer than `size`.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FieldhandError(f"{path}: {error.strerror}") from None
        there = os.fstat(self._fd).st_size
        if there > size:
            os.close(self._fd)
            raise FieldhandError(
                f"{path}: is larger than a flash of {size >> 20} MB: give the board's size, "
                "or another file"
            )
        if there < size:
            os.pwrite(self._fd, _ERASED * (size - there), there)

    def close(self) -> None:
        os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer at the end of the flash."""
        return os.pread(self._fd, max(0, min(length, self.size - offset)), offset)

    def write(self, offset: int, data: bytes) -> None:
        """Put `data` there; what would be beyond the end is lost."""
        data = data[: max(0, self.size - offset)]
        while data:
            done = os.pwrite(self._fd, data, offset)
            data, offset = data[done:], offset + done

    def erase(self, offset: int, length: int) -> None:
        """Erase the sectors that `length` bytes from `offset` touch."""
        start = offset // SECTOR * SECTOR
        end = min(-(-(offset + length) // SECTOR) * SECTOR, self.size)
        if start < end:
            self.write(start, _ERASED * (end - start))


class Download:
    """A download to `offset`: each sector is erased when its first byte comes."""

    def __init__(self, flash: Flash, offset: int, *, compressed: bool) -> None:
        self._flash = flash
        self._at = offset
        self._erased = offset // SECTOR * SECTOR
        self._inflate = zlib.decompressobj() if compressed else None

    def write(self, data: bytes) -> None:
        """Raises zlib.error for compressed data that is damaged."""
        if self._inflate is not None:
            data = self._inflate.decompress(data)
        end = self._at + len(data)
        if end > self._erased:
            self._flash.erase(self._erased, end - self._erased)
            self._erased = -(-end // SECTOR) * SECTOR
        self._flash.write(self._at, data)
        self._at = end
