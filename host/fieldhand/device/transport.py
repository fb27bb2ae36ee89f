"""mpremote's transport over any port pyserial opens, with a deadline for every wait.

The only file that imports mpremote; imported where it is used, since mpremote is optional.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

__all__ = ["Transport", "TransportError", "TransportExecError", "Wire"]

BAUD = 115200
_POLL_S = 0.1
_READ_S = 15.0  # one answer of the protocol; a board that collects garbage or erases is slow
_WRITE_S = 10.0


class Wire:
    """A port, as mpremote uses pyserial's: `read` gives up in time, `write` too.

    A port that is opened raises DTR and RTS together and lets go of RTS first, either of which
    leaves the reset circuit of a DevKit alone.
    """

    def __init__(self, port: str) -> None:
        options: dict[str, Any] = {"baudrate": BAUD, "timeout": _POLL_S}
        if "://" not in port:
            options |= {"exclusive": True, "write_timeout": _WRITE_S}
        self.port = serial.serial_for_url(port, **options)
        self._ahead = bytearray()

    def some(self, seconds: float = _POLL_S) -> bytes:
        """What has come, at most `seconds` from now; empty where nothing has."""
        deadline = time.monotonic() + seconds
        while not self._ahead:
            self._ahead += self.port.read(max(1, self.port.in_waiting))
            if time.monotonic() >= deadline:
                break
        found, self._ahead = bytes(self._ahead), bytearray()
        return found

    def push_back(self, data: bytes) -> None:
        self._ahead[:0] = data

    def read(self, size: int = 1) -> bytes:
        deadline = time.monotonic() + _READ_S
        while len(self._ahead) < size and time.monotonic() < deadline:
            self._ahead += self.port.read(max(1, self.port.in_waiting))
        found = bytes(self._ahead[:size])
        del self._ahead[:size]
        return found

    def inWaiting(self) -> int:
        return len(self._ahead) + int(self.port.in_waiting)

    def write(self, data: bytes) -> None:
        self.port.write(data)

    def pulse_reset(self) -> None:
        """EN low for a moment, GPIO0 high: the program starts. As esptool's HardReset.

        Raises OSError where the port has no such lines, as a pty.
        """
        self.port.dtr = False
        self.port.rts = True
        time.sleep(0.1)
        self.port.rts = False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.port.rts = False
            self.port.dtr = False
        with contextlib.suppress(OSError):
            self.port.close()


class Transport(SerialTransport):  # type: ignore[misc,unused-ignore]
    """Raw REPL and raw paste by mpremote 1.24 or later. Raises OSError of the port, TransportError.

    `deadline` (monotonic seconds) ends whatever is waited for.
    """

    def __init__(self, port: str) -> None:
        # Not super().__init__: it cannot be told to give up, and 1.24's knows other options.
        self.in_raw_repl = False
        self.use_raw_paste = True
        self.device_name = port
        self.mounted = False
        self.is_pty = False
        self.deadline: float | None = None
        self.serial = Wire(port)

    def close(self) -> None:
        self.serial.close()

    def read_until(
        self,
        min_num_bytes: int,
        ending: bytes,
        timeout: float | None = 10,
        data_consumer: Callable[[bytes], None] | None = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        """As mpremote's, of which 1.24's would wait for ever for the first byte."""
        end = time.monotonic() + (timeout_overall or timeout or _READ_S)
        if self.deadline is not None:
            end = self.deadline
        data = bytearray()
        while time.monotonic() < end:
            got = self.serial.some()
            at = (bytes(data[-len(ending) :]) + got).find(ending)
            if at < 0:
                data += got
                continue
            taken = at + len(ending) - min(len(data), len(ending))
            self.serial.push_back(got[taken:])
            data += got[:taken]
            break
        if data_consumer is not None:
            data_consumer(bytes(data))
        return bytes(data)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """mpremote prints to stdout what it could not make sense of."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
