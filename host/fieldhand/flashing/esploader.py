"""An ESP32 in download mode: the one place that speaks to esptool.

API: https://docs.espressif.com/projects/esptool/en/latest/esp32/esptool/scripting.html. esptool
keeps its logger for the whole process, so a process flashes one board at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fieldhand import paths
from fieldhand.device import ports
from fieldhand.errors import FieldhandError

if TYPE_CHECKING:
    from serial import Serial

ROM_BAUD = 115_200
BAUD = 460_800  # all the USB serial chips of DevKits take it
CONNECT_ATTEMPTS = 3

# How esptool ends a refusal, before it has written anything.
_FORCE = re.compile(r"\s*Use (--force|the force argument)\b.*")

Log = Callable[[str], None]
# (bytes of flash written, bytes of flash to write)
Progress = Callable[[int, int], None]

_SIZES = {"KB": 1 << 10, "MB": 1 << 20}
# What esptool's FatalError says -> what to do about it.
_ADVICE = (
    (
        r"wrong boot mode|download mode",
        "the board did not go into download mode: hold its BOOT button, press EN, let BOOT go "
        "when it connects",
    ),
    (
        r"failed to connect|no serial data|no more data|timed out waiting for packet",
        "no ESP32 answers: is it the right port? If so, hold the board's BOOT button, press EN, "
        "and repeat; nothing may be wired to GPIO0",
    ),
    (
        r"autodetect|unexpected chip|unsupported by this version",
        "the chip is none that the installed esptool knows: is it an ESP32?",
    ),
    (
        r"md5|written flash region is empty",
        "what was written does not read back: the flash chip is worn, or the power is weak. "
        "Try another cable and socket",
    ),
    (
        r"noise|corrupt|invalid head|content transfer|checksum|baud|truncated|"
        r"failed to (write|read)|stopped",
        "the line is noisy: try a shorter cable, or --baud 115200",
    ),
)


class LoaderError(FieldhandError):
    """The board does not answer as an ESP32 in download mode should."""


class Refused(LoaderError):
    """esptool will not write this to this chip; flash is as it was."""


class Loader:
    """A chip in download mode with esptool's stub running in its RAM; flash is untouched so far.

    A context manager. `chip` is esptool's name ("esp32s3"), `title` the maker's ("ESP32-S3"),
    `flash_size` in bytes, None if the flash chip is unknown; `locked` names the protections
    burnt into the chip that keep us out, or is None.
    """

    chip: str
    title: str
    mac: str
    flash_size: int | None
    locked: str | None

    def __init__(self, port: str, *, baud: int = BAUD, log: Log | None = None) -> None:
        """Reset the board at `port` into download mode. Raises PortError, LoaderError, MissingPart.

        esptool's own messages go to `log`.
        """
        _esptool()
        ports.check(port)
        self.port = port
        # A bare TCP socket has no reset lines, a pseudo-terminal neither.
        self.resets = not (port.startswith("socket://") or ports.is_pty(port))
        self._log = log or _silent
        self._esp: Any = None
        try:
            with self._translated():
                self._connect(baud)
        except BaseException:
            self.close()
            raise

    def _connect(self, baud: int) -> None:
        from esptool import cmds

        before = "default-reset" if self.resets else "no-reset"
        port: Any = self.port
        if self.port.startswith("rfc2217://"):
            port = _network_port(self.port)
        esp = cmds.detect_chip(port, ROM_BAUD, before, connect_attempts=CONNECT_ATTEMPTS)
        self._esp = esp
        self.title = str(esp.CHIP_NAME)
        self.chip = self.title.lower().replace("-", "")
        self.locked = _locks(esp)
        self.mac = ""
        self.flash_size = None
        if self.locked:
            return
        self.mac = ":".join(f"{byte:02x}" for byte in esp.read_mac("BASE_MAC"))
        self._esp = esp = cmds.run_stub(esp)
        # Its own retries take half a minute in silence; running it again says what is going on.
        esp.WRITE_FLASH_ATTEMPTS = 1
        if baud != ROM_BAUD:
            esp.change_baud(baud)
        cmds.attach_flash(esp)
        self.flash_size = _bytes(cmds.detect_flash_size(esp))

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port; the board stays in download mode unless `reset` was called."""
        if self._esp is not None:
            try:
                self._esp._port.close()
            except Exception:
                pass  # a port that went away says so in many ways, and is closed
            self._esp = None

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes of flash from `offset`. Raises PortError, LoaderError."""
        from esptool import cmds

        with self._translated():
            data: bytes = cmds.read_flash(self._esp, offset, size, no_progress=True)
            return data

    def write(
        self, segments: Sequence[tuple[int, bytes]], progress: Progress | None = None
    ) -> None:
        """Erase and write each (offset, bytes), and compare its MD5. Raises PortError, LoaderError.

        An offset is the beginning of a sector of 4 kB.
        """
        from esptool import cmds

        bar = _Bar([len(data) for _, data in segments], progress or _unseen)
        with self._translated(bar.step):
            cmds.write_flash(self._esp, list(segments))

    def reset(self) -> Serial:
        """Start the program that is in flash; returns the open port, at the console's rate."""
        from esptool import cmds

        with self._translated():
            console: Serial = self._esp._port
            console.baudrate = ROM_BAUD
            console.reset_input_buffer()
            if self.resets:
                cmds.reset_chip(self._esp, "hard-reset")
            return console

    @contextmanager
    def _translated(self, progress: Progress | None = None) -> Iterator[None]:
        """esptool's errors as ours, its messages to `log`."""
        with _logging(self._log, progress):
            try:
                yield
            except FieldhandError:
                raise
            except Exception as error:
                # esptool raises FatalError, pyserial OSErrors, and garbage from the line becomes
                # struct.error, RuntimeError and more: none is a maker's business.
                raise _explained(error, self.port) from error


