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
import secrets
import socket
import threading
import time
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from fieldhand import dialects as dialect_table
from fieldhand.errors import (
    BadParameter,
    BrokerUnavailable,
    FieldhandError,
    MessageError,
    UnknownAction,
    UnknownNode,
)
from fieldhand.pending import CommandBook, Pending
from fieldhand.records import Alert, Event, Invalid, Reading, Reply, Status, from_record
from fieldhand.streams import Stream
from fieldproto.dialect import Dialect
from fieldproto.messages import Command, Packet, Record

if TYPE_CHECKING:
    from fieldhand.fleetfile import FleetFile

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
PUBLISH_TIMEOUT_S = 10.0
RECONNECT_MIN_S = 1
RECONNECT_MAX_S = 30
KEEPALIVE_S = 30
# Refused messages that are kept to be looked at, and the bytes kept of each.
MAX_INVALID = 200
MAX_INVALID_PAYLOAD = 512
# Nodes remembered. A stranger who invents ids must not fill the memory.
MAX_NODES = 20_000
# (boot, seq) pairs remembered of a node, to drop what QoS 1 delivers twice.
MAX_SEEN = 2_000


class HasAddress(Protocol):
    """Anything that says where a broker is: `fieldhand.broker.Broker`, a fleet file's [broker]."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


@dataclass(frozen=True)
class BrokerAddress:
    """A broker and how to get in. `tls_ca` is a PEM file; "" takes the system's authorities."""

    host: str = "127.0.0.1"
    port: int = 1883
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_ca: str | None = None


@dataclass(frozen=True)
class NodeAddress:
    """How a node is spoken to: its dialect, the dialect's options, and whether it takes `_fh`."""

    dialect: str
    options: Mapping[str, Any] = field(default_factory=dict)
    extras: bool = True


@dataclass(frozen=True)
class FleetCounts:
    """What a fleet has received since it was made."""

    readings: int = 0
    statuses: int = 0
    replies: int = 0
    alerts: int = 0
    invalid: int = 0
    duplicates: int = 0
    callback_errors: int = 0
    reconnects: int = 0


@dataclass(frozen=True)
class NodeView:
    """The last that was heard of a node. `declared` says that the fleet file names it."""

    name: str
    dialect: str
    declared: bool
    tenant: Mapping[str, str]
    status: Status | None
    reading: Reading | None
    heard_at: float | None


class _Node:
    def __init__(self, name: str, address: NodeAddress, declared: bool) -> None:
        self.name = name
        self.address = address
        self.declared = declared
        self.tenant: Mapping[str, str] = {}
        self.status: Status | None = None
        self.reading: Reading | None = None
        self.heard_at: float | None = None
        self.seen: OrderedDict[tuple[str, str, int], None] = OrderedDict()
        self.dialect = dialect_table.load(address.dialect, address.options, address.extras)

    def view(self) -> NodeView:
        return NodeView(
            self.name,
            self.address.dialect,
            self.declared,
            self.tenant,
            self.status,
            self.reading,
            self.heard_at,
        )

    def is_repeat(self, event: Event) -> bool:
        """True when this record came before, under the same boot and number."""
        if not isinstance(event, (Reading, Status)):
            return False
        origin = event.provenance
        if origin.boot is None or origin.seq is None:
            return False
        key = (type(event).__name__, origin.boot, origin.seq)
        if key in self.seen:
            return True
        self.seen[key] = None
        while len(self.seen) > MAX_SEEN:
            self.seen.popitem(last=False)
        return False


