"""Which readings of a node are stored, as `fieldhand.gaps` wants to know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from fieldhand.ranges import Ranges
from fieldhand.received import KEPT_BOOTS, BootRecord, waiting
from fieldhand.service.moments import AHEAD_S
from fieldhand.service.store import schema
from fieldhand.service.store.nodes import NodeRow

# Stretches without a gap that one question may bring back.
MAX_SPANS = 20_000

_reading = schema.reading


def boots(
    connection: sa.Connection, node: NodeRow, since: float, trimmed: bool = False
) -> list[BootRecord]:
    """The boots that something is stored of with `at` >= `since`, in the order first heard.

    Each with all its readings, also those before. `trimmed`: old readings have been deleted, so
    what is missing at the beginning of the oldest boot may have been there once.
    """
    names = _names(connection, node.id, since)
    records = {name: _record(name, rows) for name, rows in _spans(connection, node.id, names)}
    found = sorted(records.values(), key=lambda record: record.first_heard)
    if trimmed and found:
        first = next(iter(found[0].arrived)).first
        if first > 1:
            found[0].arrived.add(1, first - 1)
    said = connection.execute(
        sa.select(schema.status).where(schema.status.c.node_id == node.id)
    ).one_or_none()
    return found if said is None else _with_status(connection, node.id, found, said)


def _names(connection: sa.Connection, node_id: int, since: float) -> list[str]:
    query = (
        sa.select(_reading.c.boot)
        .where(
            _reading.c.node_id == node_id,
            _reading.c.at >= since,
            # Nobody numbers these.
            _reading.c.boot.not_like("~%"),
        )
        .group_by(_reading.c.boot)
        .order_by(sa.func.min(_reading.c.received).desc())
        .limit(KEPT_BOOTS)
    )
    return [row.boot for row in connection.execute(query)]


def _spans(
    connection: sa.Connection, node_id: int, names: Sequence[str]
) -> list[tuple[str, list[Any]]]:
    """Numbers that follow each other differ from their place in the row by the same amount."""
    place = sa.func.row_number().over(partition_by=_reading.c.boot, order_by=_reading.c.seq)
    numbered = (
        sa.select(
            _reading.c.boot,
            _reading.c.seq,
            _reading.c.received,
            (_reading.c.seq - place).label("stretch"),
        )
        .where(_reading.c.node_id == node_id, _reading.c.boot.in_(names))
        .subquery()
    )
    spans = (
        sa.select(
            numbered.c.boot,
            sa.func.min(numbered.c.seq).label("first"),
            sa.func.max(numbered.c.seq).label("last"),
            sa.func.min(numbered.c.received).label("first_heard"),
            sa.func.max(numbered.c.received).label("last_heard"),
        )
        .group_by(numbered.c.boot, numbered.c.stretch)
        .limit(MAX_SPANS)
        .subquery()
    )
    first, last = _reading.alias("first_reading"), _reading.alias("last_reading")
    query = (
        sa.select(spans, _time(first).label("first_time"), _time(last).label("last_time"))
        .join(first, _is(first, node_id, spans.c.boot, spans.c.first))
        .join(last, _is(last, node_id, spans.c.boot, spans.c.last))
        .order_by(spans.c.boot, spans.c.first)
    )
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query):
        found.setdefault(row.boot, []).append(row)
    return list(found.items())


def _is(table: Any, node_id: int, boot: Any, seq: Any) -> Any:
    return sa.and_(table.c.node_id == node_id, table.c.boot == boot, table.c.seq == seq)


def _time(table: Any) -> Any:
    """The node's time, unless its clock was not set or, as `at` tells, cannot have been right."""
    unknown = sa.func.coalesce(table.c.quality, "") == "unknown"
    wrong = sa.func.abs(table.c.at - table.c.time) > AHEAD_S
    return sa.case((sa.or_(unknown, wrong), None), else_=table.c.time)


def _record(boot: str, rows: Sequence[Any]) -> BootRecord:
    arrived = Ranges()
    for row in rows:
        arrived.add(row.first, row.last, row.first_time, row.last_time)
    return BootRecord(
        boot,
        min(row.first_heard for row in rows),
        max(row.last_heard for row in rows),
        arrived,
    )


def _with_status(
    connection: sa.Connection, node_id: int, found: list[BootRecord], said: Any
) -> list[BootRecord]:
    """With what the node's last status says of readings taken, waiting and lost."""
    details: Mapping[str, Any] = said.details
    taken = _count(details.get("seq"))
    at = next((i for i, record in enumerate(found) if record.boot == said.boot), None)
    if at is None or taken is None:
        return found
    if said.retained and taken <= found[at].top:
        return found  # older than what has come since
    queued = _count(details.get("queued")) or 0
    if queued:
        came = (
            sa.select(sa.func.count())
            .select_from(_reading)
            .where(
                _reading.c.node_id == node_id,
                _reading.c.received > said.received,
                sa.or_(_reading.c.boot != said.boot, _reading.c.seq <= taken),
            )
        )
        queued = max(0, queued - int(connection.execute(came).scalar_one()))
    found[at] = replace(
        found[at],
        taken=taken,
        queued=queued,
        dropped=_count(details.get("dropped")),
        unsendable=_count(details.get("unsendable")),
        corrupt=_count(details.get("corrupt")),
        said_at=said.received,
    )
    for other, first in waiting(dict(enumerate(found)), at, queued).items():
        found[other] = replace(found[other], waiting_from=first)
    return found


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
