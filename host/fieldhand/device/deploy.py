"""Bring a board's files and credentials to what the fleet file and the firmware at hand say.

Only what differs is sent. It is staged beside what is there and put in place at the end by one
piece of code on the board, node.json last: a cable pulled before that changes nothing, and what
was staged is removed when the node starts (its names end in .new, see start.py).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fieldhand.device import symptoms
from fieldhand.device.errors import DeviceError, DeviceException
from fieldhand.device.serial import MAKE_FOLDERS, Device, Progress
from fieldhand.device.tracebacks import Resolver

# All that the host puts on a node. What the node writes itself, in files and folders of other
# names, is its own and stays.
PACKAGES = ("fieldnode", "fieldproto")
START = ("boot.py", "main.py")
CONFIG = "node.json"
TOP = (*START, "ca.pem", CONFIG)

OLDEST = (1, 24, 0)
NAMESPACE = "fieldhand"
_FOLDER_BLOCKS = 2  # littlefs: a pair of them for each folder
_SPARE_BLOCKS = 4  # the node writes too, once it runs
_BOOT_S = 20.0
_TRACEBACK = re.compile(r"^Traceback.*\n(?: .*\n)+(?:\S.*)?", re.MULTILINE)
_TRACEBACK_S = 1.0

_NVS_HASHES = """
import esp32
from hashlib import sha256
from binascii import hexlify
n = esp32.NVS(%r)
b = bytearray(1024)
for k in %r:
 try: print(k, hexlify(sha256(b[:n.get_blob(k, b)]).digest()).decode())
 except OSError: pass
"""
_NVS_ID = """
import esp32
b = bytearray(256)
try: print(b[:esp32.NVS(%r).get_blob('id', b)].decode())
except OSError: pass
"""
_FROZEN = """
import sys
p = sys.path[:]
sys.path[:] = ['.frozen']
try:
 from fieldnode.version import VERSION
 print(VERSION)
except ImportError: pass
sys.path[:] = p
for n in list(sys.modules):
 if n.startswith('fieldnode'): del sys.modules[n]
"""
_NVS_SET = """
import esp32
n = esp32.NVS(%r)
for k, v in %r: n.set_blob(k, v)
n.commit()
"""
_PUT_IN_PLACE = """
from hashlib import sha256
def check(t, want):
 h = sha256()
 with open(t, 'rb') as f:
  while 1:
   b = f.read(512)
   if not b: break
   h.update(b)
 if h.digest()[:8] != want: raise OSError('damaged on its way: ' + t)
for t, p, h in parts: check(t, h)
for t, p, h in parts:
 mk(p)
 os.rename(t, p)
for p in stale: os.remove(p)
for p in folders:
 try: os.rmdir(p)
 except OSError: pass
"""


@dataclass(frozen=True)
class Plan:
    """What a deploy has to do. Sizes in bytes; `credentials` are names of NVS."""

    send: tuple[str, ...]
    remove: tuple[str, ...]
    unchanged: int
    bytes: int
    credentials: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not (self.send or self.remove or self.credentials)


@dataclass
class Report:
    """What a deploy did. `first_line`: what the node said when it started, None if not reset."""

    node: str
    port: str
    plan: Plan
    dry_run: bool
    seconds: float = 0.0
    first_line: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def bytes_per_s(self) -> float:
        return self.plan.bytes / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "port": self.port,
            "dry_run": self.dry_run,
            "sent": list(self.plan.send),
            "removed": list(self.plan.remove),
            "unchanged": self.plan.unchanged,
            "bytes": self.plan.bytes,
            "seconds": round(self.seconds, 3),
            "credentials": list(self.plan.credentials),
            "first_line": self.first_line,
        }


class WrongBoard(DeviceError):
    """The board is another node's, another chip's or somebody else's."""


