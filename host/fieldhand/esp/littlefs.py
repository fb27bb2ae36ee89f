"""MicroPython's file system: littlefs 2, with the parameters of its `VfsLfs2` on an ESP32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fieldhand import paths
from fieldhand.esp import ImageError

if TYPE_CHECKING:
    from littlefs import LittleFS

BLOCK = 4096  # NATIVE_BLOCK_SIZE_BYTES in ports/esp32/esp32_partition.c
# Defaults of extmod/vfs_lfs.c and what extmod/vfs_lfsx.c makes of them.
_PARAMETERS: dict[str, Any] = {
    "read_size": 32,
    "prog_size": 32,
    "cache_size": 128,
    "lookahead_size": 32,
    "block_cycles": 100,
    "disk_version": 0x00020001,  # of littlefs 2.8 to 2.11, in MicroPython 1.24 to 1.29
}


def write(files: Mapping[str, bytes], size: int, block: int = BLOCK) -> bytes:
    """An image of `size` bytes with `files` ("lib/x.mpy": ...); the same bytes for the same files.

    Files have no time, which MicroPython reads as its epoch. Raises ImageError where they do not
    fit, and MissingPart.
    """
    if size % block or size < 2 * block:
        raise ImageError(f"a file system of {size} bytes: it takes whole blocks of {block}, from 2")
    _library()
    from littlefs import LittleFSError

    fs = _open(size, block)
    try:
        fs.format()
        fs.mount()
        for name in sorted(files):
            folder = name.rpartition("/")[0]
            if folder:
                fs.makedirs(folder, exist_ok=True)
            with fs.open(name, "wb") as file:
                file.write(files[name])
        fs.unmount()
    except LittleFSError as error:
        if error.code != LittleFSError.Error.LFS_ERR_NOSPC:
            raise ImageError(f"littlefs: {error}") from error
        need = sum(-(-len(data) // block) * block for data in files.values())
        raise ImageError(
            f"the files need about {need >> 10} kB, and the file system has {size >> 10} kB"
        ) from None
    return bytes(fs.context.buffer)


def read(image: bytes, block: int = BLOCK) -> dict[str, bytes]:
    """The files of an image, by path ("lib/x.mpy"). Raises ImageError for a damaged one."""
    _library()
    from littlefs import LittleFSError

    fs = _open(len(image), block)
    fs.context.buffer[:] = image
    found = {}
    try:
        fs.mount()
        for folder, _, names in fs.walk("/"):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                with fs.open(path, "rb") as file:
                    found[path.lstrip("/")] = file.read()
        fs.unmount()
    except LittleFSError as error:
        raise ImageError(f"the file system cannot be read: {error}") from error
    return found


def used(image: bytes, block: int = BLOCK) -> int:
    """Bytes of the blocks in use, of the image of a file system. Raises ImageError."""
    _library()
    from littlefs import LittleFSError

    fs = _open(len(image), block)
    fs.context.buffer[:] = image
    try:
        fs.mount()
        return fs.used_block_count * block
    except LittleFSError as error:
        raise ImageError(f"the file system cannot be read: {error}") from error


def _library() -> type[LittleFS]:
    try:
        from littlefs import LittleFS
    except ImportError:
        raise paths.MissingPart("no littlefs: pip install 'fieldhand[board]'") from None
    return LittleFS


def _open(size: int, block: int) -> LittleFS:
    return _library()(mount=False, block_size=block, block_count=size // block, **_PARAMETERS)
