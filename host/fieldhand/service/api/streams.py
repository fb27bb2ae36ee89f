"""A subscription to the hub as Server-Sent Events or as the messages of a WebSocket.

What no client of the stream can read fast enough ends that client's stream and no other: its queue
is bounded, and so is how long one of its writes may take.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from fastapi import Response, WebSocket, WebSocketDisconnect
from starlette.types import Receive, Scope, Send

from fieldhand.service.api.connections import ABORT, LIVE, LIVE_SEND_BYTES
from fieldhand.service.live.hub import LiveEvent, Subscription

# This often a stream that has nothing to say says that it lives.
HEARTBEAT_S = 15.0
# What a browser waits before it connects again.
RETRY_MS = 2_000
# WebSocket close codes: "try again later", and, from the range for applications, HTTP's 404.
TRY_AGAIN = 1013
NOT_FOUND = 4404
# RFC 6455, 7.4.1: "violating its policy". What let the client in is no longer good.
SHUT_OUT = 1008

# How often a stream is looked after.
LOOK_S = 1.0

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
            with watch:
                await send({"type": "http.response.body", "body": body, "more_body": more})

        watch = _Watch(self._subscription, heartbeat=True)
        if (bound := scope.get("extensions", {}).get(LIVE)) is not None:
            bound()
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
                before = _formed(self._first, self._form)
                for body in _joined([b": connected\nretry: %d\n\n" % RETRY_MS, *before]):
                    await say(body)
                async for event in subscription:
                    for body in _joined(_formed((event, *subscription.take()), self._form)):
                        await say(body)
                await say(_DROPPED if subscription.dropped else b"", more=False)
        except asyncio.CancelledError:
            watch.excuse()
            await _cut(scope, gone)
        finally:
            watch.end()
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
    watch = _Watch(subscription, heartbeat=False)
    try:
        with subscription:
            for text in _formed(first, form):
                with watch:
                    await websocket.send_text(text)
            async for event in subscription:
                text_or_none = form(event)
                if text_or_none is not None:
                    with watch:
                        await websocket.send_text(text_or_none)
            with watch:
                await websocket.close(*_farewell(subscription))
    except asyncio.CancelledError:
        watch.excuse()
    except (WebSocketDisconnect, RuntimeError):
        # Starlette raises RuntimeError where the other side has closed already.
        pass
    finally:
        watch.end()
        gone.cancel()


class _Watch:
    """Looks after one stream: a heartbeat where nothing comes, an end where nothing is taken.

    It ends it too when its client may listen no more.
    One timer for a stream: two for each event and client would cost as much as sending it. Around
    each write it is a context manager. Made in the task that writes.
    """

    def __init__(self, subscription: Subscription, heartbeat: bool) -> None:
        self._subscription = subscription
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._writing = False
        self._since = self._loop.time()
        self._timer = self._loop.call_later(LOOK_S, self._look)

    def __enter__(self) -> None:
        self._writing = True
        self._since = self._loop.time()

    def __exit__(self, *error: object) -> None:
        self._writing = False

    def end(self) -> None:
        self._timer.cancel()

    def excuse(self) -> None:
        """Take back a cancellation that was ours. Raises CancelledError where it was not."""
        if not self._subscription.dropped or self._task is None:
            raise asyncio.CancelledError
        self._task.uncancel()
        _log.warning(
            "a live client took nothing for %g s and was dropped", self._subscription.stall_s
        )

    def _look(self) -> None:
        self._subscription.check()
        waited = self._loop.time() - self._since
        if self._writing and waited >= self._subscription.stall_s:
            self._subscription.give_up()
            if self._task is not None:
                self._task.cancel()
            return
        if self._heartbeat and not self._writing and waited >= HEARTBEAT_S:
            self._subscription.nudge()
        self._timer = self._loop.call_later(LOOK_S, self._look)


def _farewell(subscription: Subscription) -> tuple[int, str]:
    if subscription.shut_out:
        return SHUT_OUT, "the login or token is no longer good"
    return TRY_AGAIN, "too slow" if subscription.dropped else "closing"


def _formed(events: Sequence[LiveEvent], form: Callable[[LiveEvent], _Form | None]) -> list[_Form]:
    made = (form(event) for event in events)
    return [one for one in made if one is not None]


def _joined(parts: Sequence[bytes]) -> Iterator[bytes]:
    """Few writes, none so long that a client which is slow, but takes it, looks like one that is
    stuck.
    """
    body = b""
    for part in parts:
        if body and len(body) + len(part) > LIVE_SEND_BYTES:
            yield body
            body = b""
        body += part
    if body:
        yield body


async def _cut(scope: Scope, gone: asyncio.Future[None]) -> None:
    """End a connection that takes nothing, not even the end of its answer."""
    abort = scope.get("extensions", {}).get(ABORT)
    if abort is not None:
        abort()
        await asyncio.wait((gone,), timeout=LOOK_S)


async def _until_gone(receive: Receive, subscription: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.close()


async def _until_closed(websocket: WebSocket, subscription: Subscription) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
    subscription.close()
