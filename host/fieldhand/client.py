"""`Fleet`: everything the nodes say, and a way to tell them what to do.

    with Fleet("fleet.toml") as fleet:
        for reading in fleet.readings(timeout=60):
            print(reading.node, reading.quantities)
        fleet.send("greenhouse", "pump_water", durationMs=3000).result()

One object serves all dialects and may be used from any number of threads.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho

from fieldhand import answers
from fieldhand import dialects as dialect_table
from fieldhand.connection import BrokerAddress, Connection, HasAddress
from fieldhand.errors import (
    BadParameter,
    CommandFailed,
    FieldhandError,
    MessageError,
    UnknownAction,
)
from fieldhand.inbound import Inbound, Refused
from fieldhand.pending import CommandBook, Pending
from fieldhand.received import path_beside
from fieldhand.recorder import Recorder
from fieldhand.records import (
    Alert,
    Event,
    Invalid,
    NodeEvent,
    Reading,
    Reply,
    Status,
)
from fieldhand.roster import NodeAddress, NodeView, Roster
from fieldhand.streams import Stream
from fieldproto.downlink import encode_credentials
from fieldproto.messages import Command

if TYPE_CHECKING:
    from fieldhand.fleetfile import FleetFile

__all__ = ["BrokerAddress", "Fleet", "FleetCounts", "NodeAddress", "NodeView"]

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 10.0
# Refused messages that are kept to be looked at, and the bytes kept of each.
MAX_INVALID = 200
MAX_INVALID_PAYLOAD = 512
# In no dialect's document: see `fieldproto.downlink.encode_credentials`.
SET_CREDENTIALS = "set_credentials"

# Canonical names in a config message that say whose it is and when.
_NO_SETTINGS = ("", "node", "org", "company", "time")

_COUNTED = {
    Reading: "readings",
    Status: "statuses",
    Reply: "replies",
    Alert: "alerts",
    NodeEvent: "events",
}


@dataclass(frozen=True)
class FleetCounts:
    """What a fleet has received since it was made."""

    readings: int = 0
    statuses: int = 0
    replies: int = 0
    alerts: int = 0
    events: int = 0
    invalid: int = 0
    duplicates: int = 0
    callback_errors: int = 0
    reconnects: int = 0


class Fleet:
    """All nodes behind one broker.

    `file` is the path of a fleet.toml, or a loaded `fieldhand.fleetfile.FleetFile`; it gives broker
    and nodes. `broker` is anything with `host` and `port` (and, optionally, `user`, `password` and
    `tls_ca`) or a (host, port) pair and wins over the file's. `nodes` maps names to a dialect's
    name, a `NodeAddress` or a node of a fleet file. `dialects` says which to listen to (None: all).

    Readings that somebody listens for are on record, so that `fieldhand gaps` can say which never
    came: `received` is the path of that file, True (the default) puts it beside the fleet file,
    False does without. A chosen path that cannot be written raises StoreError.

    Nodes the file does not name are heard too. Raises ConfigError for a wrong file and, from
    `connect()`, BrokerUnavailable. After that it reconnects by itself for as long as it is open.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | FleetFile | None = None,
        *,
        broker: HasAddress | tuple[str, int] | None = None,
        nodes: Mapping[str, Any] | None = None,
        dialects: Iterable[str] | None = None,
        client_id: str | None = None,
        received: str | os.PathLike[str] | bool = True,
    ) -> None:
        if isinstance(file, (str, os.PathLike)):
            from fieldhand import fleetfile

            file = fleetfile.load(Path(file))
        if broker is None:
            broker = BrokerAddress() if file is None else file.broker.address()
        names = list(dialect_table.names() if dialects is None else dialects)
        self._inbound = Inbound([dialect_table.load(name) for name in names])
        declared: dict[str, Any] = {} if file is None else dict(file.nodes)
        self._roster = Roster({**declared, **(nodes or {})}, names)
        filters: dict[str, int] = {}
        for dialect in self._inbound.dialects:
            for topic, qos in dialect.subscriptions("host"):
                filters[topic] = max(qos, filters.get(topic, 0))
        address = BrokerAddress.of(broker)
        self._connection = Connection(address, filters, self._on_message, client_id)
        self._book = CommandBook(self._connection.hand_over)
        self._recorder = _recorder(received, file)
        self._lock = threading.RLock()
        self._streams: weakref.WeakSet[Stream[Any]] = weakref.WeakSet()
        self._callbacks: list[tuple[type | tuple[type, ...], Callable[[Any], object]]] = []
        self._dispatcher: threading.Thread | None = None
        self._dispatch: Stream[Event] | None = None
        self._counts: Counter[str] = Counter()
        self._invalid: deque[Invalid] = deque(maxlen=MAX_INVALID)
        self._closed = False

    # -- life ------------------------------------------------------------------------------------

    def __enter__(self) -> Fleet:
        self.connect()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def broker(self) -> BrokerAddress:
        return self._connection.address

    @property
    def connected(self) -> bool:
        return self._connection.up

    def connect(self, timeout: float = CONNECT_TIMEOUT_S) -> None:
        """Connect and subscribe; returns when the broker has granted every subscription.

        Raises BrokerUnavailable after `timeout` seconds, or at once when the broker refuses.
        """
        self._connection.connect(timeout)

    def close(self) -> None:
        """Disconnect, end every stream and every command under way. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            streams = list(self._streams)
        self._book.close()
        self._connection.close()
        for stream in streams:
            stream.close()
        if self._recorder is not None:
            self._recorder.close()
        dispatcher = self._dispatcher
        if dispatcher is not None and dispatcher is not threading.current_thread():
            dispatcher.join(CLOSE_TIMEOUT_S)

    # -- listening -------------------------------------------------------------------------------

    def readings(self, node: str | None = None, timeout: float | None = None) -> Stream[Reading]:
        """Readings as they arrive, of one node or all; ends after `timeout` s without one."""
        return self._stream(Reading, node, timeout)

    def statuses(self, node: str | None = None, timeout: float | None = None) -> Stream[Status]:
        """Statuses as they arrive, retained ones (`Status.retained`) included."""
        return self._stream(Status, node, timeout)

    def replies(self, node: str | None = None, timeout: float | None = None) -> Stream[Reply]:
        """Answers to commands, whoever sent them."""
        return self._stream(Reply, node, timeout)

    def alerts(self, node: str | None = None, timeout: float | None = None) -> Stream[Alert]:
        """Alerts as they arrive."""
        return self._stream(Alert, node, timeout)

    def node_events(
        self, node: str | None = None, timeout: float | None = None
    ) -> Stream[NodeEvent]:
        """What happened on the nodes: runs of a pump, outages, crashes ..."""
        return self._stream(NodeEvent, node, timeout)

    def events(self, node: str | None = None, timeout: float | None = None) -> Stream[Event]:
        """Everything, `Invalid` included (unless one node is asked for)."""
        return self._stream((Reading, Status, Reply, Alert, NodeEvent, Invalid), node, timeout)

    def on_reading(self, callback: Callable[[Reading], object]) -> None:
        """Call `callback` for every reading, in a thread of the fleet's own.

        Callbacks run one after the other; they may send commands and wait for them. What one
        raises is logged and counted, and the next is called all the same.
        """
        self._on(Reading, callback)

    def on_status(self, callback: Callable[[Status], object]) -> None:
        self._on(Status, callback)

    def on_reply(self, callback: Callable[[Reply], object]) -> None:
        self._on(Reply, callback)

    def on_alert(self, callback: Callable[[Alert], object]) -> None:
        self._on(Alert, callback)

    def on_node_event(self, callback: Callable[[NodeEvent], object]) -> None:
        self._on(NodeEvent, callback)

    def on_invalid(self, callback: Callable[[Invalid], object]) -> None:
        self._on(Invalid, callback)

    @property
    def invalid(self) -> list[Invalid]:
        """The last refused messages, oldest first (at most `MAX_INVALID`)."""
        with self._lock:
            return list(self._invalid)

    @property
    def counts(self) -> FleetCounts:
        with self._lock:
            return FleetCounts(**self._counts, reconnects=self._connection.reconnects)

    def nodes(self) -> list[NodeView]:
        """All nodes: those of the fleet file, then those heard, with the last they said."""
        return self._roster.views()

    def node(self, name: str) -> NodeView:
        """One node. Raises UnknownNode."""
        return self._roster.find(name).view()

    def wait_known(self, name: str, timeout: float) -> bool:
        """Wait until the fleet file names this node or a message of it has arrived."""
        return self._roster.wait(name, timeout)

    def _stream(
        self, kinds: type | tuple[type, ...], node: str | None, timeout: float | None
    ) -> Stream[Any]:
        def wanted(event: Event) -> bool:
            return isinstance(event, kinds) and (
                node is None or getattr(event, "node", None) == node
            )

        reads = Reading in (kinds if isinstance(kinds, tuple) else (kinds,))
        stream: Stream[Any] = Stream(wanted, timeout, self._streams.discard, reads=reads, node=node)
        with self._lock:
            if self._closed:
                stream.close()
            else:
                self._streams.add(stream)
        return stream

    def _on(self, kind: type, callback: Callable[[Any], object]) -> None:
        with self._lock:
            self._callbacks.append((kind, callback))
            if self._dispatcher is None:
                self._dispatch = self.events()
                self._dispatch.reads = False
                self._dispatcher = threading.Thread(
                    target=self._call_back, name="fieldhand-callbacks", daemon=True
                )
                self._dispatcher.start()
            if kind is Reading and self._dispatch is not None:
                self._dispatch.reads = True

    def _call_back(self) -> None:
        assert self._dispatch is not None
        for event in self._dispatch:
            with self._lock:
                callbacks = list(self._callbacks)
            for kind, callback in callbacks:
                if isinstance(event, kind):
                    try:
                        callback(event)
                    except Exception:
                        with self._lock:
                            self._counts["callback_errors"] += 1
                        _log.exception("callback for %s failed", type(event).__name__)

    # -- speaking --------------------------------------------------------------------------------

    def send(
        self, node: str, action: str, timeout: float = 30.0, retries: int = 0, **params: Any
    ) -> Pending:
        """Send a command by its name on the wire, parameters by theirs. Returns at once.

        `timeout` is the seconds an answer may take; `retries` how often the same command (same id)
        is published again when none came. A dialect whose commands carry no id, spoken without the
        extension key, cannot tell a retry from a new command: leave `retries` at 0 there.

        Raises UnknownNode, UnknownAction, BadParameter, or BrokerUnavailable while the broker is
        away: a command is never kept back to start a pump an hour later.
        """
        return self.send_command(node, action, params, timeout=timeout, retries=retries)

    def send_command(
        self,
        node: str,
        action: str,
        params: Mapping[str, Any],
        *,
        timeout: float = 30.0,
        retries: int = 0,
    ) -> Pending:
        """As `send`, for parameters that come as a mapping."""
        found = self._roster.find(node)
        answers.check_patience(node, action, timeout, retries)
        if self._closed:
            raise self._connection.unavailable("the fleet is closed")
        dialect = found.dialect
        id = answers.command_id()
        command, packet = answers.encode(dialect, node, action, params, id, int(time.time()))
        pending = Pending(
            node, dialect.name, action, params, id, timeout, retries, found.address.options
        )
        self._book.open(pending, command, answers.canonical(command, params), packet)
        return pending

    def send_credentials(
        self, node: str, content: Mapping[str, Any], *, timeout: float = 30.0
    ) -> Pending:
        """Send a node new Wi-Fi and broker credentials to try: what `fieldhand.device.slot` makes.

        Done is when the node has them and is about to restart; whether they stay it tells by the
        event "credentials" or an alert. A node refuses them unless it checks the certificate of a
        TLS link. Raises CommandFailed when this link is not TLS either; else as `send`.
        """
        found = self._roster.find(node)
        if self.broker.tls_ca is None:
            raise CommandFailed(
                node, SET_CREDENTIALS, "secrets go over TLS only: [broker.tls] is not set"
            )
        if not found.address.extras:
            raise CommandFailed(node, SET_CREDENTIALS, "the node keeps to its document (no extras)")
        id = answers.command_id()
        dialect = found.dialect
        packet = encode_credentials(dialect, node, dict(content), id, int(time.time()))
        pending = Pending(
            node, dialect.name, SET_CREDENTIALS, {}, id, timeout, 0, found.address.options
        )
        self._book.open(pending, Command(SET_CREDENTIALS, SET_CREDENTIALS), {}, packet)
        return pending

    def configure(self, node: str, **settings: Any) -> None:
        """Send a config message, settings by canonical name, where the dialect has one (DESE).

        Returns when the broker has it; no dialect answers a config message. Raises as `send`.
        """
        found = self._roster.find(node)
        dialect = found.dialect
        message = dialect.message("config")
        if message is None:
            known = [command.name for command in dialect.commands]
            raise UnknownAction(node, dialect.name, "config", known)
        takes = [field.means for field in message.fields if field.means not in _NO_SETTINGS]
        for name in settings:
            if name not in takes:
                reason = f"is not a setting; {dialect.name} takes {', '.join(takes)}"
                raise BadParameter(node, "config", name, reason)
        try:
            packet = dialect.encode("config", node, {**settings, "time": int(time.time())})
        except MessageError as error:
            raise BadParameter(node, "config", error.field or "settings", error.reason) from None
        self._connection.publish(packet)

    # -- the MQTT thread -------------------------------------------------------------------------

    def _on_message(self, message: paho.MQTTMessage) -> None:
        # Whatever escapes here would end paho's thread, and with it the fleet.
        try:
            self._receive(message)
        except Exception as error:
            _log.exception("a message could not be handled")
            self._refuse("?", message.payload, f"internal error: {error}", None, None)

    def _receive(self, message: paho.MQTTMessage) -> None:
        now = time.time()
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return self._refuse("?", message.payload, "the topic is not UTF-8", None, None)
        try:
            pairs = self._inbound.events(topic, bytes(message.payload), now, message.retain)
        except Refused as error:
            return self._refuse(topic, message.payload, error.reason, error.dialect, error.field)
        for name, event in pairs:
            try:
                fresh = self._roster.admit(event)
            except FieldhandError as error:
                reason = f"{event.dialect}: {error}"
                return self._refuse(topic, message.payload, reason, event.dialect, "topic")
            with self._lock:
                self._counts[_COUNTED[type(event)] if fresh else "duplicates"] += 1
            if not fresh:
                continue
            if not message.retain:
                self._book.on_event(name, event)
            self._deliver(event)
        return None

    def _refuse(
        self,
        topic: str,
        payload: bytes | bytearray,
        reason: str,
        dialect: str | None,
        field: str | None,
    ) -> None:
        start = bytes(payload[:MAX_INVALID_PAYLOAD])
        event = Invalid(topic, reason, dialect, field, start, time.time())
        with self._lock:
            self._counts["invalid"] += 1
            self._invalid.append(event)
        self._deliver(event)

    def _deliver(self, event: Event) -> None:
        with self._lock:
            streams = list(self._streams)
        if self._recorder is not None and isinstance(event, (Reading, Status)):
            if any(stream.reads_of(event.node) for stream in streams):
                self._recorder.note(event)
        for stream in streams:
            stream.offer(event)


def _recorder(received: str | os.PathLike[str] | bool, file: FleetFile | None) -> Recorder | None:
    if received is False:
        return None
    if received is not True:
        recorder = Recorder(Path(received))
        recorder.open()
        return recorder
    # A file that was never on disk has no place beside it.
    if file is None or not file.path.is_file():
        return None
    return Recorder(path_beside(file.path))