def identify(port: str, *, log: Log | None = None) -> tuple[str, str]:
    """(title of the chip, its MAC), and the board started again. Raises as `Loader`."""
    with Loader(port, baud=ROM_BAUD, log=log) as loader:
        if not loader.locked:
            loader.reset()
        return loader.title, loader.mac


class _Bar:
    """esptool counts the compressed bytes of each segment anew: here they become one count."""

    def __init__(self, sizes: Sequence[int], progress: Progress) -> None:
        self._sizes = sizes
        self._progress = progress
        self._number = 0
        self._full = False

    def step(self, done: int, total: int) -> None:
        if self._full and self._number < len(self._sizes) - 1:
            self._number += 1
        self._full = done >= total
        before = sum(self._sizes[: self._number])
        share = done / total if total else 1.0
        self._progress(before + int(share * self._sizes[self._number]), sum(self._sizes))


def _explained(error: Exception, port: str) -> FieldhandError:
    known = ports.explain(error, port)
    if known.kind != "other":
        return known
    # A program that listens without the lock takes the answers away.
    if not ports.is_pty(port) and (names := ports.holders(port)):
        return ports.PortError(f"{port}: is in use by {', '.join(names)}: end it", port, "busy")
    text = " ".join(str(error).split()) or type(error).__name__
    if _FORCE.search(text):
        return Refused(f"{port}: {_FORCE.sub('', text)}")
    for pattern, advice in _ADVICE:
        if re.search(pattern, text, re.IGNORECASE):
            return LoaderError(f"{port}: {advice}")
    return LoaderError(f"{port}: {text}")


def _locks(esp: Any) -> str | None:
    """Protections burnt into the chip: with flash encryption plain data would never start."""
    if esp.secure_download_mode:
        return "secure download mode"
    found = [
        name
        for name, enabled in (
            ("flash encryption", esp.get_flash_encryption_enabled()),
            ("secure boot", esp.get_secure_boot_enabled()),
        )
        if enabled
    ]
    return " and ".join(found) or None


def _bytes(size: str | None) -> int | None:
    """4194304 for esptool's "4MB"."""
    if size is None:
        return None
    return int(size[:-2]) * _SIZES[size[-2:]]


def _network_port(url: str) -> Serial:
    """pyserial negotiates everything anew, 50 ms and more, whenever a timeout is set.

    esptool sets it twice a command: flashing took 34 s here, now it is 5.
    """
    from serial.rfc2217 import Serial

    class Port(Serial):  # type: ignore[misc, unused-ignore]
        @property
        def timeout(self) -> float | None:
            return self._timeout

        @timeout.setter
        def timeout(self, seconds: float | None) -> None:
            self._timeout = seconds

    return Port(url, ROM_BAUD)


def _silent(text: str) -> None:
    pass


def _unseen(done: int, total: int) -> None:
    pass


def _esptool() -> None:
    try:
        import esptool.cmds  # noqa: F401
    except ImportError:
        raise paths.MissingPart("no esptool: pip install 'fieldhand[board]'") from None


@contextmanager
def _logging(log: Log, progress: Progress | None) -> Iterator[None]:
    """For a while esptool says what it has to say to us, not to stdout."""
    from esptool.logger import TemplateLogger
    from esptool.logger import log as esptool_log

    class Captured(TemplateLogger):
        def print(self, *args: Any, **kwargs: Any) -> None:
            text = " ".join(str(arg) for arg in args).strip()
            if text:
                log(text)

        note = warning = error = print

        def stage(self, finish: bool = False) -> None:
            pass

        def progress_bar(self, cur_iter: int, total_iters: int, *args: Any, **kwargs: Any) -> None:
            if progress is not None:
                progress(cur_iter, total_iters)

        def set_verbosity(self, verbosity: str) -> None:
            pass

    restore = _logger_restorer()
    esptool_log.set_logger(Captured())
    try:
        yield
    finally:
        restore()


def _logger_restorer() -> Callable[[], None]:
    from esptool import logger

    owner = getattr(logger, "EspLog", None)
    if owner is None:  # esptool 5.1: `set_logger` changes the class of the one logger
        kind = type(logger.log)
        return lambda: setattr(logger.log, "__class__", kind)
    instance = owner.instance
    return lambda: setattr(owner, "instance", instance)
