"""Readings: history that is written once each, and asked for by node and time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from fieldhand.records import Alert, NodeEvent, Reading, Reply
from fieldhand.service import moments
from fieldhand.service.store import schema
from fieldhand.service.store.database import Database
from fieldhand.service.store.window import FIRST_PAGE, Window

# How long `last_stored` waits for transactions that store readings; new ones wait behind it.
STORED_WAIT_S = 2

_LOCK = 7245002  # any number that no other advisory lock of this database has
_STORING = sa.text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
_STORED = sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})")


class Key(NamedTuple):
    """What makes a record of a node one: boot and number, or what stands in for them."""

    boot: str
    seq: int


def key_of(
    event: Reading | Alert | NodeEvent | Reply,
    topic: str,
    payload: bytes,
    nth: int,
    received_at: float | None = None,
) -> Key:
    """The key of an event, the `nth` of its message.

    A device that numbers nothing gets the hash of what it sent, and its time; without a time, the
    time of arrival in µs, so that equal values are kept as often as they are measured.
    `received_at` is that arrival where the event's own is another delivery of the same.
    """
    origin = getattr(event, "provenance", None)
    if (
        origin is not None
        and origin.boot is not None
        and origin.seq is not None
        and not origin.boot.startswith("~")  # ours, below
    ):
        return Key(origin.boot, origin.seq)
    digest = hashlib.sha256(b"%b\0%d\0%b" % (topic.encode(), nth, payload)).hexdigest()[:24]
    if event.time is not None:
        return Key(f"~{digest}", event.time)
    arrived = event.received_at if received_at is None else received_at
    return Key(f"~{digest}", round(arrived * 1e6))


def came_before(
    connection: sa.Connection, table: sa.Table, node_id: int, key: Key, within_s: float
) -> Key:
    """The key of the last of `table` that said the same, where it came within so many seconds.

    `table` is `reading` or `event`. For one without a time of its own that the broker keeps, and
    sends at each start: `key` is of its arrival.
    """
    found = connection.execute(
        sa.select(sa.func.max(table.c.seq)).where(
            table.c.node_id == node_id,
            table.c.boot == key.boot,
            table.c.seq > key.seq - int(within_s * 1e6),
        )
    ).scalar()
    return key if found is None else key._replace(seq=int(found))


def row_of(node_id: int, key: Key, reading: Reading) -> dict[str, Any]:
    """A reading as a row of the table."""
    return {
        "node_id": node_id,
        "boot": key.boot,
        "seq": key.seq,
        "at": moments.moment(reading.time, reading.received_at),
        "time": reading.time,
        "received": reading.received_at,
        "quality": reading.provenance.quality,
        "quantities": dict(reading.quantities),
        "attributes": dict(reading.attributes) or None,
    }


def storing(connection: sa.Connection, database: Database) -> None:
    """To be called before the readings of a transaction: `last_stored` waits for its end.

    PostgreSQL numbers a row when it is inserted, not when it is committed.
    """
    if not database.sqlite:
        connection.execute(_STORING)


def last_stored(connection: sa.Connection, database: Database) -> int:
    """The number of the last reading; no other will ever appear below it. 0: there is none.

    In a transaction of its own that writes. Raises StoreError where another does not end.
    """
    if not database.sqlite:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{STORED_WAIT_S:g}s'"))
        connection.execute(_STORED)
    last = connection.execute(sa.select(sa.func.max(schema.reading.c.id))).scalar()
    return int(last or 0)


def insert(
    connection: sa.Connection,
    database: Database,
    table: sa.Table,
    rows: Sequence[dict[str, Any]],
    key: tuple[str, ...] = ("node_id", "boot", "seq"),
) -> list[bool]:
    """Insert rows that may be there already; for each whether it was new.

    Called inside a transaction. For `reading`, and for `event` and `answer` with their key.
    """
    if not rows:
        return []
    statement = (
        database.insert(table)
        .on_conflict_do_nothing(index_elements=list(key))
        .execution_options(preserve_rowcount=True)
    )
    # Nearly always all are new, and counting is far quicker than asking for each.
    point = connection.begin_nested()
    if connection.execute(statement, list(rows)).rowcount == len(rows):
        point.commit()
        return [True] * len(rows)
    point.rollback()
    fresh = []
    for row in rows:
        fresh.append(connection.execute(statement, [row]).rowcount == 1)
    return fresh


def history(
    connection: sa.Connection,
    node_id: int,
    window: Window = FIRST_PAGE,
    newest_first: bool = False,
) -> list[dict[str, Any]]:
    """Readings of a node."""
    query = sa.select(schema.reading).where(schema.reading.c.node_id == node_id)
    found = connection.execute(window.of(query, schema.reading, newest_first))
    return [_reading(row) for row in found]


def latest(connection: sa.Connection, node_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The newest reading, by (at, id), of each node that has one."""
    table = schema.reading
    last = (
        sa.select(table.c.id)
        .where(table.c.node_id == schema.node.c.id)
        .order_by(table.c.at.desc(), table.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    wanted = sa.select(last).where(schema.node.c.id.in_(node_ids))
    rows = connection.execute(sa.select(table).where(table.c.id.in_(wanted)))
    return {row.node_id: _reading(row) for row in rows}


def count(connection: sa.Connection, node_id: int | None = None) -> int:
    """How many readings are stored."""
    query = sa.select(sa.func.count()).select_from(schema.reading)
    if node_id is not None:
        query = query.where(schema.reading.c.node_id == node_id)
    return int(connection.execute(query).scalar_one())


def _reading(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "node_id": row.node_id,
        "boot": None if row.boot.startswith("~") else row.boot,
        "seq": None if row.boot.startswith("~") else row.seq,
        "at": row.at,
        "time": row.time,
        "received": row.received,
        "quality": row.quality,
        "quantities": row.quantities,
        "attributes": row.attributes or {},
    }
