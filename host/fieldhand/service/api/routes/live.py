"""Live streams: the general one, and those of the seed systems' documents.

Each begins with the last that is known and goes on with what comes in. Events are numbered: a
browser that comes back with Last-Event-ID gets what it missed, where the hub still has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from fieldhand.errors import FieldhandError
from fieldhand.service.api import ondemand
from fieldhand.service.api.deps import Caller, NodeWord, Reader, ServiceDep, find_node
from fieldhand.service.api.streams import NOT_FOUND, TRY_AGAIN, EventStream, push
from fieldhand.service.live import current, wire
from fieldhand.service.live.hub import Hub, LiveEvent, Subscription, TooManyClients
from fieldhand.service.service import Service
from fieldhand.service.store import nodes
from fieldhand.service.store.nodes import NodeRow

router = APIRouter(tags=["live"])

# So many kinds one stream may be asked for.
MAX_KINDS = 20

NodeFilter = Annotated[str | None, Query(max_length=300, description="only this node's id")]
KindFilter = Annotated[
    list[Annotated[str, Query(max_length=64)]] | None,
    Query(max_length=MAX_KINDS, description="only these kinds: reading, status, alert ..."),
]
WithState = Annotated[bool, Query(description="begin with the last each node said and measured")]
LastEventId = Annotated[
    str | None, Header(max_length=64, description="id of the last event received")
]
Name = Annotated[str, Path(max_length=300)]

STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    404: {"description": "no node 'greenhouse'"},
    409: {"description": "several nodes are called 'pump': dese:a:pump, dese:b:pump"},
}

Wanted = Callable[[LiveEvent], bool]


@router.get("/live", response_class=StreamingResponse, responses=STREAM)
async def live(
    caller: Reader,
    service: ServiceDep,
    node: NodeFilter = None,
    kind: KindFilter = None,
    state: WithState = True,
    last_event_id: LastEventId = None,
) -> EventStream:
    """Everything the caller may see, as Server-Sent Events.

    `event` is its kind, `data` one JSON object, `id` its place. `ping` events are heartbeats;
    `dropped` says that the client was too slow. What there is of state comes first.
    """
    row = await run_in_threadpool(_only, service, node, caller)
    wanted = _wanted(caller, row, kind)
    return await _stream(
        service,
        caller,
        wanted,
        lambda: _state(service, caller, row, wanted) if state else [],
        last_event_id,
    )


@router.websocket("/live")
async def live_websocket(
    websocket: WebSocket,
    caller: Reader,
    service: ServiceDep,
    node: NodeFilter = None,
    kind: KindFilter = None,
    state: WithState = True,
) -> None:
    """The same as messages {"type": kind, "id": ..., "data": {...}} of a WebSocket."""
    row = await run_in_threadpool(_only, service, node, caller)
    wanted = _wanted(caller, row, kind)
    await _push(
        websocket,
        service,
        caller,
        wanted,
        lambda: _state(service, caller, row, wanted, state),
    )


@router.get("/devices/{node_id}/stream", response_class=StreamingResponse, responses=STREAM)
async def plantnanny_stream(
    node_id: NodeWord,
    caller: Reader,
    service: ServiceDep,
    last_event_id: LastEventId = None,
) -> EventStream:
    """PlantNanny's stream: the device is told `send_now`, and each `reading` comes as an event.

    `data` has the names of devices/<id>/data, and `device_id`.
    """
    row = await run_in_threadpool(find_node, service, node_id, caller, "plantnanny")
    wanted = _wanted(caller, row, ["reading", "status"])
    stream = await _stream(
        service,
        caller,
        wanted,
        lambda: _state(service, caller, row, wanted),
        last_event_id,
        wire.plantnanny,
    )
    ondemand.ask(service, row)
    return stream


@router.websocket("/realtime/{machine_id}")
async def solar_realtime(
    websocket: WebSocket, machine_id: Name, caller: Reader, service: ServiceDep
) -> None:
    """A solar machine's telemetry and status, as it publishes them, with `type`."""
    await _of_document(websocket, service, caller, "solar", machine_id, wire.solar)


