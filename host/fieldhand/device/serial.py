"""A board at its REPL: run code on it, read and write its files."""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fieldhand.device import ports, symptoms
from fieldhand.device.errors import DeviceError, DeviceException

if TYPE_CHECKING:
    from fieldhand.device.transport import Transport

Progress = Callable[[int, int], None]  # bytes done, bytes in all

EXEC_S = 10.0
# The node may be in a system call that Ctrl-C does not end, a look-up of a name for one.
_ATTENTION_S = 10.0
_AFTER_RESET_S = 8.0
_STEP_S = 3.0
_AGAIN_S = 3.0  # at a REPL that answered before
_RAW = b"raw REPL; CTRL-B to exit\r\n"
_CHUNK = 2048  # bytes of a file in one piece of code; a third more as base64
# The node's watchdog cannot be stopped, so it is given time: ports/esp32/machine_wdt.c.
_WATCHDOG_MS = 600_000
_FEED_S = 120.0
# A name at the top of the flash that the node removes when it starts, see start.py.
PART = "deploy.new"

_FACTS = """
import gc, sys
gc.collect()
r = 'fieldnode.start' in sys.modules
if r:
 import machine
 machine.WDT(timeout=%d).feed()
i = sys.implementation
print(repr((i[0], tuple(i[1][:3]), getattr(i, '_machine', ''), r)))
"""
_WALK = """
import os
from hashlib import sha256
from binascii import hexlify
b = bytearray(1024)
m = memoryview(b)
def walk(d):
 for e in os.ilistdir(d[:-1]) if d else os.ilistdir():
  p = d + e[0]
  if e[1] & 0x4000: walk(p + '/')
  else: show(p)
def show(p):
 h = sha256()
 n = 0
 with open(p, 'rb') as f:
  while 1:
   k = f.readinto(b)
   if not k: break
   h.update(m[:k])
   n += k
 print(n, hexlify(h.digest()).decode(), p)
def go(names):
 for p in names:
  try: t = os.stat(p)[0] & 0x4000
  except OSError: continue
  if t: walk(p + '/')
  else: show(p)
"""


@dataclass(frozen=True)
class Facts:
    """What runs at a port. `node`: our firmware was at work when we interrupted it."""

    micropython: tuple[int, int, int]
    machine: str
    node: bool

    @property
    def version(self) -> str:
        return ".".join(map(str, self.micropython))


