"""What is in a board's ROM here: its stand-ins, the flash as `esp32.Partition`, and its boot.

Started by runner.py while the machine's file system is still there. As ports/esp32/main.c and
its _boot.py, flashbdev.py and inisetup.py do.
"""

import os
import sys
from collections import namedtuple

import _sim
import micropython
import usocket
import vfs
from micropython import const

_STATE = const(25)
# Stages, see board.py.
_REPL, _PROGRAMS, _DOWNLOAD = const(1), const(2), const(3)
_BLOCK = const(4096)
_ROM = (
    "_sim_constants _sim_esp32 _sim_i2c _sim_machine _sim_network _sim_pwm _sim_rare _sim_time "
    "_sim_wlan dht ds18x20 esp32 machine network ntptime onewire time umqtt.simple"
)
_CORRUPT = """\
The filesystem appears to be corrupted. If you had important data there, you
may want to make a flash snapshot to try to recover it. Otherwise, perform
factory reprogramming of MicroPython firmware (completely erase flash, followed
by firmware programming).
"""

_flash = open(os.getenv("FIELDHAND_FLASH"), "r+b")
# type, subtype, address, size, label of each; which one runs.
_table = [
    (int(kind), int(subtype), int(address), int(size), label)
    for kind, subtype, address, size, label in (
        entry.split(",") for entry in os.getenv("FIELDHAND_PARTITIONS").split(";")
    )
]
_running = os.getenv("FIELDHAND_RUNNING")
# What the flashed MicroPython says of itself: version, machine, build ("" if none).
_release = os.getenv("FIELDHAND_RELEASE").split(";")
# RTC_CNTL_RESET_STATE_REG: why the ROM was started; 0x60008038 is the S3's and the C3's.
_CAUSES = (0x3FF48034, 0x60008038)
_cause = int(os.getenv("FIELDHAND_CAUSE"))
_main = os.getenv("FIELDHAND_MAIN")  # "" after a soft reset in the raw REPL


class Partition:
    """Of the flash, with the block protocol; writing without an offset erases first."""

    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id, block_size=_BLOCK):
        label = _running if id in (0, 1) else id
        for entry in _table:
            if entry[4] == label:
                self._entry = entry
                return
        raise OSError(2)

    @staticmethod
    def find(type=1, subtype=255, label=None, block_size=_BLOCK):
        return [
            Partition(entry[4])
            for entry in _table
            if entry[0] == type
            and subtype in (255, entry[1])
            and (label is None or label == entry[4])
        ]

    def info(self):
        return self._entry + (False,)

    def readblocks(self, n, buf, offset=0):
        _flash.seek(self._entry[2] + n * _BLOCK + offset)
        _flash.readinto(buf)

    def writeblocks(self, n, buf, offset=None):
        if offset is None:
            for block in range(n, n + len(buf) // _BLOCK):
                self.ioctl(6, block)
        _flash.seek(self._entry[2] + n * _BLOCK + (offset or 0))
        _flash.write(buf)

    def ioctl(self, op, arg):
        if op == 4:
            return self._entry[3] // _BLOCK
        if op == 5:
            return _BLOCK
        if op == 6:
            _flash.seek(self._entry[2] + arg * _BLOCK)
            _flash.write(b"\xff" * _BLOCK)
        return 0

    @staticmethod
    def mark_app_valid_cancel_rollback():
        raise OSError(-261)  # built without rollback

    def set_boot(self):
        raise OSError(-258)  # no update over the air is simulated

    def get_next_update(self):
        slots = [entry[4] for entry in _table if entry[0] == 0 and entry[1] & 0xF0 == 0x10]
        if not slots:
            raise OSError(2)
        return Partition(slots[(slots.index(_running) + 1) % len(slots)])


class _Memory:
    """`machine.mem32`: the one register that nodes read, 0 elsewhere."""

    def __getitem__(self, address):
        return _cause if address in _CAUSES else 0


class _Sys:
    """`sys`, of the MicroPython that was flashed."""

    def __init__(self):
        version, machine, build = _release
        names = ["name", "version", "_machine", "_mpy"]
        values = [
            "micropython",
            tuple(int(part) for part in version.split(".")) + ("",),
            machine,
            sys.implementation._mpy,
        ]
        if build:
            names.append("_build")
            values.append(build)
        self.implementation = namedtuple("implementation", names)(*values)
        self.platform = "esp32"
        self.version = "3.4.0; MicroPython v" + version

    def __getattr__(self, name):
        return getattr(sys, name)


def _mount():
    disk = Partition.find(label="vfs")
    if not disk:
        return
    disk = disk[0]
    try:
        vfs.mount(vfs.VfsLfs2(disk), "/")
        return
    except OSError:
        pass
    head = bytearray(_BLOCK)
    disk.readblocks(0, head)
    if head.count(b"\xff") != _BLOCK:
        while True:
            print(_CORRUPT)
            sys.modules["time"].sleep(3)
    print("Performing initial setup")
    vfs.VfsLfs2.mkfs(disk)
    vfs.mount(vfs.VfsLfs2(disk), "/")
    with open("boot.py", "w") as file:
        file.write(
            "# This file is executed on every boot (including wake-boot from deepsleep)\n"
            "#import esp\n#esp.osdebug(None)\n#import webrepl\n#webrepl.start()\n"
        )


def _call(op, a=0, b=0, c=0, payload=None):
    """`_sim.call` which a Ctrl-C may interrupt: its answer must not be taken for the next one's."""
    global _stale
    if _stale:
        for name, kind in (("_first", 0), ("_second", 1)):
            old = getattr(_sim, name)
            old[0].close()
            setattr(_sim, name, (_connect(kind),) + old[1:])
        _stale = False
    try:
        return _plain(op, a, b, c, payload)
    except KeyboardInterrupt:
        _stale = True  # no more than this: the heap may be locked
        raise


def _connect(kind):
    port, token = os.getenv("FIELDHAND_SIM").split(":")
    wire = usocket.socket()
    wire.connect(usocket.getaddrinfo("127.0.0.1", int(port))[0][-1])
    wire.setsockopt(6, 1, 1)  # TCP_NODELAY
    wire.write("%s %s\n" % (token, kind))
    return wire


def _bootloader(ms=0):
    _sim.call(_STATE, _DOWNLOAD)
    while True:
        sys.modules["time"].sleep(1)


def boot(scope):
    """boot.py, main.py; when this returns, the REPL follows."""
    for name in _ROM.split():
        try:
            __import__(name)
        except ImportError:
            if name != "umqtt.simple":
                raise
    del scope["_board"]
    machine = sys.modules["machine"]
    sys.modules["esp32"].Partition = Partition
    machine.bootloader = _bootloader
    machine.mem32 = _Memory()
    if _release[0]:
        sys.modules["sys"] = _Sys()
    _sim.call = _call
    micropython.opt_level(0)
    vfs.umount("/")
    sys.path[:] = ("", ".frozen", "/lib")
    _sim.call(_STATE, _PROGRAMS)
    _run(scope)
    _sim.call(_STATE, _REPL)


def _run(scope):
    try:
        _mount()
        for name in ("boot.py", "main.py")[: 2 if _main else 1]:
            try:
                os.stat(name)
            except OSError:
                continue
            execfile(name, scope)  # noqa: F821
    except SystemExit:
        _sim.reset(_sim.SOFT)
    except BaseException as exc:
        sys.print_exception(exc)


_plain = _sim.call
_stale = False
