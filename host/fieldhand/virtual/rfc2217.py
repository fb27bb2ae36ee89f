"""The serial port with reset lines: telnet with RFC 2217, pyserial's `rfc2217://host:port`."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from fieldhand import paths
from fieldhand.virtual.uart import Side

_IAC = b"\xff"
# How long a second host is left without an answer: pyserial gives up after 3 s.
_REFUSAL_S = 10.0


class NetworkPort(asyncio.Protocol):
    """One connection to the port."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._transport: asyncio.Transport | None = None
        self._manager: Any = None
        self._open = False
        self._normal: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        from serial import rfc2217

        self._transport = cast(asyncio.Transport, transport)
        self._open = self._side.opened(self)
        if not self._open:
            # Closing it would show as a broken cable.
            asyncio.get_running_loop().call_later(_REFUSAL_S, self._transport.abort)
            return
        self._normal = rfc2217.M_NORMAL
        self._manager = rfc2217.PortManager(_Settings(self._side), self._transport, None)

    def data_received(self, data: bytes) -> None:
        if not self._open:
            return
        manager = self._manager
        # pyserial looks at every byte: only where there are commands in between.
        if _IAC in data or manager.mode != self._normal or manager.suboption is not None:
            data = b"".join(manager.filter(data))
        if data and self._open:
            self._side.received(self, data)

    def send(self, data: bytes) -> None:
        """To the host."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() < self._side.max_unread:
            transport.write(data.replace(_IAC, _IAC + _IAC))

    @property
    def unsent(self) -> int:
        """Bytes the host has not taken yet."""
        transport = self._transport
        return 0 if transport is None else transport.get_write_buffer_size()

    def cut(self) -> None:
        """The cable is pulled."""
        self._open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._open:
            self._open = False
            self._side.closed(self)


class _Settings:
    """What PortManager sets and reads of a serial port: any speed will do, all is ready."""

    cts = dsr = cd = True
    ri = False

    def __init__(self, side: Side) -> None:
        self._side = side
        self.baudrate = 115200
        self.bytesize = 8
        self.parity = "N"
        self.stopbits = 1
        self.xonxoff = False
        self.rtscts = False
        self.break_condition = False

    @property
    def dtr(self) -> bool:
        return False

    @dtr.setter
    def dtr(self, on: bool) -> None:
        self._side.lines(on, None)

    @property
    def rts(self) -> bool:
        return False

    @rts.setter
    def rts(self, on: bool) -> None:
        self._side.lines(None, on)

    def reset_input_buffer(self) -> None:
        """Nothing waits here."""

    reset_output_buffer = reset_input_buffer


async def listen(side: Side, port: int) -> tuple[asyncio.Server, int]:
    """(server, its port) on 127.0.0.1; `port` 0: any free one. Raises MissingPart, OSError."""
    try:
        import serial.rfc2217  # noqa: F401
    except ImportError:
        raise paths.MissingPart("no pyserial: pip install 'fieldhand[virtual]'") from None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: NetworkPort(side), "127.0.0.1", port)
    return server, server.sockets[0].getsockname()[1]
