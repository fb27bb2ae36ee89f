"""An ESP32's flash as littlefs sees it: counts its programs and erases, loses its supply at any."""

import os

import vfs

BLOCK = 4096
_FILLER = "/soak/filler"


class Flash:
    """`blocks` of 4 KiB. `cut_in`: the power fails at that program or erase from now on, torn."""

    def __init__(self, world, blocks):
        self.programs = self.erases = 0
        self.cut_in = 0
        self.on_full = None
        self._world = world
        self._data = bytearray(b"\xff" * (blocks * BLOCK))
        self._blocks = blocks
        vfs.VfsLfs2.mkfs(_Device(self))

    def mount(self, path):
        """Mount it afresh, as after a power-on: nothing but the bytes is left of what was."""
        vfs.mount(vfs.VfsLfs2(_Device(self)), path)

    def full(self, on):
        """Leave no room in the file system, or give it back."""
        if self.on_full is not None:
            self.on_full(on)
        if not self._world.powered:
            return
        try:
            if not on:
                os.remove(_FILLER)
                return
            with open(_FILLER, "wb") as file:
                while True:
                    file.write(_ERASED)
        except OSError:
            pass  # no room left, or no such file

    def op(self, size):
        """How many of `size` bytes of the next operation come to pass."""
        if self.cut_in:
            self.cut_in -= 1
            if not self.cut_in:
                return self._world.dice.below(size)
        return size


class _Device:
    """One boot's way to the flash: dead after the power cut, whatever still holds it."""

    def __init__(self, flash):
        self._flash = flash
        self._boot = flash._world.boots

    def _alive(self):
        world = self._flash._world
        return self._boot == world.boots and (world.powered or not world.boots)

    def readblocks(self, block, buf, offset=0):
        if self._boot != self._flash._world.boots:
            return  # a file of a boot that is over, closed by the collector
        start = block * BLOCK + offset
        buf[:] = memoryview(self._flash._data)[start : start + len(buf)]

    def writeblocks(self, block, buf, offset=None):
        if offset is None:
            self.ioctl(6, block)
            offset = 0
        if not self._alive():
            return
        flash = self._flash
        start = block * BLOCK + offset
        flash.programs += 1
        n = flash.op(len(buf))
        flash._data[start : start + n] = memoryview(buf)[:n]
        if n < len(buf):
            flash._world.die("power")

    def ioctl(self, op, arg):
        flash = self._flash
        if op == 4:
            return flash._blocks
        if op == 5:
            return BLOCK
        if op == 6:
            if not self._alive():
                return 0
            flash.erases += 1
            n = flash.op(BLOCK)
            start = arg * BLOCK
            flash._data[start : start + n] = _ERASED[:n]
            if n < BLOCK:
                flash._world.die("power")
        return 0


_ERASED = memoryview(b"\xff" * BLOCK)
