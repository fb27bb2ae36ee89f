"""Serves the app on a socket of its own, and stops it so that no open stream delays the end."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from fieldhand.errors import FieldhandError
from fieldhand.service.api.app import create_app
from fieldhand.service.api.connections import Limits, Sockets, allowed
from fieldhand.service.api.streams import HEARTBEAT_S
from fieldhand.service.service import Service

BACKLOG = 2048
KEEP_ALIVE_S = 15
# The kernel ends a connection whose other side acknowledges nothing for so long.
STALLED_MS = 30_000
# Nothing of interest comes from a WebSocket's client.
WS_MAX_BYTES = 65_536

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class CannotListen(FieldhandError):
    """The address of the service cannot be had."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}")
        self.host = host
        self.port = port
        self.reason = reason


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises CannotListen."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Named, or asyncio does not set TCP_NODELAY: each answer would take the 40 ms of Nagle's
        # algorithm and a delayed acknowledgement.
        sock = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # For the connections it accepts: one whose other side takes nothing, or is gone, ends.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)
            sock.bind(address)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        reason = "in use already" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotListen(host, port, reason or str(error)) from error
    return sock


def run(service: Service, sock: socket.socket, ready: Callable[[], object]) -> None:
    """Serve until SIGINT or SIGTERM. The service runs already, and is stopped by the caller."""
    settings = service.settings
    limits = Limits(allowed(settings.max_connections), settings.request_s)
    service.metrics.of_server(limits)
    config = uvicorn.Config(
        create_app(service),
        http=limits.protocol(),
        ws=Sockets,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(service.settings.drain_s) or 1,
        proxy_headers=bool(service.settings.proxies),
        forwarded_allow_ips=list(service.settings.proxies),
        # What is sent is short and the same for all: compressing it for each would cost the most.
        ws_per_message_deflate=False,
        ws_ping_interval=HEARTBEAT_S,
        ws_ping_timeout=HEARTBEAT_S,
        ws_max_size=WS_MAX_BYTES,
    )
    # uvicorn raises the signal that ended it again, when it is done: the service is to stop then,
    # not the process to die.
    before = {name: signal.signal(name, lambda *_: None) for name in _SIGNALS}
    try:
        _Server(config, service, ready).run(sockets=[sock])
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, service: Service, ready: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: Any = None) -> None:
        # uvicorn waits for every answer to end, and a stream ends with the hub only.
        self._service.hub.close()
        await super().shutdown(sockets)
