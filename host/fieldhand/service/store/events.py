"""Alerts, and what happened on the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from fieldhand.records import Alert, NodeEvent
from fieldhand.service import moments
from fieldhand.service.store import schema
from fieldhand.service.store.readings import Key
from fieldhand.service.store.window import FIRST_PAGE, Window

KEY = ("node_id", "kind", "boot", "seq")


def row_of(node_id: int, key: Key, event: Alert | NodeEvent) -> dict[str, Any]:
    """An alert or event as a row of the table."""
    row: dict[str, Any] = {
        "node_id": node_id,
        "kind": "alert" if isinstance(event, Alert) else "event",
        "boot": key.boot,
        "seq": key.seq,
        "at": moments.moment(event.time, event.received_at),
        "time": event.time,
        "received": event.received_at,
        "state": None,
        "message": None,
        "sensor": None,
        "value": None,
        "threshold": None,
        "data": None,
    }
    if isinstance(event, Alert):
        row |= {
            "name": event.severity,
            "state": event.state,
            "message": event.message,
            "sensor": event.sensor,
            "value": event.value,
            "threshold": event.threshold,
        }
    else:
        row |= {"name": event.event, "data": dict(event.data)}
    return row


def history(
    connection: sa.Connection,
    window: Window = FIRST_PAGE,
    *,
    org: str | None = None,
    node_id: int | None = None,
    kind: str | None = None,
    names: Sequence[str] | None = None,
) -> list[tuple[int, dict[str, Any]]]:
    """Of all nodes, of those of `org`, or of one: (node's number, event), the newest first.

    `names` are severities or words.
    """
    table = schema.event
    query = sa.select(table)
    if org is not None:
        query = query.join(schema.node, schema.node.c.id == table.c.node_id)
        query = query.where(schema.node.c.org == org)
    if node_id is not None:
        query = query.where(table.c.node_id == node_id)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    if names is not None:
        query = query.where(table.c.name.in_(names))
    found = connection.execute(window.of(query, table, newest_first=True))
    return [(row.node_id, _event(row)) for row in found]


def _event(row: Any) -> dict[str, Any]:
    known = not row.boot.startswith("~")
    return {
        "id": row.id,
        "kind": row.kind,
        "at": row.at,
        "time": row.time,
        "received": row.received,
        "boot": row.boot if known else None,
        "name": row.name,
        "state": row.state,
        "message": row.message,
        "sensor": row.sensor,
        "value": row.value,
        "threshold": row.threshold,
        "data": row.data or {},
    }
