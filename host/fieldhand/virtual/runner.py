"""The chip's program: MicroPython's unix port in a terminal of its own, which is the UART."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import tty
from collections.abc import Callable
from pathlib import Path

from fieldhand import paths
from fieldhand.building import mpy
from fieldhand.esp.partitions import Partition
from fieldhand.sim.board import Board
from fieldhand.sim.console import Console
from fieldhand.sim.supervisor import Supervisor

_READ_SIZE = 65536
_READS, _PAUSE_S = 16, 0.02  # of 4 kB each
_MAX_INPUT = 64 * 1024  # a UART keeps 256 bytes, and loses the rest
_CTRL_C = b"\x03"
_ENTER_RAW = b"\x01"
_RAW_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_FRIENDLY_BANNER = b'Type "help()" for more information.\r\n'
# mpremote's mount begins what it says to the host with this; there, bytes are bytes.
_ESCAPE = b"\x18"
_KINDS = {"app": 0, "data": 1}
_SUBTYPES = {"factory": 0, "ota": 0, "phy": 1, "nvs": 2, "coredump": 3, "fat": 0x81}


class Runner:
    """One run of MicroPython, from a reset to the next; everything in the event loop.

    `output` gets what it prints. `ended(code)` is called when the process ends by itself; after
    `kill` nothing is.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        board: Board,
        console: Console,
        output: Callable[[bytes], None],
        ended: Callable[[int], None],
    ) -> None:
        self.board = board
        self.console = console
        self.irq: asyncio.Transport | None = None
        self.raw = False  # the raw REPL is on
        self._supervisor = supervisor
        self._loop = supervisor.loop
        self._output = output
        self._ended = ended
        self._token = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._tty = -1
        self._unsent = bytearray()
        self._listens = False  # a Ctrl-C gets to the program
        self._hush = False  # until the raw REPL says it is there
        self._last = b""
        self._binary = False
        self._pause: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(
        self,
        flash: Path,
        partitions: tuple[Partition, ...],
        running: str,
        heap: str,
        *,
        release: str,
        cause: int,
        raw: bool,
    ) -> None:
        """Run boot.py and, unless `raw`, main.py; then the REPL, the raw one if `raw`.

        `release` is what it says of itself, "version;machine;build", or ";;"; `cause` the ROM's of
        the last reset. Raises MissingPart.
        """
        self._token = os.urandom(8).hex()
        self.raw = raw
        self._last, self._binary, self._listens = b"", False, False
        modules = _modules()
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "MICROPYPATH": f"{modules}:.frozen",
            "FIELDHAND_SIM": f"{self._supervisor.port}:{self._token}",
            "FIELDHAND_OWN": "1",
            "FIELDHAND_FLASH": str(flash.absolute()),
            "FIELDHAND_PARTITIONS": ";".join(_entry(part) for part in partitions),
            "FIELDHAND_RUNNING": running,
            "FIELDHAND_RELEASE": release,
            "FIELDHAND_CAUSE": str(cause),
            "FIELDHAND_MAIN": "" if raw else "1",
        }
        self._tty, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._tty, False)
        self._supervisor.expect(self._token, self)
        try:
            self._process = subprocess.Popen(
                [
                    str(paths.micropython()),
                    "-X",
                    f"heapsize={heap}",
                    "-i",
                    "-c",
                    "import micropython; micropython.opt_level(3); import _board; "
                    "del micropython; _board.boot(globals())",
                ],
                cwd="/",
                env=env,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        finally:
            os.close(slave)
        self._loop.add_reader(self._tty, self._readable)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._died)

    def programs(self) -> None:
        """It is about to run boot.py: from now on it can be interrupted."""
        self._listens = True
        waiting, self._unsent = bytes(self._unsent), bytearray()
        self.feed(waiting)

    def repl(self) -> None:
        """It is about to enter the REPL."""
        self._readable()
        if self.raw:
            self._hush, self._last = True, b""
            self._unsent[:0] = _ENTER_RAW
            self._write()

    def feed(self, data: bytes) -> None:
        """From the host. As on the chip, Ctrl-C interrupts a program while it runs."""
        if not self._listens:
            self._unsent += data[: max(0, _MAX_INPUT - len(self._unsent))]
            return
        first, *rest = data.split(_CTRL_C)
        self._send(first)
        for part in rest:
            if self._interruptible():
                os.kill(self._process.pid, signal.SIGINT)  # type: ignore[union-attr]
            else:
                self._send(_CTRL_C)
            self._send(part)

    def interrupt(self, number: int) -> None:
        """Of a pin or timer."""
        if self.irq is not None and not self.irq.is_closing():
            self.irq.write(bytes((number,)))

    def kill(self) -> None:
        """Reset or power cut."""
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        self._reap()

    def _send(self, data: bytes) -> None:
        self._unsent += data[: max(0, _MAX_INPUT - len(self._unsent))]
        self._write()

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._tty, self._unsent)]
        except BlockingIOError:
            self._loop.add_writer(self._tty, self._write)
            return
        except OSError:
            self._unsent.clear()  # it ends
        self._loop.remove_writer(self._tty)

    def _interruptible(self) -> bool:
        """Whether the port has its handler for Ctrl-C: while a program runs, not in the REPL."""
        if self._process is None:
            return False
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return False
        caught = int(status.partition("SigCgt:")[2].split(None, 1)[0], 16)
        return bool(caught >> (signal.SIGINT - 1) & 1)

    def _readable(self) -> None:
        self._pause = None
        for _ in range(_READS):
            if self._tty < 0:
                return
            try:
                data = os.read(self._tty, _READ_SIZE)
            except BlockingIOError:
                return
            except OSError:  # EIO: it has ended
                self._loop.remove_reader(self._tty)
                return
            if not data:
                return
            self._printed(data)
        # A UART is slower; others in this loop get their turn.
        if self._process is not None:
            self._loop.remove_reader(self._tty)
            self._pause = self._loop.call_later(_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._loop.add_reader(self._tty, self._readable)
        self._readable()

    def _printed(self, data: bytes) -> None:
        seen = self._last + data
        raw, friendly = seen.rfind(_RAW_BANNER), seen.rfind(_FRIENDLY_BANNER)
        if raw != friendly:
            self.raw = raw > friendly
        if self._hush:
            self._last = seen
            if raw < 0:
                return
            self._hush = False
            data, self._last = seen[raw:], b""
        self._binary = self._binary or _ESCAPE in data
        before = self._last
        self._last = (before + data)[-len(_FRIENDLY_BANNER) :]
        if not self._binary:
            data = _cooked(before[-1:], data)
        self._output(data)

    def _died(self) -> None:
        process = self._process
        if process is None:
            return
        code = process.wait()
        self._reap()
        self._ended(code)

    def _reap(self) -> None:
        self._process = None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._hush = False
        if self._pause is not None:
            self._pause.cancel()
        self._readable()
        self._loop.remove_reader(self._tty)
        self._loop.remove_writer(self._tty)
        os.close(self._tty)
        self._tty = -1
        self._supervisor.forget(self._token)
        self.irq = None


def _cooked(before: bytes, data: bytes) -> bytes:
    """With a carriage return in front of each line feed, as the chip's UART prints."""
    joined = (before + data).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    # `before` is one byte, and two where it was a line feed.
    if before == b"\r" and data[:1] == b"\n":
        return joined[1:]
    return joined[2:] if before == b"\n" else joined[len(before) :]


def _entry(part: Partition) -> str:
    kind = _KINDS[part.kind] if part.kind in _KINDS else int(part.kind, 0)
    subtype = part.subtype
    if subtype in _SUBTYPES:
        number = _SUBTYPES[subtype]
    elif subtype.startswith("ota_"):
        number = 0x10 + int(subtype[4:])
    else:
        number = int(subtype, 0) if subtype.startswith("0x") else 0
    return f"{kind},{number},{part.offset},{part.size},{part.name}"


@functools.cache
def _modules() -> Path:
    """A directory with what a board has in ROM, compiled; by a short name, which costs heap."""
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="fh-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    own = Path(__file__).parent / "standins"
    mpy.write(folder, *sorted(paths.standins().glob("*.py")), *own.glob("*.py"), optimize=3)
    mpy.write(folder, paths.umqtt() / "umqtt")
    return folder