class Fleet:
    """All nodes behind one broker.

    `file` is the path of a fleet.toml, or a loaded `fieldhand.fleetfile.FleetFile`; it gives broker
    and nodes. `broker` is anything with `host` and `port` (and, optionally, `user`, `password` and
    `tls_ca`) or a (host, port) pair and wins over the file's. `nodes` maps names to a dialect's
    name, a `NodeAddress` or a node of a fleet file. `dialects` says which to listen to (None: all).

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
    ) -> None:
        if isinstance(file, (str, os.PathLike)):
            from fieldhand import fleetfile

            file = fleetfile.load(Path(file))
        if broker is None:
            broker = BrokerAddress() if file is None else file.broker.address()
        self._address = _address(broker)
        names = list(dialect_table.names() if dialects is None else dialects)
        self._dialects = [dialect_table.load(name) for name in names]
        self._lock = threading.RLock()
        # Keyed by dialect and name, a stranger by its tenant too: the same id may be in use twice.
        self._nodes: OrderedDict[tuple[str, ...], _Node] = OrderedDict()
        declared: dict[str, Any] = {} if file is None else dict(file.nodes)
        declared.update(nodes or {})
        for name, node in declared.items():
            address = _node_address(node)
            if address.dialect not in names:
                dialect_table.check_name(address.dialect)
                raise UnknownNode(name, list(declared), f"does not listen to {address.dialect}")
            self._nodes[address.dialect, name] = _Node(name, address, declared=True)
        self._streams: weakref.WeakSet[Stream[Any]] = weakref.WeakSet()
        self._callbacks: list[tuple[type | tuple[type, ...], Callable[[Any], object]]] = []
        self._dispatcher: threading.Thread | None = None
        self._dispatch: Stream[Event] | None = None
        self._counts: Counter[str] = Counter()
        self._invalid: deque[Invalid] = deque(maxlen=MAX_INVALID)
        self._heard = threading.Condition(self._lock)
        self._book = CommandBook(self._publish_command)
        self._ready = threading.Event()
        self._refused: str | None = None
        self._connects = 0
        self._closed = False
        # A client id of our own: two hosts with the same would throw each other out for ever.
        self._client = self._make_client(client_id or f"fieldhand-{secrets.token_hex(6)}")

    # -- life ------------------------------------------------------------------------------------

    def __enter__(self) -> Fleet:
        self.connect()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def broker(self) -> BrokerAddress:
        return self._address

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    def connect(self, timeout: float = CONNECT_TIMEOUT_S) -> None:
        """Connect and subscribe; returns when the broker has granted every subscription.

        Raises BrokerUnavailable after `timeout` seconds, or at once when the broker refuses.
        """
        host, port = self._address.host, self._address.port
        self._client.connect_timeout = timeout
        try:
            self._client.connect(host, port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise BrokerUnavailable(host, port, reason) from error
        self._client.loop_start()
        deadline = time.monotonic() + timeout
        with self._heard:
            self._heard.wait_for(
                lambda: self._ready.is_set() or self._refused is not None,
                deadline - time.monotonic(),
            )
        if not self._ready.is_set():
            reason = self._refused or f"no answer within {timeout:g} s"
            self.close()
            raise BrokerUnavailable(host, port, reason)

    def close(self) -> None:
        """Disconnect, end every stream and every command under way. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            streams = list(self._streams)
        self._book.close()
        self._client.disconnect()
        self._client.loop_stop()
        self._ready.clear()
        for stream in streams:
            stream.close()
        dispatcher = self._dispatcher
        if dispatcher is not None and dispatcher is not threading.current_thread():
            dispatcher.join(PUBLISH_TIMEOUT_S)

    def _make_client(self, client_id: str) -> paho.Client:
        address = self._address
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.tls_ca is not None:
            try:
                client.tls_set(ca_certs=address.tls_ca or None)
            except OSError as error:
                reason = f"{address.tls_ca}: {error.strerror or error}"
                raise BrokerUnavailable(address.host, address.port, reason) from error
        client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

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

    def events(self, node: str | None = None, timeout: float | None = None) -> Stream[Event]:
        """Everything, `Invalid` included (unless one node is asked for)."""
        return self._stream((Reading, Status, Reply, Alert, Invalid), node, timeout)

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
            return FleetCounts(**self._counts, reconnects=max(0, self._connects - 1))

    def nodes(self) -> list[NodeView]:
        """All nodes: those of the fleet file, then those heard, with the last they said."""
        with self._lock:
            return [node.view() for node in self._nodes.values()]

    def node(self, name: str) -> NodeView:
        """One node. Raises UnknownNode."""
        with self._lock:
            return self._find(name).view()

    def wait_heard(self, name: str, timeout: float) -> bool:
        """Wait until the fleet file names this node or a message of it has arrived."""
        with self._heard:
            return self._heard.wait_for(
                lambda: any(node.name == name for node in self._nodes.values()), timeout
            )

    def _stream(
        self, kinds: type | tuple[type, ...], node: str | None, timeout: float | None
    ) -> Stream[Any]:
        def wanted(event: Event) -> bool:
            return isinstance(event, kinds) and (
                node is None or getattr(event, "node", None) == node
            )

        stream: Stream[Any] = Stream(wanted, timeout, self._streams.discard)
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
                self._dispatcher = threading.Thread(
                    target=self._call_back, name="fieldhand-callbacks", daemon=True
                )
                self._dispatcher.start()

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
        with self._lock:
            found = self._find(node)
        dialect = found.dialect
        command = dialect.command(action)
        if command is None:
            known = [command.name for command in dialect.commands]
            raise UnknownAction(node, dialect.name, action, known)
        id = f"cmd-{int(time.time() * 1000)}-{secrets.token_hex(3)}"
        try:
            packet = dialect.encode_command(node, action, dict(params), id, int(time.time()))
        except MessageError as error:
            raise BadParameter(node, action, error.field or "parameters", error.reason) from None
        pending = Pending(
            node, dialect.name, action, params, id, timeout, retries, found.address.options
        )
        self._book.open(pending, command, _canonical(command, params), packet)
        return pending

    def configure(self, node: str, **settings: Any) -> None:
        """Send a config message, settings by canonical name, where the dialect has one (DESE).

        Returns when the broker has it; no dialect answers a config message. Raises as `send`.
        """
        with self._lock:
            found = self._find(node)
        dialect = found.dialect
        if not any(message.kind == "config" for message in dialect.messages):
            known = [command.name for command in dialect.commands]
            raise UnknownAction(node, dialect.name, "config", known)
        try:
            packet = dialect.encode("config", node, {**settings, "time": int(time.time())})
        except MessageError as error:
            raise BadParameter(node, "config", error.field or "settings", error.reason) from None
        self._publish(packet)

    def _publish_command(self, packet: Packet) -> None:
        # Not waited for: the answer is what counts, and it may come before the PUBACK does.
        self._hand_over(packet)

    def _publish(self, packet: Packet, timeout: float = PUBLISH_TIMEOUT_S) -> None:
        info = self._hand_over(packet)
        try:
            info.wait_for_publish(timeout)
            published = info.is_published()
        except RuntimeError:
            published = False
        if not published:
            raise self._unavailable(f"did not acknowledge a message within {timeout:g} s")

    def _hand_over(self, packet: Packet) -> paho.MQTTMessageInfo:
        if not self._ready.is_set():
            raise self._unavailable("not connected")
        info = self._client.publish(packet.topic, packet.payload, packet.qos, packet.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._unavailable(paho.error_string(info.rc).rstrip("."))
        return info

    def _unavailable(self, reason: str) -> BrokerUnavailable:
        return BrokerUnavailable(self._address.host, self._address.port, reason)

    def _find(self, name: str) -> _Node:
        found = [node for node in self._nodes.values() if node.name == name]
        declared = [node for node in found if node.declared]
        if len(declared or found) == 1:
            return (declared or found)[0]
        known = sorted({node.name for node in self._nodes.values()})
        if found:
            where = " and ".join(
                " ".join([node.address.dialect, *map(str, node.address.options.values())])
                for node in found
            )
            raise UnknownNode(name, known, f"is heard in {where}; name the one in the fleet file")
        raise UnknownNode(name, known)

    # -- the MQTT thread -------------------------------------------------------------------------

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, reason_code: Any, properties: Any
    ) -> None:
        if reason_code.is_failure:
            with self._heard:
                self._refused = f"refused the connection: {str(reason_code).lower()}"
                self._heard.notify_all()
            return
        filters: dict[str, int] = {}
        for dialect in self._dialects:
            for topic, qos in dialect.subscriptions("host"):
                filters[topic] = max(qos, filters.get(topic, 0))
        client.subscribe(sorted(filters.items()))

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, reason_codes: Any, properties: Any
    ) -> None:
        refused = [code for code in reason_codes if code.is_failure]
        with self._heard:
            if refused:
                self._refused = f"refused {len(refused)} of {len(reason_codes)} subscriptions"
            else:
                self._refused = None
                self._connects += 1
                self._ready.set()
            self._heard.notify_all()

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, reason_code: Any, properties: Any
    ) -> None:
        self._ready.clear()

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
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
        first: MessageError | None = None
        for dialect in self._dialects:
            if not dialect.match(topic):
                continue
            try:
                records = dialect.decode(topic, bytes(message.payload), "host")
            except MessageError as error:
                first = first or error
                continue
            self._accept(topic, message, [(r, dialect) for r in records], now)
            return None
        if first is None:
            return self._refuse(topic, message.payload, "no dialect has this topic", None, None)
        return self._refuse(topic, message.payload, str(first), first.dialect, first.field)

    def _accept(
        self,
        topic: str,
        message: paho.MQTTMessage,
        records: list[tuple[Record, Dialect]],
        now: float,
    ) -> None:
        pairs: list[tuple[str, Any]] = []
        for record, dialect in records:
            event = from_record(record, now, message.retain)
            if isinstance(event, Alert) and event.sensor is not None:
                event = replace(event, sensor=dialect.quantity(event.sensor))
            if event is not None:
                pairs.append((record.message, event))
        # An answer that names its command goes before the status it came with, which may also
        # look like one.
        pairs.sort(key=lambda pair: not isinstance(pair[1], Reply))
        with self._heard:
            fresh = []
            for name, event in pairs:
                node = self._heard_from(event)
                if node is None:
                    reason = "too many nodes: this one is not remembered"
                    return self._refuse(topic, message.payload, reason, event.dialect, None)
                stranger = _other_tenant(node, event)
                if stranger is not None:
                    return self._refuse(topic, message.payload, stranger, event.dialect, "topic")
                if node.is_repeat(event):
                    self._counts["duplicates"] += 1
                    continue
                self._note(node, event)
                fresh.append((name, event))
            self._heard.notify_all()
        for name, event in fresh:
            if not message.retain:
                self._book.on_event(name, event)
            self._deliver(event)
        return None

    def _heard_from(self, event: Any) -> _Node | None:
        key: tuple[str, ...] = (event.dialect, event.node)
        node = self._nodes.get(key)
        if node is None:
            key += tuple(event.tenant.values())
            node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                return None
            address = NodeAddress(event.dialect, dict(event.tenant))
            try:
                node = _Node(event.node, address, declared=False)
            except FieldhandError:
                return None
            self._nodes[key] = node
        return node

    def _note(self, node: _Node, event: Event) -> None:
        node.heard_at = event.received_at
        if isinstance(event, Reading):
            node.tenant = event.tenant
            node.reading = event
            self._counts["readings"] += 1
        elif isinstance(event, Status):
            node.tenant = event.tenant
            node.status = event
            self._counts["statuses"] += 1
        elif isinstance(event, Reply):
            self._counts["replies"] += 1
        elif isinstance(event, Alert):
            self._counts["alerts"] += 1

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
        for stream in streams:
            stream.offer(event)


def _no_delay(client: paho.Client, userdata: Any, sock: Any) -> None:
    # paho writes a PUBACK and the next PUBLISH apart: Nagle would hold the second for 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _address(broker: Any) -> BrokerAddress:
    if isinstance(broker, BrokerAddress):
        return broker
    if isinstance(broker, tuple):
        return BrokerAddress(*broker)
    return BrokerAddress(
        broker.host,
        broker.port,
        getattr(broker, "user", None),
        getattr(broker, "password", None),
        getattr(broker, "tls_ca", None),
    )


def _node_address(node: Any) -> NodeAddress:
    if isinstance(node, str):
        return NodeAddress(node)
    return NodeAddress(node.dialect, dict(node.options), node.extras)


def _canonical(command: Command, params: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(command.fixed)
    for param in command.params:
        if params.get(param.name) is not None:
            values[param.means or param.name] = param.read(params[param.name])
    return values


def _other_tenant(node: _Node, event: Any) -> str | None:
    """Why an event under this node's id is not this node's, or None."""
    for option, wanted in node.address.options.items():
        got = event.tenant.get(option)
        if got is not None and got != wanted:
            return f"{event.dialect}: node {node.name} is of {option} {wanted}, not {got}"
    return None