@dataclass(frozen=True)
class Stored:
    """A file on the board: bytes, and SHA-256 as hex."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Space:
    """Of the board's file system: bytes of a block, blocks in all, free ones."""

    block: int
    blocks: int
    free_blocks: int

    @property
    def free(self) -> int:
        return self.block * self.free_blocks

    def blocks_of(self, size: int) -> int:
        """Blocks that a file of `size` bytes takes at the most."""
        return -(-size // self.block)


class Device:
    """The board at `port` (a path or a URL of pyserial), stopped and at its raw REPL.

    A context manager. A running node is interrupted, which puts its outputs off, and its watchdog
    is given ten minutes. `fresh`: MicroPython is restarted without its program, so that the
    heap is empty; False keeps the modules and the network of what ran. On leaving a board whose
    node was stopped is reset, so that it goes on; set `keep_stopped` where it shall not.

    Raises PortError, DeviceError, and MissingPart without mpremote.
    """

    def __init__(self, port: str, *, fresh: bool = True) -> None:
        self.port = port
        self.fresh = fresh
        self.keep_stopped = False
        self.facts = Facts((0, 0, 0), "", False)
        self._transport: Transport | None = None
        self._fed = 0.0
        self._walks = False
        self._amid = False  # in code that has not ended
        self._gone = False  # reset by us, or out of reach: nothing is stopped any more

    def __enter__(self) -> Device:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def open(self) -> None:
        """Take the port and stop what runs; see the class for what is raised."""
        self._transport = _open(self.port)
        try:
            with self._boundary():
                self._attention()
                self.facts = self._ask_facts()
                if self.fresh:
                    self.soft_reset()
        except BaseException:
            self._transport.close()
            self._transport = None
            raise

    def close(self) -> None:
        """Let go of the port; a node that was stopped starts again."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        try:
            if self.facts.node and not self.keep_stopped and not self._gone:
                _let_go_on(transport, ready=transport.in_raw_repl and not self._amid)
            elif transport.in_raw_repl:
                transport.exit_raw_repl()
        except Exception:  # the cable is out, say; whoever closes has heard of it
            pass
        finally:
            transport.close()

    # -- code --------------------------------------------------------------------------------

    def exec(self, code: str, timeout: float = EXEC_S) -> str:
        """Run `code`; what it prints. Raises DeviceException with the board's traceback,
        DeviceError after `timeout` seconds, PortError."""
        with self._boundary():
            if not self._need().in_raw_repl:  # after a reset
                self._attention()
                self.facts = self._ask_facts()
                self._gone = self._walks = False
            self._feed()
            return self._exec(code, timeout)

    def eval(self, expression: str, timeout: float = EXEC_S) -> Any:
        """The value of an expression: a literal of Python. Raises as `exec`."""
        printed = self.exec(f"print(repr({expression}))", timeout)
        try:
            return ast.literal_eval(printed.strip())
        except (ValueError, SyntaxError):
            raise DeviceError(self.port, f"answered {printed.strip()[:60]!r}") from None

    def soft_reset(self) -> None:
        """Restart MicroPython, with boot.py and without main.py. The watchdog goes on."""
        from fieldhand.device.transport import quiet

        transport = self._need()
        with self._boundary(), quiet():
            transport.enter_raw_repl(soft_reset=True)
            if not _in_step(transport):
                self._attention()
        self._walks = False

    def reset(self) -> None:
        """Reset the chip by the port's DTR and RTS, else by its REPL. The program starts.

        What the node keeps in RTC memory is lost, see `restart`.
        """
        transport = self._need()
        with self._boundary():
            try:
                transport.serial.pulse_reset()
            except OSError:
                if not transport.in_raw_repl:
                    raise
                _restart(transport)
            transport.in_raw_repl = False
        self._gone = True

    def restart(self) -> None:
        """Reset the chip by its REPL; RTC memory, with readings not yet sent, stays."""
        with self._boundary():
            _restart(self._need())
        self._gone = True

    def heard(self, seconds: float = 0.1) -> bytes:
        """What came on the console, empty when nothing did within `seconds`."""
        with self._boundary():
            return self._need().serial.some(seconds)

    # -- files -------------------------------------------------------------------------------

    def files(self, *names: str) -> dict[str, Stored]:
        """The files called `names` and those in folders called so, all without names.

        Names are as on the board, without a leading slash.
        """
        if not self._walks:
            self.exec(_WALK)
            self._walks = True
        call = f"go({names!r})" if names else "walk('')"
        found = {}
        for line in self.exec(call, timeout=60).splitlines():
            size, digest, path = line.split(" ", 2)
            found[path] = Stored(int(size), digest)
        return found

    def hashes(self, *names: str) -> dict[str, str]:
        """SHA-256 (hex) by path, as `files`."""
        return {path: stored.sha256 for path, stored in self.files(*names).items()}

    def space(self) -> Space:
        stat = self.eval("__import__('os').statvfs('/')")
        # littlefs counts blocks that share data twice: a full one has less than none, unsigned.
        return Space(stat[0], stat[2], free_blocks=stat[3] if stat[3] <= stat[2] else 0)

    def free(self) -> int:
        """Free bytes of the file system."""
        return self.space().free

    def read(self, path: str) -> bytes:
        """The contents of a file. Raises DeviceException where there is none."""
        code = (
            f"from binascii import b2a_base64 as e\nwith open({path!r},'rb') as f:\n"
            f" while 1:\n  b=f.read(768)\n  if not b:break\n  print(e(b).decode(),end='')"
        )
        return base64.b64decode(self.exec(code, timeout=60))

    def write(self, path: str, data: bytes, progress: Progress | None = None) -> None:
        """Write a file whole: a cable pulled before the end leaves the old one as it was.

        `progress` is called with bytes done and bytes in all. Folders are made.
        """
        self.send(PART, data, progress)
        self.exec(MAKE_FOLDERS + f"mk({path!r})\nos.rename({PART!r},{path!r})")

    def send(self, path: str, data: bytes, progress: Progress | None = None) -> None:
        """Write into `path` as it comes. A name that ends in .new is removed when a node starts."""
        chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)] or [b""]
        done = 0
        code = f"from binascii import a2b_base64 as d\nf=open({path!r},'wb')\n"
        for number, chunk in enumerate(chunks, 1):
            code += f"f.write(d({base64.b64encode(chunk)!r}))\n"
            if number == len(chunks):
                code += "f.close()\n"
            self.exec(code, timeout=30)
            code = ""
            done += len(chunk)
            if progress is not None:
                progress(done, len(data))

    def remove(self, path: str) -> None:
        """Remove a file. Raises DeviceException where there is none."""
        self.exec(f"import os\nos.remove({path!r})")

    def node_config(self) -> Mapping[str, Any]:
        """The board's node.json; empty where there is none or it is damaged."""
        with contextlib.suppress(DeviceException, ValueError):
            found = json.loads(self.read("node.json"))
            if isinstance(found, dict):
                return found
        return {}

    # -- the wire ----------------------------------------------------------------------------

    def _need(self) -> Transport:
        if self._transport is None:
            raise DeviceError(self.port, "is not open")
        return self._transport

    @contextlib.contextmanager
    def _boundary(self) -> Iterator[None]:
        """What pyserial and mpremote raise becomes ours."""
        from fieldhand.device.transport import TransportError

        try:
            yield
        except OSError as error:
            self._gone = True
            raise ports.explain(error, self.port) from error
        except TransportError as error:
            text = " ".join(str(error).split())[:120]
            raise DeviceError(self.port, f"its REPL lost the thread: {text}; repeat") from error

    def _exec(self, code: str, timeout: float) -> str:
        from fieldhand.device.transport import quiet

        transport = self._need()
        # Sending takes its time as well, the more so as the board compiles in between.
        transport.deadline = time.monotonic() + timeout + len(code) / 2000
        self._amid = True
        try:
            with quiet():
                transport.exec_raw_no_follow(code)
                out, err = transport.follow(timeout)
            self._amid = False
        except Exception:
            if time.monotonic() >= transport.deadline:
                transport.deadline = None
                self._amid = not _back_to_repl(transport)
                raise DeviceError(self.port, f"the board was not done in {timeout:g} s") from None
            raise
        finally:
            transport.deadline = None
        if err:
            raise DeviceException(self.port, err.decode("utf-8", "replace"))
        return bytes(out).decode("utf-8", "replace").replace("\r\n", "\n")

    def _feed(self) -> None:
        if self.facts.node and time.monotonic() - self._fed > _FEED_S:
            self._exec(f"import machine\nmachine.WDT(timeout={_WATCHDOG_MS}).feed()", EXEC_S)
            self._fed = time.monotonic()

    def _ask_facts(self) -> Facts:
        text = self._exec(_FACTS % _WATCHDOG_MS, EXEC_S)
        self._fed = time.monotonic()
        try:
            name, version, machine, node = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            raise DeviceError(self.port, f"answered {text.strip()[:60]!r}") from None
        if name != "micropython":
            raise DeviceError(self.port, f"this is {name}, not MicroPython: `fieldhand flash NODE`")
        return Facts(version, machine, bool(node))

    def _attention(self) -> None:
        """Stop what runs and get into the raw REPL."""
        transport = self._need()
        heard = bytearray()
        if not _raw_repl(transport, heard, _ATTENTION_S, every=0.5):
            # Ctrl-C comes through while MicroPython starts, however soon its program hangs.
            with contextlib.suppress(OSError):
                transport.serial.pulse_reset()
            if not _raw_repl(transport, heard, _AFTER_RESET_S, every=0.1):
                raise DeviceError(self.port, symptoms.of_silence(bytes(heard)))


def _open(port: str) -> Transport:
    try:
        from fieldhand.device.transport import Transport
    except ImportError as error:
        from fieldhand.paths import MissingPart

        missing = (error.name or "mpremote").partition(".")[0]
        name = {"serial": "pyserial"}.get(missing, missing)
        raise MissingPart(f"no {name}: pip install 'fieldhand[board]'") from None
    try:
        return Transport(port)
    except (OSError, ValueError) as error:  # pyserial: a URL it cannot read is a ValueError
        raise ports.explain(error, port) from error


def _raw_repl(transport: Transport, heard: bytearray, seconds: float, every: float) -> bool:
    """Ask for the raw REPL again and again; what else comes is added to `heard`."""
    wire = transport.serial
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        start = len(heard)
        # One Ctrl-C, then time: another one would interrupt what puts the outputs off.
        wire.write(b"\r\x03")
        heard += wire.some(every)
        wire.write(b"\x01")
        until = time.monotonic() + max(every, 0.2)
        while time.monotonic() < until:
            heard += wire.some(0.05)
            if _RAW in heard[max(0, start - len(_RAW)) :] and _in_step(transport):
                return True
    return False


def _in_step(transport: Transport) -> bool:
    """Whether the raw REPL does what it is told; what it had still to answer is behind us then."""
    mark = os.urandom(4).hex()
    transport.serial.write(f"print('{mark}')\x04".encode())
    end = mark.encode() + b"\r\n\x04\x04>"
    transport.deadline = time.monotonic() + _STEP_S
    heard = transport.read_until(1, end)
    transport.deadline = None
    if not heard.endswith(end):
        return False
    transport.serial.push_back(b">")
    transport.in_raw_repl = True
    return True


def _restart(transport: Transport) -> None:
    transport.exec_raw_no_follow("import machine\nmachine.reset()")
    transport.in_raw_repl = False


def _back_to_repl(transport: Transport) -> bool:
    """After code that did not end, or of which we did not wait for the end."""
    return _raw_repl(transport, bytearray(), _AGAIN_S, every=0.5)


def _let_go_on(transport: Transport, *, ready: bool) -> None:
    """Start the node again that was stopped, whatever state the REPL is in."""
    if ready or _back_to_repl(transport):
        _restart(transport)
    else:
        transport.serial.pulse_reset()


# `mk(path)` makes the folders a file is in.
MAKE_FOLDERS = """
import os
def mk(p):
 for i in range(1, len(p)):
  if p[i] == '/':
   try: os.mkdir(p[:i])
   except OSError: pass
"""
