"""Serial ports: which one the board is on, and what is wrong with it in a maker's words."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldhand.errors import FieldhandError

VIRTUAL = "virtual"

# USB vendors of the serial chips on ESP32 boards (http://www.linux-usb.org/usb.ids).
_CHIPS = {
    0x10C4: "CP210x",
    0x1A86: "CH340/CH9102",
    0x0403: "FTDI",
    0x303A: "ESP32's own USB",
}
_UDEV_FILE = "/etc/udev/rules.d/99-fieldhand.rules"
_SERIAL_GROUPS = ("dialout", "uucp")
_PTY_SLAVES = range(136, 144)  # device majors, Linux Documentation/admin-guide/devices.txt

# What pyserial says of a device that went away without giving an errno.
_GONE_TEXT = re.compile(
    r"device disconnected|no data \(device|Input/output error|No such device|"
    r"Bad file descriptor|port is not open|Attempting to use a port that is not open|"
    r"connection failed|socket disconnected|remote rejected",
    re.IGNORECASE,
)
_KINDS = {
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.EBUSY: "busy",
    errno.EAGAIN: "busy",
    errno.ENOENT: "absent",
    errno.ENOTDIR: "absent",
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "refused",
    errno.ENETUNREACH: "refused",
    errno.EIO: "gone",
    errno.ENXIO: "gone",
    errno.ENODEV: "gone",
    errno.EBADF: "gone",
    errno.EPIPE: "gone",
    errno.ECONNRESET: "gone",
}


class PortError(FieldhandError):
    """A serial port cannot be used.

    `kind`: none, several, absent, refused, permission, busy, gone, silent or other.
    """

    def __init__(self, message: str, port: str | None = None, kind: str = "other") -> None:
        super().__init__(message)
        self.port = port
        self.kind = kind


@dataclass(frozen=True)
class Port:
    """A serial port of this machine. `chip` is its USB serial chip, None: not one of a board's."""

    device: str
    description: str
    chip: str | None = None
    vendor: int | None = None
    product: int | None = None
    serial_number: str | None = None

    @property
    def likely(self) -> bool:
        return self.chip is not None

    def __str__(self) -> str:
        ids = "" if self.vendor is None else f" {self.vendor:04x}:{self.product or 0:04x}"
        return f"{self.device} ({self.description}{ids})"


def candidates() -> list[Port]:
    """The machine's serial ports, those with a USB serial chip of ESP32 boards first.

    Raises MissingPart without pyserial.
    """
    try:
        from serial.tools import list_ports
    except ImportError:
        from fieldhand.paths import MissingPart

        raise MissingPart("no pyserial: pip install 'fieldhand[board]'") from None
    found = [_port(info) for info in sorted(list_ports.comports())]
    return sorted(found, key=lambda port: not port.likely)


def choose(port: str | None = None, *, among: Sequence[Port] | None = None) -> str:
    """The port to use: a path or URL as given, "virtual" resolved, None: the one there is.

    Raises PortError when there is none or the choice is the user's.
    """
    if port == VIRTUAL:
        return _virtual()
    if port:
        return port
    found = candidates() if among is None else among
    likely = [each for each in found if each.likely]
    if len(likely) == 1:
        return likely[0].device
    if likely:
        raise PortError(
            f"{len(likely)} boards are connected, say which: "
            + "; ".join(f"--port {each.device} ({_described(each)})" for each in likely),
            kind="several",
        )
    others = "; ".join(str(each) for each in found)
    raise PortError(
        "no board found on USB. Does the cable carry data (many only charge)? Is its light on? "
        "Plug it in again and look at `lsusb` and `sudo dmesg | tail` for a CP210x, CH340 or FTDI"
        + (f". Not taken for a board, but --port takes it: {others}" if others else ""),
        kind="none",
    )


def check(port: str) -> None:
    """Raise PortError now for what would make a tool fail at `port`; a URL is not looked at.

    Opening a tty raises DTR and RTS together, which the reset circuit of a DevKit ignores.
    """
    if "://" in port:
        return
    import fcntl

    try:
        handle = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise explain(error, port) from None
    try:
        if not os.isatty(handle):
            raise PortError(f"{port}: is not a serial port", port, "absent")
        # Serial tools agree on flock to keep each other out (pyserial: `exclusive`).
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise explain(error, port) from None
    finally:
        os.close(handle)
    if not is_pty(port) and (names := holders(port)):
        raise _busy(port, names)


