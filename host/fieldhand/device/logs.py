"""What a node prints, line by line with the time it came, without disturbing it."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fieldhand.device import ports, symptoms
from fieldhand.device.bootlog import LOGGED
from fieldhand.device.tracebacks import Frame, Resolver

if TYPE_CHECKING:
    from fieldhand.device.wire import Wire

# A line without an end, such as the REPL's prompt, is shown after this long.
_IDLE_S = 0.5
_RETRY_S = 0.1  # a board starts within a second
MAX_LINE = 4096  # bytes; a longer line is cut in pieces
_JUDGED = 400  # bytes without one readable line, after which somebody is told


@dataclass(frozen=True)
class Line:
    """A line of the console. `time`: Unix seconds of its first byte. `frame` where it is a
    traceback's and the source is at hand."""

    time: float
    text: str
    frame: Frame | None = None

    @property
    def level(self) -> str | None:
        """ "I", "W" or "E" of the node's own lines."""
        match = LOGGED.match(self.text)
        return match["level"] if match else None

    @property
    def uptime_s(self) -> float | None:
        """Seconds since the node's start, of its own lines."""
        match = LOGGED.match(self.text)
        return float(match["uptime"]) if match else None


class Splitter:
    """Lines out of what a port gives."""

    def __init__(self) -> None:
        self._resolver = Resolver()
        self._rest = b""
        self._began = self._last = 0.0

    def feed(self, data: bytes, now: float) -> Iterator[Line]:
        """`data`, which came at `now` (Unix seconds); b"" when nothing did."""
        if data and not self._rest:
            self._began = now
        if data:
            self._last = now
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE or self._rest and now - self._last > _IDLE_S:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            yield self._line(line)
            self._began = now

    def _line(self, raw: bytes) -> Line:
        text = "".join(
            c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}"
            for c in raw.decode("utf-8", "replace").rstrip("\r")
        )
        return Line(self._began, text, self._resolver.frame(text))


def follow(
    port: str,
    *,
    reset: bool = False,
    seconds: float | None = None,
    reconnect: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Line]:
    """Lines as they come, for `seconds` or for ever. The board is not reset unless `reset` says so.

    `reconnect`: a board that is unplugged is waited for; `tell` hears of that in words. Raises
    PortError, MissingPart.
    """
    try:
        from fieldhand.device.wire import Wire
    except ImportError:
        from fieldhand.paths import MissingPart

        raise MissingPart("no pyserial: pip install 'fieldhand[board]'") from None
    deadline = None if seconds is None else time.monotonic() + seconds
    lost = False
    while True:
        wire = None
        try:
            wire = Wire(port)
            if lost:
                tell(f"{port} is back")
                lost = False
            if reset:
                _reset(wire, port)
                reset = False
            yield from _until(wire, deadline, tell)
            return
        except (OSError, ValueError) as error:
            told = ports.explain(error, port)
            if not reconnect or told.kind in ("permission", "busy") and not lost:
                raise told from error
            if wire is None and not lost:
                raise told from error  # it was not there to begin with
            if not lost:
                tell(f"{port} is gone; waiting for it to come back (Ctrl-C ends)")
                lost = True
        finally:
            if wire is not None:
                wire.close()
        if deadline is not None and time.monotonic() >= deadline:
            return
        time.sleep(_RETRY_S)


def _reset(wire: Wire, port: str) -> None:
    try:
        wire.pulse_reset()
    except OSError as error:
        if error.errno != errno.ENOTTY:
            raise
        raise ports.PortError(f"{port}: has no reset lines: press EN instead", port) from None


def _until(wire: Wire, deadline: float | None, tell: Callable[[str], None]) -> Iterator[Line]:
    splitter = Splitter()
    judged: bytes | None = b""
    while deadline is None or time.monotonic() < deadline:
        data = wire.some(0.1)
        if judged is not None:
            judged += data
            if len(judged) >= _JUDGED:
                if symptoms.garbage(judged):
                    tell(symptoms.of_silence(judged))
                judged = None
        yield from splitter.feed(data, time.time())
