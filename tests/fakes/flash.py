"""A NOR flash in RAM for `vfs.VfsLfs2`: counts programs and erases, loses power at any of them."""

import os

_COUNT, _SIZE, _ERASE = 4, 5, 6


class Flash:
    """`blocks` blocks of 4 KiB, as the ESP32's.

    `programs`, `erases`: how many so far; `worn`: erases of each block. `before(flash)`, if set,
    is called before each operation, with `torn(done)` giving the flash as a power cut in the
    middle of this operation leaves it. `fail`: an errno of all programs and erases.
    """

    BLOCK = 4096

    def __init__(self, blocks=64, data=None):
        self.data = data or bytearray(b"\xff" * (blocks * self.BLOCK))
        self.programs = self.erases = 0
        self.worn = [0] * (len(self.data) // self.BLOCK)
        self.before = None
        self.fail = 0
        self._pending = None

    def format(self):
        from vfs import VfsLfs2

        VfsLfs2.mkfs(self)
        self.programs = self.erases = 0
        return self

    def mount(self, path):
        from vfs import VfsLfs2, mount

        mount(VfsLfs2(self), path)
        return self

    def torn(self, done):
        """A copy in which the first `done` bytes of the operation under way took effect."""
        at, new = self._pending
        copy = Flash(data=bytearray(self.data))
        copy._apply(at, new, min(done, len(new)))
        return copy

    def pending(self):
        """Bytes that the operation under way programs or erases."""
        return len(self._pending[1])

    def readblocks(self, block, buf, offset=0):
        at = block * self.BLOCK + offset
        buf[:] = memoryview(self.data)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        # As the ESP32's, which is C, it returns its errors: littlefs cannot be raised through.
        if self.fail:
            return -self.fail
        self._operate(block * self.BLOCK + offset, buf)
        self.programs += 1

    def ioctl(self, op, arg):
        if op == _COUNT:
            return len(self.worn)
        if op == _SIZE:
            return self.BLOCK
        if op == _ERASE:
            if self.fail:
                return -self.fail
            self._operate(arg * self.BLOCK, None)
            self.erases += 1
            self.worn[arg] += 1
            return 0

    def _operate(self, at, new):
        if new is None:
            new = _ERASED
        if self.before:
            self._pending = at, new
            self.before(self)
        self._apply(at, new, len(new))

    def _apply(self, at, new, count):
        data = self.data
        if new is _ERASED:
            data[at : at + count] = memoryview(_ERASED)[:count]
        elif bytes(data[at : at + count]) == _ERASED[:count]:
            data[at : at + count] = memoryview(new)[:count]
        else:
            for i in range(count):
                data[at + i] &= new[i]  # a program clears bits and never sets one


_ERASED = b"\xff" * Flash.BLOCK


def umount(path):
    os.chdir("/")
    os.umount(path)
