"""Messages that were refused: kept with the reason, to be looked at and replayed."""

from __future__ import annotations

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
) -> dict[str, Any]:
    """A refused message as a row of the table. PostgreSQL's text has no NUL."""
    return {
        "topic": topic.replace("\0", "\\0"),
        "payload": payload[:MAX_PAYLOAD],
        "size": len(payload) if size is None else size,
        "reason": reason.replace("\0", "\\0"),
        "dialect": dialect,
        "field": field,
        "received": received,
    }


def add(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep refused messages."""
    if rows:
        connection.execute(schema.dead_letter.insert(), list(rows))


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
