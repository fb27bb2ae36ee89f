"""The nodes, their current state and their readings."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from fieldhand.service.api.deps import NO_NUL, NodeDep, Operator, ReadDb, Reader, ServiceDep
from fieldhand.service.api.routes.paging import WindowDep, cursor
from fieldhand.service.service import Service
from fieldhand.service.store import access, nodes, readings, series
from fieldhand.service.store.nodes import NodeRow
from fieldproto.quantities import UNITS

router = APIRouter(tags=["nodes"])

# Quantities one question may name.
MAX_QUANTITIES = 50


_STATUS = {
    "state": "online",
    "details": {"firmware": "0.1.0", "rssi": -61},
    "time": 1781000000,
    "received": 1781000000.2,
    "retained": False,
}
_READING = {
    "id": 4711,
    "at": 1781000000.0,
    "time": 1781000000,
    "received": 1781000000.4,
    "quality": "synced",
    "boot": "3-9f2c61d0",
    "seq": 128,
    "quantities": {"air_temperature": 21.4, "soil_moisture": 37.0},
    "attributes": {"firmware": "0.1.0"},
}
_NODE = {
    "id": "dese:farm_001:pump-1",
    "name": "pump-1",
    "dialect": "dese",
    "tenant": {"org": "farm_001"},
    "org": "farm_001",
    "registered": True,
    "first_heard": 1780000000.0,
    "last_heard": 1781000000.4,
    "state": "online",
    "silent_s": 3900.0,
    "status": _STATUS,
    "reading": _READING,
}


def _example(*examples: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": list(examples)})


class StatusOut(BaseModel):
    """The last a node said of itself. `retained`: the broker had kept it."""

    model_config = _example(_STATUS)

    state: str
    details: dict[str, Any]
    time: int | None
    received: float
    retained: bool


class ReadingOut(BaseModel):
    """A reading. `at` orders history: the node's own `time`, or when it was `received`.

    That is where the node's clock was not set or is ahead: nothing comes before it was measured.
    """

    model_config = _example(_READING)

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
    """A node with its current state. Times are Unix seconds.

    `state` is "offline" where the node, or its will, said so and nothing has come since, "silent"
    where nothing has come for more than `silent_s` seconds, "unheard" where nothing ever came, else
    "online". `status` is what it said itself.
    """

    model_config = _example(_NODE)

    id: str
    name: str
    dialect: str
    tenant: dict[str, str]
    org: str | None
    registered: bool
    first_heard: float | None
    last_heard: float | None
    state: nodes.State
    silent_s: float
    status: StatusOut | None
    reading: ReadingOut | None


class NodePage(BaseModel):
    """`next` is the `after` of the page that follows, null on the last."""

    model_config = _example({"nodes": [_NODE], "next": None})

    nodes: list[NodeOut]
    next: int | None


class ReadingPage(BaseModel):
    """`next` is the `after` of the page that follows, null on the last."""

    model_config = _example({"readings": [_READING], "next": None})

    readings: list[ReadingOut]
    next: str | None


class SeriesOut(BaseModel):
    """One quantity, a list per column, oldest first.

    From `at[i]` on `n[i]` values were measured, from `min[i]` to `max[i]`, `mean[i]` on average; as
    measured (raw) all three are the value.
    """

    unit: str | None
    at: list[float]
    n: list[int]
    min: list[float]
    mean: list[float]
    max: list[float]


class HistoryOut(BaseModel):
    """Quantity -> its series. `next` is the `after` of the page that follows, null on the last."""

    model_config = _example(
        {
            "resolution": "1h",
            "series": {
                "soil_moisture": {
                    "unit": "%",
                    "at": [1780999200.0],
                    "n": [120],
                    "min": [35.1],
                    "mean": [36.2],
                    "max": [37.4],
                }
            },
            "next": None,
        }
    )

    resolution: Literal["raw", "1m", "1h"]
    series: dict[str, SeriesOut]
    next: str | None


class NodeChange(BaseModel):
    """Whose a node is to be; null: nobody's, so that only the operator sees it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"organisation": "greenhouses"}]}
    )

    organisation: (
        Annotated[str, Field(min_length=1, max_length=access.MAX_NAME, pattern=NO_NUL)] | None
    )


