"""HTTP connections: how many there may be, and how long one may take to ask something.

WebSockets begin as such, and are refused without a fuss.

A connection that asks nothing costs a file descriptor, of which a process has few; without any left
it could not even open its database. So there is a limit below theirs, and a time for each request.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from fieldhand.records import printable
from fieldhand.service.api.guard import HEADERS

# File descriptors for the database, the broker and the log.
RESERVED = 128
# Told again, that more are taken, when so much of the limit is free.
FREE_AGAIN = 0.1
_SAFE = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
FULL = (
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
    f"Connection: close\r\n{_SAFE}\r\n"
).encode()
NOT_HTTP = (
    f"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n{_SAFE}\r\n"
).encode()
# In the extensions of a request's scope: ends its connection at once, whatever waits to be sent;
# and keeps the kernel from taking more than LIVE_SEND_BYTES ahead of its client.
ABORT = "fieldhand.abort"
LIVE = "fieldhand.live"
# Linux takes twice as much, with its own records; unasked it takes up to 4 MB, which at a hundred
# events a second is a minute that a client is behind and nobody sees it.
LIVE_SEND_BYTES = 65_536

_log = logging.getLogger(__name__)


def allowed(wanted: int) -> int:
    """How many of `wanted` connections this process may have; raises its own limit if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + RESERVED
    if soft != resource.RLIM_INFINITY and soft < need:
        most = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft == resource.RLIM_INFINITY or soft >= need:
        return wanted
    _log.warning("%d connections at once, not %d: the limit of open files", soft - RESERVED, wanted)
    return max(1, soft - RESERVED)


class Limits:
    """What all connections of a server share. `request_s`: from its first byte to its last."""

    def __init__(self, connections: int, request_s: float) -> None:
        self.connections = connections
        self.request_s = request_s
        self.refused = 0
        self._full = False

    def protocol(self) -> type[asyncio.Protocol]:
        """A protocol for uvicorn that keeps to them."""
        return type("LimitedProtocol", (_Limited,), {"limits": self})

    def take(self, there: int) -> bool:
        """Whether one more may come to those that are there."""
        if there < self.connections:
            if self._full and there < self.connections * (1 - FREE_AGAIN):
                self._full = False
                _log.warning("connections are taken again; %d were refused so far", self.refused)
            return True
        self.refused += 1
        if not self._full:
            self._full = True
            _log.warning("%d connections are open, more are refused", there)
        return False


class _Limited(HttpToolsProtocol):
    limits: Limits
    _request_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        taken = self.limits.take(len(self.connections))
        super().connection_made(transport)
        if taken:
            self._expect()
        else:
            transport.write(FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._expect()
        super().on_message_begin()
        transport = self.transport
        extensions = {ABORT: transport.abort, LIVE: lambda: _send_little_ahead(transport)}
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]

    def send_400_response(self, msg: str) -> None:
        self.transport.write(NOT_HTTP)
        self.transport.close()

    def on_message_complete(self) -> None:
        self._done()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._done()
        super().handle_websocket_upgrade()

    def _expect(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(self.limits.request_s, self._too_late)

    def _done(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _too_late(self) -> None:
        self._request_timer = None
        transport: Any = self.transport
        if not transport.is_closing():
            transport.close()


class Sockets(WebSocketsSansIOProtocol):
    """A live WebSocket for uvicorn, which takes one that was refused for one that was forgotten."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _send_little_ahead(transport)

    async def send(self, message: Any) -> None:
        await super().send(message)
        kind, refusal = message["type"], self.initial_response
        if kind == "websocket.http.response.body" and refusal and not message.get("more_body"):
            self.handshake_complete = True
            path = printable(self.scope["path"])
            _log.info("a WebSocket for %s was refused: %d", path, refusal[0])


def _send_little_ahead(transport: asyncio.BaseTransport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LIVE_SEND_BYTES)
