"""The general live stream: everything the caller may see, as Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse

from fieldhand.service.deps import Reader, ServiceDep
from fieldhand.service.hub import Hub, LiveEvent, Subscription, TooManyClients

router = APIRouter(tags=["live"])

# A comment this often tells proxies and browsers that the stream lives.
HEARTBEAT_S = 15.0
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get("/live", response_class=StreamingResponse)
async def live(
    caller: Reader,
    service: ServiceDep,
    node: Annotated[str | None, Query(max_length=300, description="only this node's id")] = None,
    kind: Annotated[list[str] | None, Query(description="only these kinds")] = None,
) -> StreamingResponse:
    """Everything as it comes in: `event` is its kind, `data` one JSON object."""

    def wanted(event: LiveEvent) -> bool:
        if kind is not None and event.kind not in kind:
            return False
        if node is not None and (event.node is None or event.node.public_id != node):
            return False
        return caller.wants(event)

    subscription = subscribed(service.hub, wanted)
    return StreamingResponse(sse(subscription), media_type="text/event-stream", headers=HEADERS)


def subscribed(hub: Hub, wanted: object) -> Subscription:
    """A subscription; HTTPException 503 when there are too many."""
    assert callable(wanted)
    try:
        return hub.subscribe(wanted)
    except TooManyClients as error:
        raise HTTPException(503, str(error), {"Retry-After": "30"}) from None


async def sse(subscription: Subscription) -> AsyncIterator[bytes]:
    """A subscription as the bytes of a text/event-stream; ends with it."""
    with subscription:
        yield b": connected\n\n"
        while not subscription.closed:
            try:
                event = await subscription.get(HEARTBEAT_S)
            except TimeoutError:
                yield b": alive\n\n"
                continue
            if event is None:
                break
            events = [event, *subscription.take()]
            yield b"".join(framed(one) for one in events)
        if subscription.dropped:
            yield b"event: dropped\ndata: {}\n\n"


def framed(event: LiveEvent) -> bytes:
    """One event of a text/event-stream."""
    return b"event: %b\ndata: %b\n\n" % (event.kind.encode(), event.json)
