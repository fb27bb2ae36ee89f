"""An MQTT 3.1.1 broker inside this process: amqtt, run in a thread of its own.

For tests, demos and a bench with a handful of nodes. It keeps everything in memory and forgets it
when it stops; a field installation wants Mosquitto or another broker that persists.

    with Broker() as broker:                # 127.0.0.1, a free port
        client.connect(broker.host, broker.port)

Three things amqtt 0.12 leaves undone are done here, because a fleet depends on them: a client that
stays silent for one and a half times its keepalive is disconnected and its will published
(MQTT-3.1.2-24); a client that connects twice loses its first connection (MQTT-3.1.4-2), so that the
will of the dead one does not arrive minutes after the birth of the living; and a client that
connects is sent no retained messages it has not subscribed to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fieldhand.errors import BrokerUnavailable

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
KEEPALIVE_CHECK_S = 0.5
# A session that asked to be kept is forgotten after this long without its client.
SESSION_EXPIRY_S = 24 * 3600

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class BrokerCounters:
    """What the broker has done since it started. Messages are PUBLISH packets."""

    uptime_s: int
    clients_connected: int
    connects: int
    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    subscriptions: int
    retained: int


class Broker:
    """An in-process MQTT broker; a context manager.

    `port` 0 takes a free one; read `Broker.port` after the start. `users` maps names to passwords;
    without it everybody is let in, which is refused for an address other than loopback unless
    `allow_anonymous` says so. Raises `BrokerUnavailable` when the port is taken or the address is
    not this machine's.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Mapping[str, str] | None = None,
        *,
        allow_anonymous: bool | None = None,
    ) -> None:
        if allow_anonymous is None:
            allow_anonymous = host in _LOOPBACK
        if users is None and not allow_anonymous:
            raise BrokerUnavailable(
                host, port, "open to the network without users: give users, or allow_anonymous"
            )
        self.host = host
        self._wanted_port = port
        self._users = dict(users) if users is not None else None
        self._port: int | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._broker: Any = None
        self._traffic: Any = None
        self._handlers: dict[int, Any] = {}
        self._started_at = 0.0

    @property
    def port(self) -> int:
        """The TCP port it listens on. Raises RuntimeError while it does not run."""
        if self._port is None:
            raise RuntimeError("the broker is not running")
        return self._port

    @property
    def running(self) -> bool:
        return self._port is not None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, and return once connections are accepted."""
        if self._thread is not None:
            raise RuntimeError("the broker runs already")
        self._ready.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name="fieldhand-broker", daemon=True)
        self._thread.start()
        ready = self._ready.wait(START_TIMEOUT_S)
        if self._failure is not None or not ready:
            failure = self._failure
            self.stop()
            reason = _reason(failure) if failure is not None else "did not start in time"
            raise BrokerUnavailable(self.host, self._wanted_port, reason) from failure

    def stop(self) -> None:
        """Close every connection and the port. Safe to call twice."""
        thread, loop, stop = self._thread, self._loop, self._stop
        if thread is None:
            return
        if loop is not None and stop is not None and not loop.is_closed():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)
        thread.join(STOP_TIMEOUT_S)
        self._thread = None
        self._port = None

    def counters(self) -> BrokerCounters:
        """A snapshot of the counters; from any thread."""
        traffic, broker = self._traffic, self._broker
        if traffic is None or broker is None:
            raise RuntimeError("the broker is not running")
        return BrokerCounters(
            uptime_s=int(time.monotonic() - self._started_at),
            clients_connected=len(traffic.connected),
            connects=traffic.connects,
            messages_received=traffic.messages_received,
            messages_sent=traffic.messages_sent,
            bytes_received=traffic.bytes_received,
            bytes_sent=traffic.bytes_sent,
            subscriptions=sum(len(held) for held in list(broker.subscriptions.values())),
            retained=len(broker.retained_messages),
        )

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish as the broker itself; from any thread. Returns once it is queued."""
        loop, broker = self._loop, self._broker
        if loop is None or broker is None or not self.running:
            raise RuntimeError("the broker is not running")

        async def send() -> None:
            await broker.internal_message_broadcast(topic, payload, qos)
            if retain:
                await broker.retain_message(None, topic, payload, qos)

        asyncio.run_coroutine_threadsafe(send(), loop).result(START_TIMEOUT_S)

    # -- the broker's own thread -----------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as err:  # reported to start(), or lost with the daemon thread
            self._failure = err
        finally:
            self._port = None
            self._ready.set()

    async def _serve(self) -> None:
        from fieldhand.broker._amqtt import RetainedOnSubscribe, Traffic

        # amqtt logs every client's mishap; without a handler Python would print them to stderr.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).addHandler(logging.NullHandler())
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._traffic = Traffic(on_connected=self._on_connected)
        self._handlers.clear()
        # amqtt reports a taken port as a logged traceback; asked here, it is one clear error.
        _check_port(self.host, self._wanted_port)
        broker = RetainedOnSubscribe(
            {
                "listeners": {
                    "default": {
                        "type": "tcp",
                        "bind": f"{_bracketed(self.host)}:{self._wanted_port}",
                    }
                },
                "session_expiry_interval": SESSION_EXPIRY_S,
                "plugins": {
                    "fieldhand.broker._amqtt.UsersPlugin": {"users": self._users},
                    "fieldhand.broker._amqtt.TrafficPlugin": {"traffic": self._traffic},
                },
            }
        )
        await broker.start()
        self._broker = broker
        self._started_at = time.monotonic()
        server = broker._servers["default"].instance
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        watch = asyncio.create_task(self._enforce_keepalive())
        try:
            await self._stop.wait()
        finally:
            watch.cancel()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(broker.shutdown(), STOP_TIMEOUT_S)
            self._broker = None

    def _on_connected(self, client_id: str, session: Any, before: Any) -> None:
        broker = self._broker
        if broker is None or client_id not in broker.sessions:
            return
        old = (
            self._handlers.get(id(before)) if before is not None and before is not session else None
        )
        self._handlers[id(session)] = broker.sessions[client_id][1]
        if old is not None:
            asyncio.ensure_future(old.handle_connection_closed())

    async def _enforce_keepalive(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_CHECK_S)
            now = time.monotonic()
            last = self._traffic.last_packet
            for key in [key for key in self._handlers if key not in last]:
                del self._handlers[key]
            for key, handler in list(self._handlers.items()):
                session = handler.session
                if session is None or not session.keep_alive:
                    continue
                if now - last[key] > session.keep_alive * 1.5:
                    # As if the connection broke: amqtt publishes the will and cleans up.
                    await handler.handle_connection_closed()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _reason(failure: BaseException) -> str:
    import errno

    if isinstance(failure, OSError):
        if failure.errno == errno.EADDRINUSE:
            return "the port is in use"
        if failure.errno == errno.EACCES:
            return "not allowed to use this port (ports below 1024 need root)"
        if failure.errno == errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        return failure.strerror or str(failure)
    return str(failure) or type(failure).__name__