def explain(error: BaseException, port: str) -> PortError:
    """A PortError that says in a maker's words what `error`, met at `port`, comes from.

    `error` may be an OSError, or anything raised by pyserial, esptool or mpremote.
    """
    if isinstance(error, PortError):
        return error
    kind = _kind(error)
    if kind == "permission":
        return PortError(f"{port}: no permission: {_permission_help(port)}", port, kind)
    if kind == "busy":
        return _busy(port, holders(port))
    if kind == "absent":
        return PortError(f"{port}: no such port{_others(port)}", port, kind)
    if kind == "refused":
        return PortError(f"{port}: nothing answers at this address", port, kind)
    if kind == "gone":
        if names := ([] if is_pty(port) else holders(port)):
            return _busy(port, names)
        return PortError(
            f"{port}: the board went away: was the cable pulled, or is it loose or too long? "
            "Plug it in again and repeat",
            port,
            kind,
        )
    if kind == "silent":
        return PortError(
            f"{port}: the board takes no data: press its EN button, or plug it in again",
            port,
            kind,
        )
    text = str(error).strip() or type(error).__name__
    return PortError(f"{port}: {' '.join(text.split())}", port)


def holders(port: str) -> list[str]:
    """Other processes that have `port` open, as "picocom (pid 123)"; needs Linux's /proc.

    Those of another user are seen by root only.
    """
    try:
        device = os.stat(port).st_rdev
    except OSError:
        return []
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            if any(_same_device(handle, device) for handle in (process / "fd").iterdir()):
                name = (process / "comm").read_text("utf-8", "replace").strip()
                found.append(f"{name} (pid {process.name})")
        except OSError:
            continue  # it ended, or is another user's
    return sorted(found)


def is_pty(port: str) -> bool:
    """Whether `port` is a pseudo-terminal: it has no reset lines, and its maker holds it too."""
    try:
        return os.major(os.stat(port).st_rdev) in _PTY_SLAVES
    except OSError:
        return port.startswith("/dev/pts/")


def udev_rule(port: str) -> str:
    """The udev rule that lets everybody use the board at `port`."""
    vendor = next((p.vendor for p in candidates() if p.device == os.path.realpath(port)), None)
    match = f'ATTRS{{idVendor}}=="{vendor:04x}"' if vendor is not None else 'KERNEL=="tty[UA]*"'
    if vendor is None and os.path.exists(port) and not is_pty(port):
        match = f'KERNEL=="{re.sub("[0-9]+$", "*", os.path.basename(os.path.realpath(port)))}"'
    return f'SUBSYSTEM=="tty", {match}, MODE="0666"'


def _port(info: Any) -> Port:
    text = info.description if info.description and info.description != "n/a" else info.name
    return Port(info.device, text, _CHIPS.get(info.vid), info.vid, info.pid, info.serial_number)


def _described(port: Port) -> str:
    number = f", serial number {port.serial_number}" if port.serial_number else ""
    return f"{port.description}{number}"


def _virtual() -> str:
    try:
        from fieldhand import virtual
    except ImportError as error:
        from fieldhand.paths import MissingPart

        raise MissingPart(f"no {error.name}: pip install 'fieldhand[virtual]'") from None
    urls: list[str] = virtual.running()
    if len(urls) == 1:
        return urls[0]
    if urls:
        raise PortError(
            "several virtual boards run, say which: " + "; ".join(f"--port {u}" for u in urls),
            VIRTUAL,
            "several",
        )
    raise PortError(
        "no virtual board runs: start one in another terminal with `fieldhand board virtual`",
        VIRTUAL,
        "none",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _kind(error: BaseException) -> str:
    for each in _chain(error):
        text = str(each)
        if type(each).__name__ == "SerialTimeoutException" or "Write timeout" in text:
            return "silent"
        # esptool and pyserial put the number into the text; pyserial calls EAGAIN of flock so.
        number = each.errno if isinstance(each, OSError) else None
        if number is None and (match := re.search(r"\[Errno (\d+)\]|\((\d+), '", text)):
            number = int(match[1] or match[2])
        if number in _KINDS:
            return _KINDS[number]
        # The last: a network port that answers nobody, since another one has it.
        if re.search(r"exclusively lock|in use by another program|to support RFC2217", text):
            return "busy"
        if _GONE_TEXT.search(text):
            return "gone"
    return "other"


def _busy(port: str, names: Sequence[str]) -> PortError:
    who = f"is in use by {', '.join(names)}: end it" if names else "is in use: close it there"
    return PortError(
        f"{port}: {who} (a serial monitor, `fieldhand logs`, another flash), and repeat",
        port,
        "busy",
    )


def _permission_help(port: str) -> str:
    group = "dialout"
    try:
        import grp

        owner = grp.getgrgid(os.stat(port).st_gid).gr_name
        group = owner if owner in _SERIAL_GROUPS else group
    except (ImportError, KeyError, OSError):
        pass
    return (
        f"join the group {group}: `sudo usermod -aG {group} $USER`, then log in again; or put "
        f"the line {udev_rule(port)} into {_UDEV_FILE}, run "
        "`sudo udevadm control --reload-rules && sudo udevadm trigger`, and plug it in again"
    )


def _others(port: str) -> str:
    names = [each.device for each in candidates()]
    if not names:
        return "; no serial port is here: is the board plugged in, with a cable that carries data?"
    return f"; there are: {', '.join(names)}"


def _same_device(handle: Path, device: int) -> bool:
    if not os.readlink(handle).startswith("/dev/"):
        return False
    found = os.stat(handle)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == device
