"""A serial port with a deadline for every wait. Imported where it is used: pyserial is optional."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import serial

BAUD = 115200
READ_S = 15.0  # one answer of the protocol; a board that collects garbage or erases is slow
_POLL_S = 0.1
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
        self._dead = False

    def some(self, seconds: float = _POLL_S) -> bytes:
        """What has come, at most `seconds` from now; empty where nothing has."""
        deadline = time.monotonic() + seconds
        while not self._ahead:
            self._fill()
            if time.monotonic() >= deadline:
                break
        found, self._ahead = bytes(self._ahead), bytearray()
        return found

    def push_back(self, data: bytes) -> None:
        self._ahead[:0] = data

    def read(self, size: int = 1) -> bytes:
        deadline = time.monotonic() + READ_S
        while len(self._ahead) < size and time.monotonic() < deadline:
            self._fill()
        found = bytes(self._ahead[:size])
        del self._ahead[:size]
        return found

    def _fill(self) -> None:
        try:
            self._ahead += self.port.read(max(1, self.port.in_waiting))
        except OSError:
            self._dead = True
            raise

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
        if not self._dead:  # a URL would wait for an answer
            with contextlib.suppress(OSError):
                self.port.rts = False
                self.port.dtr = False
        with contextlib.suppress(OSError):
            self.port.close()