def deploy(
    device: Device,
    node: str,
    files: Mapping[str, bytes],
    secrets: Mapping[str, str],
    *,
    chip: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    reset: bool = True,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Make the open `device` the node `node`: `files` by name on the node, `secrets` into NVS.

    `replace` lets it be another node, or somebody else's board, until now. Raises WrongBoard,
    DeviceError (of which "file system is full", before anything is sent, and "the node crashed",
    after), PortError.
    """
    stored = device.files(*PACKAGES, *TOP)
    _check_chip(device, chip)
    if not replace:
        _check_owner(device, node, stored)
    plan = _plan(device, stored, files, secrets)
    report = Report(node, device.port, plan, dry_run)
    if dry_run:
        return report
    began = time.monotonic()
    if plan.send or plan.remove:
        _clear(device)
        _check_space(device, stored, plan, files)
        tell(_intent(plan))
        _send(device, plan, files, progress)
    if plan.credentials:
        device.exec(
            _NVS_SET % (NAMESPACE, [(key, secrets[key].encode()) for key in plan.credentials])
        )
    report.seconds = time.monotonic() - began
    if reset:
        device.restart()
        report.first_line = _first_line(device)
    else:
        device.keep_stopped = True
    return report


def frozen(device: Device) -> str | None:
    """The version of the firmware that runs from the board's image, None where it is in files."""
    version = device.exec(_FROZEN).strip()
    return version if version and not device.files(*PACKAGES) else None


def _plan(
    device: Device,
    stored: Mapping[str, Any],
    files: Mapping[str, bytes],
    secrets: Mapping[str, str],
) -> Plan:
    changed = {
        name
        for name, data in files.items()
        if name not in stored or stored[name].sha256 != hashlib.sha256(data).hexdigest()
    }
    order = sorted(changed, key=lambda name: (name == CONFIG, name))
    stale = sorted(stored.keys() - files.keys())
    there = _nvs(device, secrets) if secrets else {}
    credentials = tuple(
        key
        for key, value in secrets.items()
        if there.get(key) != hashlib.sha256(value.encode()).hexdigest()
    )
    size = sum(len(files[name]) for name in order)
    return Plan(tuple(order), tuple(stale), len(files) - len(order), size, credentials)


def _nvs(device: Device, keys: Iterable[str]) -> dict[str, str]:
    """SHA-256 of what NVS holds: the secrets themselves do not cross the wire."""
    printed = device.exec(_NVS_HASHES % (NAMESPACE, tuple(keys)))
    return dict(line.split() for line in printed.splitlines())


def _check_chip(device: Device, chip: str | None) -> None:
    found = device.facts
    if found.micropython < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise WrongBoard(
            device.port,
            f"MicroPython {found.version} is too old, {oldest} is needed: `fieldhand flash NODE`",
        )
    _, _, name = found.machine.rpartition(" with ")
    if chip and chip.startswith("esp32") and name.startswith("ESP32"):
        actual = name.split("-")[0].split("/")[0].lower()
        if actual != chip:
            raise WrongBoard(
                device.port,
                f"the board is an {actual.upper()}, the fleet file's an {chip.upper()}: correct "
                "the node's `board`, or connect the other board",
            )


def _check_owner(device: Device, node: str, stored: Mapping[str, Any]) -> None:
    if "main.py" in stored and not any(name.startswith(PACKAGES) for name in stored):
        raise WrongBoard(
            device.port,
            f"somebody else's program is on this board (MicroPython {device.facts.version}, "
            "main.py without our firmware): --yes replaces it",
        )
    owner = device.exec(_NVS_ID % NAMESPACE).strip() or device.node_config().get("node")
    if owner and owner != node:
        raise WrongBoard(
            device.port,
            f"this board is '{owner}', not '{node}': connect the other one; --yes makes it "
            f"'{node}', with the readings it has not sent yet",
        )


def _clear(device: Device) -> None:
    """What an interrupted deploy left, which no node has removed yet."""
    device.exec("import os\nfor n in os.listdir():\n if n.endswith('.new'): os.remove(n)")


def _check_space(
    device: Device, stored: Mapping[str, Any], plan: Plan, files: Mapping[str, bytes]
) -> None:
    space = device.space()
    folders = {name.rpartition("/")[0] for name in files} - {
        name.rpartition("/")[0] for name in stored
    }
    need = sum(space.blocks_of(len(files[name])) for name in plan.send)
    need += _FOLDER_BLOCKS * len(folders) + _SPARE_BLOCKS
    if need > space.free_blocks:
        raise DeviceError(
            device.port,
            f"its file system is full: {need * space.block // 1024} kB are needed, "
            f"{space.free // 1024} kB of {space.block * space.blocks // 1024} kB are free. Nothing "
            "was changed. Let the node send what it keeps, lower its outbox_bytes, or remove files "
            "that are not the node's (`fieldhand repl`)",
        )


def _intent(plan: Plan) -> str:
    count = len(plan.send)
    removed = f", {len(plan.remove)} to remove" if plan.remove else ""
    return f"{count} file{'s' * (count != 1)} to send, {plan.bytes / 1024:.1f} kB{removed}"


def _send(
    device: Device, plan: Plan, files: Mapping[str, bytes], progress: Progress | None
) -> None:
    parts = []
    done = 0
    for number, name in enumerate(plan.send):
        part, data = f"{number}.new", files[name]
        try:
            device.send(part, data, _from(done, plan.bytes, progress))
        except DeviceException as error:
            if not error.full:
                raise
            _clear(device)
            raise DeviceError(
                device.port, f"its file system is full: {name} found no room. Nothing was changed"
            ) from None
        done += len(data)
        parts.append((part, name, hashlib.sha256(data).digest()[:8]))
    # Deepest first, so that what is empty by then goes.
    folders = {name.rpartition("/")[0] for name in plan.remove} - {""}
    deepest = sorted(folders, key=lambda name: -name.count("/"))
    code = f"parts = {parts!r}\nstale = {plan.remove!r}\nfolders = {deepest!r}\n"
    device.exec(MAKE_FOLDERS + code + _PUT_IN_PLACE, timeout=120)


def _from(done: int, whole: int, progress: Progress | None) -> Progress | None:
    return None if progress is None else lambda now, _: progress(done + now, whole)


def _first_line(device: Device) -> str:
    """The first line the node prints; a crash of its start is a DeviceError."""
    heard = b""
    deadline = time.monotonic() + _BOOT_S
    while time.monotonic() < deadline:
        heard += device.heard(0.2)
        for line in symptoms.node_lines(heard):
            if not line.startswith("E "):
                return line
        if b"Traceback" in heard:
            deadline = min(deadline, time.monotonic() + _TRACEBACK_S)
    text = heard.decode("utf-8", "replace").replace("\r\n", "\n")
    if trace := _TRACEBACK.search(text):
        resolved = Resolver().text(trace[0])
        raise DeviceError(device.port, f"the node crashes at its start:\n{resolved}")
    own = symptoms.node_lines(heard)
    if own:
        return own[0]
    if b">>> " in heard:
        raise DeviceError(device.port, "main.py ended at once: `fieldhand logs --reset` shows why")
    raise DeviceError(device.port, f"the node does not start: {symptoms.of_silence(heard)}")
