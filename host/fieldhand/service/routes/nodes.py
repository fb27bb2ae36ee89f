"""The nodes, their current state and their history."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel

from fieldhand.service.deps import NodeDep, ReadDb, Reader
from fieldhand.service.store import events, nodes, readings
from fieldhand.service.store.nodes import NodeRow

router = APIRouter(tags=["nodes"])

MAX_PAGE = 10_000

# Unix seconds that a float and a database agree on.
Seconds = Annotated[float | None, Query(ge=-1e11, le=1e11, allow_inf_nan=False)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


class StatusOut(BaseModel):
    """The last a node said of itself. `retained`: the broker had kept it."""

    state: str
    details: dict[str, Any]
    time: int | None
    received: float
    retained: bool


class ReadingOut(BaseModel):
    """A reading. `at` orders history: the node's own `time`, else when it was `received`."""

    id: int
    at: float
    time: int | None
    received: float
    quality: str | None
    boot: str | None
    seq: int | None
    quantities: dict[str, float | None]
    attributes: dict[str, Any]


class NodeOut(BaseModel):
    """A node with its current state. Times are Unix seconds."""

    id: str
    name: str
    dialect: str
    tenant: dict[str, str]
    org: str | None
    registered: bool
    first_heard: float | None
    last_heard: float | None
    status: StatusOut | None
    reading: ReadingOut | None


class NodePage(BaseModel):
    """`next` is the `after` of the page that follows, null on the last."""

    nodes: list[NodeOut]
    next: int | None


class ReadingPage(BaseModel):
    """`next` is the `after` of the page that follows, null on the last."""

    readings: list[ReadingOut]
    next: str | None


@router.get("/nodes")
def list_nodes(
    caller: Reader,
    connection: ReadDb,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> NodePage:
    """All nodes, with the last they said and measured."""
    rows = nodes.listing(connection, caller.org, after=after, limit=limit)
    return NodePage(
        nodes=_with_state(connection, rows), next=rows[-1].id if len(rows) == limit else None
    )


@router.get("/nodes/{node_id}")
def one_node(node: NodeDep, connection: ReadDb) -> NodeOut:
    """One node."""
    return _with_state(connection, [node])[0]


@router.get("/nodes/{node_id}/readings")
def list_readings(
    node: NodeDep,
    connection: ReadDb,
    since: Seconds = None,
    until: Seconds = None,
    order: Literal["oldest", "newest"] = "oldest",
    after: Annotated[str | None, Query(pattern=r"^-?\d{1,12}(\.\d{1,9})?,\d{1,18}$")] = None,
    limit: Limit = 1000,
) -> ReadingPage:
    """A node's readings, from `since` to before `until`."""
    place = None
    if after is not None:
        at, _, id = after.partition(",")
        place = (float(at), int(id))
    rows = readings.history(
        connection,
        node.id,
        since=since,
        until=until,
        after=place,
        limit=limit,
        newest_first=order == "newest",
    )
    last = f"{rows[-1]['at']!r},{rows[-1]['id']}" if len(rows) == limit else None
    return ReadingPage(readings=[ReadingOut(**row) for row in rows], next=last)


@router.get("/nodes/{node_id}/events")
def list_events(
    node: NodeDep,
    connection: ReadDb,
    kind: Literal["alert", "event"] | None = None,
    since: Seconds = None,
    until: Seconds = None,
    limit: Limit = 1000,
) -> list[dict[str, Any]]:
    """A node's alerts and events, the newest first."""
    return events.history(connection, node.id, kind=kind, since=since, until=until, limit=limit)


def _with_state(connection: sa.Connection, rows: list[NodeRow]) -> list[NodeOut]:
    ids = [row.id for row in rows]
    states = nodes.statuses(connection, ids)
    last = readings.latest(connection, ids)
    return [
        NodeOut(
            id=row.public_id,
            name=row.name,
            dialect=row.dialect,
            tenant=dict(row.tenant),
            org=row.org,
            registered=row.registered,
            first_heard=row.first_heard,
            last_heard=row.last_heard,
            status=StatusOut(**states[row.id]) if row.id in states else None,
            reading=ReadingOut(**last[row.id]) if row.id in last else None,
        )
        for row in rows
    ]
