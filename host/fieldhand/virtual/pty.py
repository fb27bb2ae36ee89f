"""The port without reset lines: a pseudo-terminal, which has none (`TIOCMSET` gives ENOTTY).

What stands for them: a SYNC packet of esptool is the reset with the boot button held, and closing
the port after a download is the reset afterwards.
"""

from __future__ import annotations

import asyncio
import os
import termios
import tty

from fieldhand.virtual.uart import Side

# SLIP, request, SYNC (0x08), 36 bytes (esptool's "Serial Protocol").
SYNC = b"\xc0\x00\x08\x24\x00"
_READ_SIZE = 65536


class PtyPort:
    """A pseudo-terminal; `path` is what a tool opens. Everything in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, side: Side) -> None:
        self._loop = loop
        self._side = side
        self._unsent = bytearray()
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self.path = os.ttyname(slave)
        # While we hold the other end open, it keeps its settings and nobody's closing it is seen:
        # we let go with the first byte that a tool sends.
        self._slave: int | None = slave
        tty.setraw(slave)
        loop.add_reader(self._master, self._readable)

    @property
    def unsent(self) -> int:
        """Bytes the host has not taken yet."""
        return len(self._unsent)

    def send(self, data: bytes) -> None:
        """To the host; where nobody reads, the oldest are lost."""
        self._unsent += data
        del self._unsent[: -self._side.max_unread]
        self._write()

    def cut(self) -> None:
        """The cable is pulled: for whoever has it open, it is gone."""
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        os.close(self._master)
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._master, self._unsent)]
        except BlockingIOError:
            if self._slave is not None:  # nobody reads: make room for what is new
                termios.tcflush(self._slave, termios.TCIFLUSH)
                del self._unsent[:-4096]
                self._loop.call_soon(self._write)
            else:
                self._loop.add_writer(self._master, self._write)
            return
        except OSError:
            self._unsent.clear()  # closed; the reader tells
        self._loop.remove_writer(self._master)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last who had it open closed it
            data = b""
        if not data:
            self._slave = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            tty.setraw(self._slave)
            termios.tcflush(self._slave, termios.TCIOFLUSH)
            self._unsent.clear()
            self._side.closed(self)
            return
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None
        self._side.received(self, data)
