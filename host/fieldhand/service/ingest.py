"""MQTT to the database: a message is acknowledged when it has been committed, not before.

Each worker is one thread with one persistent session under a fixed client id. It reads what has
arrived, stores that in one transaction, acknowledges it, and reads on: under load a commit takes
many messages along, and an idle one none but the first. While it stores, it does not read, so what
comes too fast waits at the broker, not in memory here.
"""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from fieldhand.connection import BrokerAddress
from fieldhand.errors import BrokerUnavailable
from fieldhand.service.arrivals import Hook, Message
from fieldhand.service.hub import Hub
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store.database import Database, StoreError
from fieldhand.service.writer import NodeTable, Writer

KEEPALIVE_S = 60
CONNECT_TIMEOUT_S = 10.0
RECONNECT_MIN_S = 0.5
RECONNECT_MAX_S = 30.0
# How long the database is left alone after it refused, at first and at most.
RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0
# How often an idle worker looks whether it is to end and whether a ping is due.
IDLE_S = 0.25

_log = logging.getLogger(__name__)


class Ingest:
    """All workers."""

    def __init__(
        self,
        address: BrokerAddress,
        settings: ServiceSettings,
        database: Database,
        hub: Hub,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self.nodes = NodeTable(database, settings.max_nodes)
        self._settings = settings
        self._workers = [
            Worker(
                address,
                settings.client_id if number == 1 else f"{settings.client_id}-{number}",
                settings,
                Writer(database, settings, self.nodes, hub, hooks),
                share=settings.group if settings.workers > 1 else None,
            )
            for number in range(1, settings.workers + 1)
        ]

    def start(self) -> None:
        """Connect every worker. Raises BrokerUnavailable or StoreError."""
        self.nodes.load()
        try:
            for worker in self._workers:
                worker.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Store and acknowledge what has been read, then disconnect; the sessions stay."""
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.join(self._settings.drain_s + IDLE_S)

    @property
    def connected(self) -> bool:
        """Every worker has its connection and subscriptions."""
        return all(worker.connected for worker in self._workers)

    @property
    def trouble(self) -> str | None:
        """Why nothing is stored at present, None while all is well."""
        return next((worker.trouble for worker in self._workers if worker.trouble), None)

    @property
    def counts(self) -> Counter[str]:
        """What came in since the start: messages, reading, status, invalid, duplicate ..."""
        total: Counter[str] = Counter()
        for worker in self._workers:
            total.update(dict(worker.counts))
            total.update(dict(worker.writer.counts))
        return total

    @property
    def lag_s(self) -> float:
        """From the arrival of the oldest message of the last batch to its commit."""
        return max(worker.lag_s for worker in self._workers)


class Worker:
    """One connection and the thread that serves it."""

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        settings: ServiceSettings,
        writer: Writer,
        share: str | None = None,
    ) -> None:
        self.client_id = client_id
        self.writer = writer
        self.counts: Counter[str] = Counter()
        self.lag_s = 0.0
        self.trouble: str | None = None
        self._address = address
        self._settings = settings
        self._filters = _filters(writer, share)
        self._client = self._make(client_id)
        self._inbox: list[Message] = []
        self._wants_to_write = False
        self._connack: str | None = None
        self._subscribed: str | None = None
        self._kept_session = False
        self._up = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        return self._up

    def start(self) -> None:
        """Connect and subscribe, then go on in a thread. Raises BrokerUnavailable."""
        self._connect()
        self._thread = threading.Thread(target=self._run, name=self.client_id, daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def join(self, timeout: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                _log.warning(
                    "%s did not end within %g s; what it had not stored stays at the broker",
                    self.client_id,
                    timeout,
                )

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        wait = RECONNECT_MIN_S
        while not self._stopping.is_set():
            try:
                if not self._up:
                    self._connect()
                    self._recovered("connected again")
                wait = RECONNECT_MIN_S
                self._serve()
            except BrokerUnavailable as error:
                self._in_trouble(str(error))
                self._stopping.wait(random.uniform(0, wait))
                wait = min(wait * 2, RECONNECT_MAX_S)
            except Exception:
                # Nothing is known to come here; a worker that ends would be worse.
                _log.exception("%s failed, and goes on", self.client_id)
                self._drop()
                self._stopping.wait(RECONNECT_MAX_S)
        self._finish()

    def _serve(self) -> None:
        """Until the connection is lost, which raises BrokerUnavailable, or the end is asked for."""
        while not self._stopping.is_set():
            self._turn(IDLE_S)

    def _turn(self, timeout: float) -> int:
        """Wait for something to read, store and acknowledge it; returns how many messages."""
        self._wait_readable(timeout)
        self._read()
        taken = self._take()
        self._check(self._client.loop_misc())
        self._flush()
        if self._subscribed:
            self._drop()
            raise self._unavailable(self._subscribed)
        return taken

    def _read(self) -> None:
        """Read until nothing is left or a batch is full."""
        client, inbox, limit = self._client, self._inbox, self._settings.batch_rows
        until = time.monotonic() + self._settings.batch_ms / 1000
        while len(inbox) < limit:
            before = len(inbox)
            self._check(client.loop_read())
            if len(inbox) == before or time.monotonic() > until:
                return

    def _take(self) -> int:
        messages = self._inbox[:]
        if not messages:
            return 0
        self._inbox.clear()
        self.counts["messages"] += len(messages)
        if self._store(messages):
            self.lag_s = time.time() - messages[0].received_at
            for message in messages:
                if message.qos:
                    self._client.ack(message.mid, message.qos)
            self._flush()
        return len(messages)

    def _store(self, messages: Sequence[Message]) -> bool:
        """Store them, however long it takes; False when the end was asked for before."""
        wait = RETRY_MIN_S
        while True:
            try:
                self.writer.write(messages)
            except StoreError as error:
                self._in_trouble(str(error))
            else:
                self._recovered("stores again")
                return True
            if self._stopping.wait(wait):
                return False
            wait = min(wait * 2, RETRY_MAX_S)
            # Pings only: the broker is to know that we are here, and to keep the rest.
            self._client.loop_misc()
            self._flush()

    def _finish(self) -> None:
        """Take what is on its way already, then go; the broker keeps the session."""
        deadline = time.monotonic() + self._settings.drain_s
        with contextlib.suppress(BrokerUnavailable):
            while self._up and time.monotonic() < deadline and self._turn(0):
                pass
        if self._up:
            self._client.disconnect()
            self._flush()
        self._drop()

    # -- the connection --------------------------------------------------------------------------

    def _make(self, client_id: str) -> paho.Client:
        address = self._address
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=False,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.tls_ca is not None:
            try:
                client.tls_set(ca_certs=address.tls_ca or None)
            except OSError as error:
                raise self._unavailable(f"{address.tls_ca}: {error.strerror or error}") from error
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_socket_open = _no_delay
        # Set, so that paho leaves writing to `_flush`, which sends many acknowledgements at once.
        client.on_socket_register_write = self._register_write
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _connect(self) -> None:
        # What was read of the connection before comes again: it was not acknowledged.
        self._inbox.clear()
        self._connack = self._subscribed = None
        try:
            self._client.connect(self._address.host, self._address.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._unavailable(reason) from error
        self._await(lambda: self._connack)
        self._check(self._client.subscribe(sorted(self._filters.items()))[0])
        # A session that was kept has its subscriptions, and its backlog comes before the SUBACK.
        if not self._kept_session:
            self._await(lambda: self._subscribed)
        self._up = True

    def _await(self, answer: Callable[[], str | None]) -> None:
        """Until `answer` is "", for what is granted; another text is why it is not."""
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while answer() is None:
            left = deadline - time.monotonic()
            if left <= 0 or self._stopping.is_set():
                self._drop()
                raise self._unavailable(f"no answer within {CONNECT_TIMEOUT_S:g} s")
            self._flush()
            self._wait_readable(min(left, IDLE_S))
            self._check(self._client.loop_read())
        reason = answer()
        if reason:
            self._drop()
            raise self._unavailable(reason)

    def _wait_readable(self, timeout: float) -> None:
        sock = self._client.socket()
        if sock is None:
            self._drop()
            raise self._unavailable("connection lost")
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return
        with contextlib.suppress(OSError, ValueError):
            select.select([sock], [], [], timeout)

    def _flush(self) -> None:
        """Write what paho holds back, waiting for room in the socket if need be."""
        while self._wants_to_write and self._client.socket() is not None:
            self._wants_to_write = False
            self._check(self._client.loop_write())
            if self._client.want_write():
                self._wants_to_write = True
                sock = self._client.socket()
                if sock is not None:
                    with contextlib.suppress(OSError, ValueError):
                        select.select([], [sock], [], CONNECT_TIMEOUT_S)

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._drop()
            raise self._unavailable(paho.error_string(code).rstrip(".").lower())

    def _drop(self) -> None:
        self._up = False
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _unavailable(self, reason: str) -> BrokerUnavailable:
        return BrokerUnavailable(self._address.host, self._address.port, reason)

    def _in_trouble(self, reason: str) -> None:
        """Say it once, however often it is tried."""
        if self.trouble is None:
            self.trouble = reason
            self.counts["outages"] += 1
            _log.warning("%s: %s; trying again", self.client_id, reason)

    def _recovered(self, what: str) -> None:
        if self.trouble is not None:
            _log.warning("%s: %s", self.client_id, what)
            self.trouble = None

    # -- paho's callbacks, in the same thread ----------------------------------------------------

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "?"
        self._inbox.append(
            Message(
                topic,
                bytes(message.payload),
                message.qos,
                message.mid,
                message.retain,
                message.dup,
                time.time(),
            )
        )

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, reason_code: Any, properties: Any
    ) -> None:
        failed = reason_code.is_failure
        self._connack = f"refused the connection: {str(reason_code).lower()}" if failed else ""
        self._kept_session = bool(flags.session_present)

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, reason_codes: Any, properties: Any
    ) -> None:
        refused = [code for code in reason_codes if code.is_failure]
        self._subscribed = (
            f"refused {len(refused)} of {len(reason_codes)} subscriptions" if refused else ""
        )

    def _register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        self._wants_to_write = True


def _filters(writer: Writer, share: str | None) -> Mapping[str, int]:
    """Topic filter -> QoS, of all that a host listens to."""
    filters: dict[str, int] = {}
    for dialect in writer.dialects:
        for topic, qos in dialect.subscriptions("host"):
            name = topic if share is None else f"$share/{share}/{topic}"
            filters[name] = max(qos, filters.get(name, 0))
    return filters


def _no_delay(client: paho.Client, userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