@router.websocket("/ws/{farm_id}")
async def farm_socket(
    websocket: WebSocket, farm_id: Name, caller: Reader, service: ServiceDep
) -> None:
    """A farm's `sensor_update`, `agronomy_analysis` and `STATUS` messages."""
    await _of_document(websocket, service, caller, "farm", farm_id, wire.farm)


def _wanted(caller: Caller, row: NodeRow | None, kinds: list[str] | None) -> Wanted:
    only = frozenset(kinds) if kinds is not None else None
    number = None if row is None else row.id

    def wanted(event: LiveEvent) -> bool:
        if only is not None and event.kind not in only:
            return False
        if number is not None and (event.node is None or event.node.id != number):
            return False
        return caller.wants(event)

    return wanted


def _only(service: Service, word: str | None, caller: Caller) -> NodeRow | None:
    return None if word is None else find_node(service, word, caller)


def _state(
    service: Service, caller: Caller, row: NodeRow | None, wanted: Wanted, state: bool = True
) -> list[LiveEvent]:
    if not state:
        return []
    position = service.hub.position
    with service.database.reading() as connection:
        rows = [row] if row is not None else nodes.listing(connection, caller.org)
        events = current.events(connection, rows[: current.MAX_NODES], position)
    return [event for event in events if wanted(event)]


def subscribed(hub: Hub, wanted: Wanted, caller: Caller) -> Subscription:
    """A subscription; HTTPException 503 when there are too many."""
    try:
        return hub.subscribe(wanted, allowed=caller.still_allowed)
    except TooManyClients as error:
        raise HTTPException(503, str(error), {"Retry-After": "30"}) from None


async def _stream(
    service: Service,
    caller: Caller,
    wanted: Wanted,
    state: Callable[[], list[LiveEvent]],
    last_event_id: str | None,
    form: Callable[[LiveEvent], bytes | None] = lambda event: event.sse,
) -> EventStream:
    subscription = subscribed(service.hub, wanted, caller)
    # Before anything is awaited: between what was missed and what comes nothing is lost.
    missed = service.hub.since(last_event_id) if last_event_id else None
    try:
        if missed is not None:
            first = [event for event in missed if wanted(event)]
        else:
            first = await run_in_threadpool(state)
    except BaseException:
        subscription.close()
        raise
    return EventStream(subscription, first, form)


async def _push(
    websocket: WebSocket,
    service: Service,
    caller: Caller,
    wanted: Wanted,
    state: Callable[[], list[LiveEvent]],
    form: Callable[[LiveEvent], str | None] = lambda event: event.text,
) -> None:
    await websocket.accept()
    try:
        subscription = service.hub.subscribe(wanted, allowed=caller.still_allowed)
    except TooManyClients as error:
        await websocket.close(TRY_AGAIN, str(error))
        return
    try:
        first = await run_in_threadpool(state)
    except FieldhandError as error:
        subscription.close()
        await websocket.close(TRY_AGAIN, str(error)[:100])
        return
    except BaseException:
        subscription.close()
        raise
    await push(websocket, subscription, first, form)


async def _of_document(
    websocket: WebSocket,
    service: Service,
    caller: Caller,
    dialect: str,
    name: str,
    form: Callable[[LiveEvent], str | None],
) -> None:
    try:
        row = await run_in_threadpool(find_node, service, name, caller, dialect)
    except HTTPException as error:
        # Accepted first: a browser tells its page the code of a close, not of a refusal.
        await websocket.accept()
        await websocket.close(NOT_FOUND, str(error.detail)[:100])
        return
    wanted = _wanted(caller, row, None)
    await _push(
        websocket, service, caller, wanted, lambda: _state(service, caller, row, wanted), form
    )
