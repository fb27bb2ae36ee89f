"""The file system of a frozen image: mounted, or made anew where it cannot be.

MicroPython's own `_boot.py` prints that it is corrupt, for ever.
"""

import os
import time

import vfs
from micropython import const

from . import log, store

TRIES = const(3)  # to mount, before it is given up
_RETRY_MS = const(200)
_BLOCK_SIZE = const(5)  # of a block device's ioctl
_DIRECTORY = const(0x4000)


def mount(device, path="/"):
    """Mount the block device `device`. Raises OSError where not even a new file system works."""
    for _ in range(TRIES):
        try:
            vfs.mount(vfs.VfsLfs2(device), path)
            return _walk(path)
        except OSError as error:
            log.warning("the file system: %s" % error)
        _unmount(path)
        time.sleep_ms(_RETRY_MS)
    new = _blank(device)
    vfs.VfsLfs2.mkfs(device)
    vfs.mount(vfs.VfsLfs2(device), path)
    if not new:
        store.damaged.append("file system")


def _walk(folder):
    """Read every directory: what is damaged there makes each later write fail."""
    for entry in os.ilistdir(folder):
        if entry[1] == _DIRECTORY:
            _walk(folder.rstrip("/") + "/" + entry[0])


def _unmount(path):
    try:
        vfs.umount(path)
    except OSError:
        pass  # it was the mounting that failed


def _blank(device):
    first = bytearray(device.ioctl(_BLOCK_SIZE, 0))
    device.readblocks(0, first)
    return first.count(b"\xff") == len(first)
