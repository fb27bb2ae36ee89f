"""A subscription to the hub as Server-Sent Events or as the messages of a WebSocket.

What no client of the stream can read fast enough ends that client's stream and no other: its queue
is bounded, and so is how long one of its writes may take.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from fastapi import Response, WebSocket, WebSocketDisconnect
from starlette.types import Receive, Scope, Send

from fieldhand.service.hub import LiveEvent, Subscription

# This often a stream that has nothing to say says that it lives.
HEARTBEAT_S = 15.0
# What a browser waits before it connects again.
RETRY_MS = 2_000
# WebSocket close codes: "try again later", and, from the range for applications, HTTP's 404.
TRY_AGAIN = 1013
NOT_FOUND = 4404

_PING = b"event: ping\ndata: {}\n\n"
_DROPPED = b"event: dropped\ndata: {}\n\n"

_log = logging.getLogger(__name__)
_Form = TypeVar("_Form", bytes, str)


def framed(event: LiveEvent) -> bytes:
    """One event of a text/event-stream."""
    return event.sse


def texted(event: LiveEvent) -> str:
    """One message of a WebSocket."""
    return event.text


class EventStream(Response):
    """A text/event-stream: `first`, then what comes in. It ends with the subscription.

    `form` makes an event's bytes, None for one to leave out.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        subscription: Subscription,
        first: Sequence[LiveEvent] = (),
        form: Callable[[LiveEvent], bytes | None] = framed,
    ) -> None:
        # No length and no body yet: `Response.__init__` would make both.
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._subscription = subscription
        self._first = first
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_until_gone(receive, self._subscription))

        async def say(body: bytes, more: bool = True) -> None:
            async with asyncio.timeout(self._subscription.stall_s):
                await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            with self._subscription as subscription:
                await send(
                    {
                        "type": "http.response.start",
                        "status": self.status_code,
                        "headers": self.raw_headers,
                    }
                )
                # Of what was before, one that cannot be shown is left out as later on.
                before = b"".join(_formed(self._first, self._form))
                await say(b": connected\nretry: %d\n\n" % RETRY_MS + before)
                while not subscription.closed:
                    try:
                        event = await subscription.get(HEARTBEAT_S)
                    except TimeoutError:
                        await say(_PING)
                        continue
                    if event is None:
                        break
                    body = b"".join(_formed((event, *subscription.take()), self._form))
                    if body:
                        await say(body)
                await say(_DROPPED if subscription.dropped else b"", more=False)
        except TimeoutError:
            _too_slow(self._subscription)
        finally:
            gone.cancel()


async def push(
    websocket: WebSocket,
    subscription: Subscription,
    first: Sequence[LiveEvent] = (),
    form: Callable[[LiveEvent], str | None] = texted,
) -> None:
    """Send `first` and what comes in over an accepted WebSocket until one of both ends.

    What the client sends is read and ignored. Pings are the server's: see `server.run`.
    """
    gone = asyncio.ensure_future(_until_closed(websocket, subscription))
    try:
        with subscription:
            for text in _formed(first, form):
                async with asyncio.timeout(subscription.stall_s):
                    await websocket.send_text(text)
            async for event in subscription:
                text_or_none = form(event)
                if text_or_none is not None:
                    async with asyncio.timeout(subscription.stall_s):
                        await websocket.send_text(text_or_none)
            async with asyncio.timeout(subscription.stall_s):
                await websocket.close(TRY_AGAIN, "too slow" if subscription.dropped else "closing")
    except TimeoutError:
        _too_slow(subscription)
    except (WebSocketDisconnect, RuntimeError):
        # Starlette raises RuntimeError where the other side has closed already.
        pass
    finally:
        gone.cancel()


def _formed(events: Sequence[LiveEvent], form: Callable[[LiveEvent], _Form | None]) -> list[_Form]:
    made = (form(event) for event in events)
    return [one for one in made if one is not None]


def _too_slow(subscription: Subscription) -> None:
    subscription.give_up()
    _log.warning("a live client took nothing for %g s and was dropped", subscription.stall_s)


async def _until_gone(receive: Receive, subscription: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.close()


async def _until_closed(websocket: WebSocket, subscription: Subscription) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
    subscription.close()
