"""Messages that were refused: kept with the reason, to be looked at and replayed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fieldhand.service.store import schema

# Bytes kept of a payload; a longer one can be shown but not replayed.
MAX_PAYLOAD = 65_536


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused message. `size` is that of the payload as it came."""

    id: int
    topic: str
    payload: bytes
    size: int
    reason: str
    dialect: str | None
    field: str | None
    received: float
    replayed: float | None

    @property
    def whole(self) -> bool:
        return len(self.payload) == self.size


def row_of(
    topic: str,
    payload: bytes,
    reason: str,
    received: float,
    dialect: str | None = None,
    field: str | None = None,
    size: int | None = None,
    *,
    dup: bool = False,
    retained: bool = False,
) -> dict[str, Any]:
    """A refused message as a row of the table. PostgreSQL's text has no NUL."""
    size = len(payload) if size is None else size
    kept = payload[:MAX_PAYLOAD]
    return {
        "topic": topic.replace("\0", "\\0"),
        "payload": kept,
        "size": size,
        "digest": hashlib.sha256(b"%b\0%d\0%b" % (topic.encode(), size, kept)).hexdigest()[:24],
        "dup": dup,
        "retained": retained,
        "reason": reason.replace("\0", "\\0"),
        "dialect": dialect,
        "field": field,
        "received": received,
    }


def add(
    connection: sa.Connection, rows: Sequence[dict[str, Any]], within_s: float = 0.0
) -> list[dict[str, Any]]:
    """Keep refused messages; returns those that are new.

    One that is marked as coming again, and says what one of the last `within_s` seconds said, is
    that one: the service ended before it could acknowledge it. A message that the broker keeps
    comes at each start, and is the same however long ago it came first.
    """
    new: list[dict[str, Any]] = []
    for row in rows:
        if row["retained"]:
            again = _is_known(connection, row, new, None)
        else:
            again = row["dup"] and _is_known(connection, row, new, row["received"] - within_s)
        if not again:
            new.append(row)
    if new:
        connection.execute(schema.dead_letter.insert(), new)
    return new


def _is_known(
    connection: sa.Connection,
    row: dict[str, Any],
    beside: Sequence[dict[str, Any]],
    since: float | None,
) -> bool:
    what = ("digest", "reason")
    if any(all(other[name] == row[name] for name in what) for other in beside):
        return True
    table = schema.dead_letter
    query = sa.select(table.c.id).where(*(table.c[name] == row[name] for name in what)).limit(1)
    if since is not None:
        query = query.where(table.c.received >= since)
    return connection.execute(query).first() is not None


def listing(
    connection: sa.Connection,
    *,
    before: int | None = None,
    topic: str | None = None,
    waiting: bool = False,
    limit: int = 100,
) -> list[DeadLetter]:
    """The newest first. `before` is a number of the page before, `waiting`: not yet replayed."""
    table = schema.dead_letter
    query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.id < before)
    if topic is not None:
        query = query.where(table.c.topic == topic)
    if waiting:
        query = query.where(table.c.replayed.is_(None))
    return [_letter(row) for row in connection.execute(query)]


def get(connection: sa.Connection, id: int) -> DeadLetter | None:
    """One refused message."""
    table = schema.dead_letter
    row = connection.execute(sa.select(table).where(table.c.id == id)).one_or_none()
    return None if row is None else _letter(row)


def count(connection: sa.Connection) -> int:
    """How many are kept."""
    query = sa.select(sa.func.count()).select_from(schema.dead_letter)
    return int(connection.execute(query).scalar_one())


def mark_replayed(connection: sa.Connection, ids: Sequence[int], at: float) -> None:
    """They have been published again."""
    table = schema.dead_letter
    connection.execute(table.update().where(table.c.id.in_(ids)).values(replayed=at))


def _letter(row: Any) -> DeadLetter:
    return DeadLetter(
        row.id,
        row.topic,
        bytes(row.payload),
        row.size,
        row.reason,
        row.dialect,
        row.field,
        row.received,
        row.replayed,
    )