Quantities = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=64, pattern=NO_NUL)]] | None,
    Query(
        max_length=MAX_QUANTITIES,
        description="only these, by their canonical names",
        examples=[["soil_moisture"]],
    ),
]


@router.get("/nodes", summary="List nodes")
def list_nodes(
    caller: Reader,
    connection: ReadDb,
    service: ServiceDep,
    after: Annotated[int, Query(ge=0, le=2**62, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> NodePage:
    """Those one may see, each with the last it said and measured."""
    rows = nodes.listing(connection, caller.org, after=after, limit=limit)
    return NodePage(
        nodes=_with_state(connection, service, rows),
        next=rows[-1].id if len(rows) == limit else None,
    )


@router.get("/nodes/{node_id}", summary="One node")
def one_node(node: NodeDep, connection: ReadDb, service: ServiceDep) -> NodeOut:
    """A node with the last it said and measured."""
    return _with_state(connection, service, [node])[0]


@router.patch(
    "/nodes/{node_id}",
    summary="Say whose a node is",
    responses={
        404: {"description": "no node 'greenhouse'"},
        409: {"description": "its topics say whose it is: farm_001"},
    },
)
def change_node(
    change: NodeChange, caller: Operator, node: NodeDep, service: ServiceDep
) -> NodeOut:
    """Gives a node to an organisation. Where topics name one (DESE, solar), that cannot be."""
    named = nodes.org_of(node.tenant)
    if named is not None and named != change.organisation:
        raise HTTPException(409, f"its topics say whose it is: {named}")
    org = change.organisation
    with service.database.writing() as connection:
        if org is not None and access.organisation(connection, org) is None:
            raise HTTPException(422, f"no organisation '{org}': add it first")
        nodes.assign(connection, node.id, org)
        row = nodes.get(connection, node.id)
        assert row is not None
        changed = _with_state(connection, service, [row])[0]
    _forget(service, node)
    return changed


@router.get("/nodes/{node_id}/latest", summary="A node's newest reading")
def latest_reading(node: NodeDep, connection: ReadDb) -> ReadingOut | None:
    """The last in history, which is ordered by `at`; null when there is none."""
    found = readings.latest(connection, [node.id])
    return ReadingOut(**found[node.id]) if node.id in found else None


@router.get("/nodes/{node_id}/readings", summary="A node's readings")
def list_readings(
    node: NodeDep,
    connection: ReadDb,
    window: WindowDep,
    order: Literal["oldest", "newest"] = "oldest",
) -> ReadingPage:
    """As they were sent, from `since` to before `until`."""
    rows = readings.history(
        connection,
        node.id,
        window,
        newest_first=order == "newest",
    )
    last = cursor((rows[-1]["at"], rows[-1]["id"])) if len(rows) == window.limit else None
    return ReadingPage(readings=[ReadingOut(**row) for row in rows], next=last)


@router.get("/nodes/{node_id}/history", summary="A node's quantities over time")
def quantity_history(
    node: NodeDep,
    connection: ReadDb,
    window: WindowDep,
    quantity: Quantities = None,
    resolution: Literal["raw", "1m", "1h"] = "raw",
) -> HistoryOut:
    """Ready to be drawn: a list per column, from `since` to before `until`.

    By the minute (1m) and the hour (1h) the last few are missing until they have been summed up.
    `limit` counts readings, minutes or hours.
    """
    found, last = series.history(
        connection,
        node.id,
        resolution,
        window,
        quantity,
    )
    made = {
        name: SeriesOut(unit=UNITS.get(name), **vars(columns))
        for name, columns in sorted(found.items())
    }
    return HistoryOut(
        resolution=resolution, series=made, next=None if last is None else cursor(last)
    )


def _forget(service: Service, node: NodeRow) -> None:
    """What comes in from now on is the new organisation's."""
    service.ingest.nodes.forget(nodes.key_of(node.dialect, node.tenant, node.name))


def _with_state(connection: sa.Connection, service: Service, rows: list[NodeRow]) -> list[NodeOut]:
    now, silent_s = time.time(), service.settings.node_silent_s
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
            state=nodes.state_of(row, states.get(row.id), now, silent_s),
            silent_s=silent_s,
            status=StatusOut(**states[row.id]) if row.id in states else None,
            reading=ReadingOut(**last[row.id]) if row.id in last else None,
        )
        for row in rows
    ]
