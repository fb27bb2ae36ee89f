# heapsize: 2M
"""A frozen image's file system, on real littlefs over flash whose blocks were garbled."""

import os
import random
import sys

import vfs
from fieldtest import raises, root
from flash import Flash

# tests/fakes/flash.py has the name of the module under test, which is in a package.
from fieldnode import flash, store

AT = "/fs"


class Waits:
    """`time` for a test that does not wait."""

    def sleep_ms(self, ms):
        pass


def written():
    """Flash with a file system as a node leaves it."""
    device = Flash(32).format()
    vfs.mount(vfs.VfsLfs2(device), AT)
    os.mkdir(AT + "/ledger")
    for name in ("node.json", "settings.json", "ledger/1", "ledger/2"):
        with open(AT + "/" + name, "w") as file:
            file.write('{"name": "%s", "padding": "%s"}' % (name, "x" * 900))
    vfs.umount(AT)
    return device


def garble(device, block, rng):
    at = block * device.BLOCK
    for i in range(at, at + device.BLOCK):
        device.data[i] = rng() & 0xFF


def usable():
    """Whether files can be written and read in what is mounted."""
    with open(AT + "/new.json", "w") as file:
        file.write("[1]")
    with open(AT + "/new.json") as file:
        return file.read() == "[1]"


def setup():
    flash.time = Waits()
    del store.damaged[:]


def test_what_is_well_is_left_alone():
    setup()
    device = written()
    before = bytes(device.data)
    flash.mount(device, AT)
    assert "node.json" in os.listdir(AT) and not store.damaged
    assert bytes(device.data) == before
    vfs.umount(AT)


def test_a_new_flash_is_formatted_and_that_is_no_repair():
    setup()
    flash.mount(Flash(32), AT)
    assert usable() and not store.damaged
    vfs.umount(AT)


def test_a_damaged_file_system_is_made_anew_and_named():
    setup()
    rng = random.getrandbits
    random.seed(7)
    device = written()
    for block in (0, 1):  # both copies of the superblock
        garble(device, block, lambda: rng(8))
    raises(OSError, vfs.VfsLfs2, device)  # as MicroPython's own _boot.py would see it
    flash.mount(device, AT)
    assert store.damaged == ["file system"]
    assert usable()
    vfs.umount(AT)
    del store.damaged[:]
    flash.mount(device, AT)  # the next start
    assert "new.json" in os.listdir(AT) and not store.damaged
    vfs.umount(AT)


def test_whatever_is_garbled_the_node_gets_a_file_system_that_works():
    setup()
    random.seed(20261121)
    anew = 0
    for _ in range(60):
        device = written()
        for _ in range(1 + random.getrandbits(2)):
            garble(device, random.getrandbits(3), lambda: random.getrandbits(8))
        del store.damaged[:]
        flash.mount(device, AT)
        assert usable()
        if store.damaged:
            anew += 1
            assert os.listdir(AT) == ["new.json"]
        vfs.umount(AT)
    assert 0 < anew < 60, anew


def test_a_flash_that_takes_nothing_raises_and_does_not_loop():
    setup()
    device = Flash(32)
    device.fail = 5
    raises(OSError, flash.mount, device, AT)


def test_the_boot_file_goes_on_where_the_flash_is_dead():
    setup()
    mounted = []

    class Bdev:
        bdev = object()

    sys.modules["flashbdev"] = Bdev
    flash.mount = mounted.append
    with open(root("firmware/_boot.py")) as file:
        code = file.read()
    exec(code, {})
    assert mounted == [Bdev.bdev]
    Bdev.bdev = None  # an image without such a partition
    exec(code, {})
    assert len(mounted) == 1
