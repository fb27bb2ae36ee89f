"""What happened: alerts and events of all nodes or of one, and the outages among them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from fieldhand.service.api.deps import NO_NUL, NodeDep, ReadDb, Reader
from fieldhand.service.api.routes.paging import WindowDep, cursor
from fieldhand.service.store import events, nodes
from fieldhand.service.store.window import Window

router = APIRouter(tags=["events"])

OUTAGE = "outage"

_EVENT: dict[str, JsonValue] = {
    "id": 12,
    "node_id": "dese:farm_001:pump-1",
    "kind": "alert",
    "at": 1781000000.0,
    "time": 1781000000,
    "received": 1781000000.4,
    "boot": "3-9f2c61d0",
    "name": "critical",
    "state": "raised",
    "message": "ph 8.9 is above 8.2",
    "sensor": "ph",
    "value": 8.9,
    "threshold": 8.2,
    "data": {},
}


_OUTAGE: dict[str, JsonValue] = {
    "id": 13,
    "started": 1780999700.0,
    "ended": 1781000000.0,
    "seconds": 300.0,
    "cause": "broker: connection lost",
    "received": 1781000000.4,
}


class EventOut(BaseModel):
    """An alert or an event. Times are Unix seconds; `at` orders them, as with readings."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EVENT]})

    id: int
    node_id: str
    kind: Literal["alert", "event"]
    at: float
    time: int | None
    received: float
    boot: str | None
    name: str = Field(description="an alert's severity, an event's word: run, outage, crash ...")
    state: str | None = Field(description="of an alert: raised or cleared")
    message: str | None
    sensor: str | None = Field(description="the quantity, by its canonical name")
    value: float | None
    threshold: float | None
    data: dict[str, Any]


class EventPage(BaseModel):
    """The newest first. `next` is the `after` of the page that follows, null on the last."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [_EVENT], "next": None}]})

    events: list[EventOut]
    next: str | None


class Outage(BaseModel):
    """A node was away from its broker, and told when it was back.

    `seconds` is its own count, `started` reckoned from it; null where its clock was not set.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_OUTAGE]})

    id: int
    started: float | None
    ended: float | None
    seconds: float | None
    cause: str | None
    received: float


class OutagePage(BaseModel):
    """The newest first. `next` is the `after` of the page that follows, null on the last."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"outages": [_OUTAGE], "next": None}]}
    )

    outages: list[Outage]
    next: str | None


Kind = Annotated[Literal["alert", "event"] | None, Query(description="only these")]
Names = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=64, pattern=NO_NUL)]] | None,
    Query(max_length=20, description="only these severities or words", examples=[["critical"]]),
]


@router.get("/events", summary="Alerts and events of all nodes")
def list_events(
    caller: Reader,
    connection: ReadDb,
    window: WindowDep,
    kind: Kind = None,
    name: Names = None,
) -> EventPage:
    """Of the nodes one may see, the newest first, from `since` to before `until`."""
    return _page(connection, window, org=caller.org, kind=kind, names=name)


@router.get("/nodes/{node_id}/events", summary="A node's alerts and events")
def node_events(
    node: NodeDep,
    connection: ReadDb,
    window: WindowDep,
    kind: Kind = None,
    name: Names = None,
) -> EventPage:
    """The newest first, from `since` to before `until`."""
    return _page(connection, window, node_id=node.id, kind=kind, names=name)


@router.get("/nodes/{node_id}/outages", summary="When a node was away")
def node_outages(
    node: NodeDep,
    connection: ReadDb,
    window: WindowDep,
) -> OutagePage:
    """What the node says of its connection: each outage once it was over, the newest first."""
    rows = events.history(connection, window, node_id=node.id, kind="event", names=[OUTAGE])
    return OutagePage(outages=[_outage(row) for _, row in rows], next=_next(rows, window.limit))


def _page(connection: sa.Connection, window: Window, **which: Any) -> EventPage:
    """`which` as `events.history` has it."""
    rows = events.history(connection, window, **which)
    names = nodes.names(connection, (node for node, _ in rows))
    return EventPage(
        events=[EventOut(node_id=names[node], **row) for node, row in rows],
        next=_next(rows, window.limit),
    )


def _next(rows: list[tuple[int, dict[str, Any]]], limit: int) -> str | None:
    return cursor((rows[-1][1]["at"], rows[-1][1]["id"])) if len(rows) == limit else None


def _outage(row: dict[str, Any]) -> Outage:
    data = row["data"]
    seconds = data.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = None
    ended = None if row["time"] is None else float(row["time"])
    cause = data.get("cause")
    return Outage(
        id=row["id"],
        started=None if ended is None or seconds is None else ended - seconds,
        ended=ended,
        seconds=seconds,
        cause=None if cause is None else str(cause),
        received=row["received"],
    )
