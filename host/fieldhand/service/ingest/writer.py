"""Messages to rows: decodes a batch, stores it in one transaction, tells whom it concerns.

A message that no dialect can read becomes a dead letter. A batch the database refuses is tried
message by message, so that one which cannot be stored harms none beside it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fieldhand import dialects as dialect_table
from fieldhand.errors import FieldhandError
from fieldhand.inbound import Inbound, Refused
from fieldhand.received import NodeKey
from fieldhand.records import Alert, Heard, Invalid, NodeEvent, Reading, Status
from fieldhand.service.arrivals import AGAIN_S, Arrival, Hook, Message
from fieldhand.service.ingest.flood import Flood
from fieldhand.service.live.hub import Hub, LiveEvent, live
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import deadletters, deliveries, events, nodes, readings, schema
from fieldhand.service.store.database import Database, StoreError
from fieldhand.service.store.deliveries import Delivery
from fieldhand.service.store.nodes import NodeRow
from fieldhand.service.store.readings import Key

# What is not all stored has a backlog and what is measured meanwhile, at most: times kept of each.
KEPT_MARKS = 4
# Bytes of a refused payload that live clients are shown.
SHOWN_BYTES = 512

_log = logging.getLogger(__name__)


class NodeTable:
    """The nodes in the database by their key, remembered; shared by the workers."""

    def __init__(self, database: Database, limit: int) -> None:
        self._database = database
        self._limit = limit
        self._rows: dict[NodeKey, NodeRow] = {}
        self._lock = threading.Lock()

    def load(self) -> None:
        """Remember all that there are. Raises StoreError."""
        with self._database.reading() as connection:
            rows = nodes.listing(connection, limit=self._limit)
        with self._lock:
            self._rows = {nodes.key_of(row.dialect, row.tenant, row.name): row for row in rows}

    def get(self, key: NodeKey) -> NodeRow | None:
        return self._rows.get(key)

    def forget(self, key: NodeKey | None = None) -> None:
        """Look it up again: somebody changed it. None: all of them."""
        with self._lock:
            if key is None:
                self._rows.clear()
            else:
                self._rows.pop(key, None)

    def make(self, connection: sa.Connection, key: NodeKey, heard: float) -> NodeRow:
        """The node of a message, new or not remembered. Raises FieldhandError: one too many."""
        if len(self._rows) >= self._limit:
            raise FieldhandError(f"{self._limit} nodes are known: no more are remembered")
        return nodes.ensure(connection, self._database, key, heard)

    def remember(self, rows: Mapping[NodeKey, NodeRow]) -> None:
        """After the commit of the transaction that made them."""
        with self._lock:
            self._rows.update(rows)


@dataclass(slots=True)
class Prepared:
    """Messages that have been read: what each says, and what is to be refused of them."""

    found: list[tuple[Message, list[tuple[str, Any]]]]
    letters: list[dict[str, Any]]
    dropped: int = 0


class _Batch:
    """What prepared messages come to; made anew for each try."""

    def __init__(self, letters: Sequence[dict[str, Any]]) -> None:
        self.arrivals: list[Arrival] = []
        self.letters = list(letters)
        # Those of them that had not come before.
        self.kept: list[dict[str, Any]] = []
        self.new_nodes: dict[NodeKey, NodeRow] = {}
        # Messages that nothing but their arrival tells from others.
        self.nameless: list[Delivery] = []


class Writer:
    """Stores batches of messages; one per worker, used by its thread only."""

    def __init__(
        self,
        database: Database,
        settings: ServiceSettings,
        table: NodeTable,
        hub: Hub,
        hooks: Sequence[Hook],
    ) -> None:
        names = settings.dialects or dialect_table.names()
        self.inbound = Inbound([dialect_table.load(name) for name in names])
        self.counts: Counter[str] = Counter()
        self.flood = Flood(settings.node_rate, settings.node_burst)
        self._database = database
        self._settings = settings
        self._table = table
        self._hub = hub
        self._hooks = hooks
        # node -> the times of its last readings that were kept, where not all are
        self._kept: dict[int, tuple[float, ...]] = {}

    def prepare(self, messages: Sequence[Message]) -> Prepared:
        """Read messages and count them against their nodes' limits; touches no database."""
        prepared = Prepared([], [])
        for message in messages:
            found = self._read(message, prepared)
            if found:
                prepared.found.append((message, found))
        return prepared

    def write(self, prepared: Prepared) -> None:
        """Store what has been read; when it returns the messages may be acknowledged.

        Raises StoreError when the database is away: then nothing is stored, and it may be tried
        again.
        """
        started = time.perf_counter()
        try:
            batch = self._store(prepared)
        except StoreError:
            raise
        except Exception as error:
            self._one_by_one(prepared, error)
            return
        self.counts["batches"] += 1
        self.counts["write_us"] += int((time.perf_counter() - started) * 1e6)
        self.counts["flooded"] += prepared.dropped
        self._after(batch)

    def _one_by_one(self, prepared: Prepared, error: Exception) -> None:
        if len(prepared.found) == 1 and not prepared.letters:
            message = prepared.found[0][0]
            _log.error("a message on %s could not be stored: %s", message.topic, error)
            letter = self._letter(message, f"could not be stored: {_line(error)}")
            self.write(Prepared([], [letter], prepared.dropped))
            return
        if not prepared.found:
            raise error
        _log.warning("a batch was refused, its messages are stored one by one: %s", _line(error))
        self.write(Prepared([], prepared.letters, prepared.dropped))
        for one in prepared.found:
            self.write(Prepared([one], []))

    def _store(self, prepared: Prepared) -> _Batch:
        batch = _Batch(prepared.letters)
        kept = dict(self._kept) if self._settings.store_every else self._kept
        with self._database.writing() as connection:
            readings.storing(connection, self._database)
            for message, found in prepared.found:
                self._place(connection, message, found, batch, kept)
            self._insert(connection, batch)
            for hook in self._hooks:
                hook.store(connection, batch.arrivals)
        self._kept = kept
        self._table.remember(batch.new_nodes)
        return batch

    def _read(self, message: Message, prepared: Prepared) -> list[tuple[str, Any]]:
        refused: tuple[Any, ...]
        try:
            if message.size > self._settings.max_payload:
                raise Refused(f"is {message.size} bytes, more than {self._settings.max_payload}")
            found = self.inbound.events(
                message.topic, message.payload, message.received_at, message.retained
            )
        except Refused as error:
            refused = (error.reason, error.dialect, error.field)
        except Exception as error:
            _log.exception("a message on %s could not be read", message.topic)
            refused = (f"internal error: {_line(error)}",)
        else:
            if not found:
                return found
            first = found[0][1]
            key = nodes.public_id(first.dialect, first.tenant, first.node)
            if self._within(key, message, prepared):
                return found
            return []
        if self._within(self._sender(message), message, prepared):
            prepared.letters.append(self._letter(message, *refused))
        return []

    def _sender(self, message: Message) -> str:
        """Whose limit a refused message counts against: the topic, or its node's where many share
        the topic and the node it names is known."""
        claimed = self.inbound.claimed(message.topic, message.payload)
        known = claimed is not None and self._table.get(nodes.key_of(claimed[0], {}, claimed[1]))
        return f"{message.topic} of {claimed[1]}" if claimed and known else message.topic

    def _within(self, key: object, message: Message, prepared: Prepared) -> bool:
        if self.flood.takes(key, message.received_at):
            return True
        prepared.dropped += 1
        dropped = self.flood.to_say(key, message.received_at)
        if dropped:
            rate = self._settings.node_rate
            reason = f"more than {rate:g} messages a second: {dropped} dropped so far"
            prepared.letters.append(self._letter(message, reason))
        return False

    def _letter(
        self,
        message: Message,
        reason: str,
        dialect: str | None = None,
        field: str | None = None,
    ) -> dict[str, Any]:
        return deadletters.row_of(
            message.topic,
            message.payload,
            reason,
            message.received_at,
            dialect,
            field,
            message.size,
            dup=message.dup,
            retained=message.retained,
        )

    def _place(
        self,
        connection: sa.Connection,
        message: Message,
        found: Sequence[tuple[str, Any]],
        batch: _Batch,
        kept: dict[int, tuple[float, ...]],
    ) -> None:
        before = None
        if message.dup and (delivery := _delivery(message)) is not None:
            before = deliveries.received_before(connection, delivery, AGAIN_S)
        nameless = False
        for nth, (name, event) in enumerate(found):
            key = nodes.key_of(event.dialect, event.tenant, event.node)
            node = self._table.get(key) or batch.new_nodes.get(key)
            if node is None:
                try:
                    node = self._table.make(connection, key, message.received_at)
                except FieldhandError as error:
                    reason = f"{event.dialect}: {error}"
                    batch.letters.append(self._letter(message, reason, event.dialect))
                    return
                batch.new_nodes[key] = node
            identity = readings.key_of(event, message.topic, message.payload, nth, before)
            if _untimed(event, identity):
                nameless = nameless or (before is None and not message.retained)
                if message.retained:
                    table = schema.reading if isinstance(event, Reading) else schema.event
                    identity = readings.came_before(connection, table, node.id, identity, AGAIN_S)
            arrival = Arrival(message.topic, name, event, identity, node, message.retained)
            arrival.dup = message.dup
            if isinstance(event, Reading) and self._settings.store_every:
                arrival.stored = self._wanted(event, node, kept)
            batch.arrivals.append(arrival)
        if nameless and (delivery := _delivery(message)) is not None:
            batch.nameless.append(delivery)

    def _wanted(self, reading: Reading, node: NodeRow, kept: dict[int, tuple[float, ...]]) -> bool:
        every = self._settings.store_every.get(reading.dialect)
        if not every:
            return True
        # By the node's own clock, even a wrong one: a backlog comes all at once.
        at = reading.received_at if reading.time is None else float(reading.time)
        marks = kept.get(node.id, ())
        # The latest before it: a backlog and what is measured meanwhile have marks of their own.
        last = max((mark for mark in marks if mark <= at), default=None)
        if last is not None and at - last < every:
            return False
        kept[node.id] = (*marks, at)[-KEPT_MARKS:]
        return True

    def _insert(self, connection: sa.Connection, batch: _Batch) -> None:
        measured = []
        happened = []
        said: dict[int, Status] = {}
        heard: dict[int, float] = {}
        for arrival in batch.arrivals:
            event = arrival.event
            if not arrival.retained:
                heard[arrival.node.id] = event.received_at
            if isinstance(event, Reading):
                if arrival.stored:
                    measured.append(arrival)
            elif isinstance(event, (Alert, NodeEvent)):
                happened.append(arrival)
            elif isinstance(event, Status):
                said[arrival.node.id] = event
        rows = [readings.row_of(a.node.id, a.key, a.event) for a in measured]  # type: ignore[arg-type]
        fresh = readings.insert(connection, self._database, schema.reading, rows)
        for arrival, new in zip(measured, fresh, strict=True):
            arrival.fresh = new
        rows = [events.row_of(a.node.id, a.key, a.event) for a in happened]  # type: ignore[arg-type]
        fresh = readings.insert(connection, self._database, schema.event, rows, events.KEY)
        for arrival, new in zip(happened, fresh, strict=True):
            arrival.fresh = new
        deliveries.note(connection, self._database, batch.nameless)
        if said:
            nodes.set_status(connection, self._database, said)
        if heard:
            nodes.heard(connection, heard)
        batch.kept = deadletters.add(connection, batch.letters, AGAIN_S)

    def _after(self, batch: _Batch) -> None:
        counts = self.counts
        counts["invalid"] += len(batch.letters)
        for arrival in batch.arrivals:
            counts[type(arrival.event).__name__.lower() if arrival.fresh else "duplicate"] += 1
        if self._hub.listening:
            self._hub.publish([live(a.event, a.node, a.stored) for a in batch.arrivals if a.fresh])
            self._hub.publish([_refused(row) for row in batch.kept])
        for hook in self._hooks:
            try:
                hook.committed(batch.arrivals)
            except Exception:
                counts["hook_errors"] += 1
                _log.exception("%s failed on what was stored", type(hook).__name__)


def _delivery(message: Message) -> Delivery | None:
    if message.delivery is None:
        return None
    said = deliveries.digest(message.topic, message.payload)
    return Delivery(*message.delivery, said, message.received_at)


def _untimed(event: Heard, key: Key) -> bool:
    """Whether nothing in a reading, alert or event says which one it is."""
    kinds = (Reading, Alert, NodeEvent)
    return isinstance(event, kinds) and event.time is None and key.boot.startswith("~")


def _refused(row: Mapping[str, Any]) -> LiveEvent:
    return live(
        Invalid(
            row["topic"],
            row["reason"],
            row["dialect"],
            row["field"],
            row["payload"][:SHOWN_BYTES],
            row["received"],
        ),
        None,
    )


def _line(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines()
    return lines[0] if lines else type(original).__name__
