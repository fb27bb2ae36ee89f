"""Live fan-out: what has been stored goes to every client that listens.

`publish` may be called from any thread and never waits. Each client has a bounded queue in the
event loop; one that does not keep up is dropped, and counted, rather than delay the others.
The latest events are kept, so that a client which was away for a moment misses nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic_core import to_json

from fieldhand.records import Alert, Event, NodeEvent, Reading, as_dict
from fieldhand.service import moments
from fieldhand.service.store.nodes import NodeRow

# Events between the threads that publish and the loop that hands them out.
MAX_WAITING = 20_000
# What a client that comes back may be given again, and how long after the last client left
# events are still kept for it.
RESUME_EVENTS = 5_000
RESUME_S = 60.0


# Compared by identity: what is made of one is kept for all who want the same.
@dataclass(frozen=True, eq=False)
class LiveEvent:
    """Something to show live. `kind`: reading, status, reply, alert, event, command, invalid ...

    `node` is None, and `org` with it, where it is of no node; only the operator sees those.
    `stored` says that a reading is in history, not only shown. `id` is its place in the stream,
    given by the hub.
    """

    kind: str
    data: dict[str, Any]
    node: NodeRow | None = None
    event: Event | None = None
    stored: bool = True
    id: str = ""

    @property
    def org(self) -> str | None:
        return self.node.org if self.node is not None else None

    @cached_property
    def json(self) -> bytes:
        """One JSON object: `data` with `node_id`, made once for all clients."""
        data = self.data
        if self.node is not None:
            data = {"node_id": self.node.public_id, **data}
        return to_json(data, inf_nan_mode="null")

    @cached_property
    def sse(self) -> bytes:
        """One event of a text/event-stream, made once for all clients."""
        if not self.id:
            return b"event: %b\ndata: %b\n\n" % (self.kind.encode(), self.json)
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (
            self.id.encode(),
            self.kind.encode(),
            self.json,
        )

    @cached_property
    def text(self) -> str:
        """{"type": kind, "id": ..., "data": `json`}: one message of a WebSocket, made once."""
        head = to_json({"type": self.kind, "id": self.id})[:-1]
        return (head + b',"data":' + self.json + b"}").decode()


def live(event: Event, node: NodeRow | None, stored: bool = True) -> LiveEvent:
    """The live form of an event; `at` is where it stands in history."""
    data = as_dict(event)
    if isinstance(event, (Reading, Alert, NodeEvent)):
        data["at"] = moments.moment(event.time, event.received_at)
    return LiveEvent(data["kind"], data, node, event, stored)


# Says that the stream lives.
PING = LiveEvent("ping", {})


class Subscription:
    """One client: an async iterator of LiveEvents that ends when it is dropped or the hub closes.

    `dropped` says that it was too slow, `shut_out` that it may listen no more.
    """

    def __init__(
        self,
        hub: Hub,
        wanted: Callable[[LiveEvent], bool],
        limit: int,
        allowed: Callable[[], bool],
    ) -> None:
        self.wanted = wanted
        self.dropped = False
        self.shut_out = False
        self._allowed = allowed
        self._hub = hub
        self._limit = limit
        self._queue: deque[LiveEvent] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> LiveEvent:
        event = await self.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def get(self, timeout: float | None = None) -> LiveEvent | None:
        """The next; None when there will be none. Raises TimeoutError after `timeout` s."""
        while not self._queue:
            if self._closed:
                return None
            self._wake.clear()
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        return self._queue.popleft()

    def take(self) -> list[LiveEvent]:
        """All that wait, without waiting."""
        events = list(self._queue)
        self._queue.clear()
        return events

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def stall_s(self) -> float:
        """So long one write to the client may take."""
        return self._hub.stall_s

    def close(self) -> None:
        """Listen no more. Safe to call twice; in the event loop only."""
        self._hub.discard(self)
        self._end()

    def nudge(self) -> None:
        """Give the client a PING, whatever it wants."""
        if not self._closed:
            self._queue.append(PING)
            self._wake.set()

    def check(self) -> None:
        """End it, with what waits for it, if its client may listen no more."""
        if not self._closed and not self._allowed():
            self.shut_out = True
            self._queue.clear()
            self.close()

    def give_up(self) -> None:
        """End it, and count it as too slow."""
        if not self.dropped:
            self.dropped = True
            self._hub.dropped_clients += 1
        self.close()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def offer(self, event: LiveEvent) -> bool:
        """False when it has no room; it is ended then."""
        if len(self._queue) >= self._limit:
            self.dropped = True
            self._queue.clear()
            self._end()
            return False
        self._queue.append(event)
        self._wake.set()
        return True

    def _end(self) -> None:
        self._closed = True
        self._wake.set()


class TooManyClients(Exception):
    """As many listen already as may."""


class Hub:
    """All live clients. `bind` it to the event loop that serves them before it is of use."""

    def __init__(self, queue: int = 1_000, clients: int = 10_000, stall_s: float = 10.0) -> None:
        self.stall_s = stall_s
        self.dropped_clients = 0
        self.lost_events = 0
        self.published = 0
        self._limit = queue
        self._clients = clients
        self._subscriptions: set[Subscription] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[LiveEvent] = deque()
        self._lock = threading.Lock()
        self._scheduled = False
        self._closed = False
        self._kept: deque[LiveEvent] = deque(maxlen=RESUME_EVENTS)
        self._left_at = float("-inf")
        self._lost = False
        self._begin()

    def _begin(self) -> None:
        """A new sequence: what was given out before cannot be continued."""
        self._sequence = secrets.token_hex(4)
        self._number = 0
        self._kept.clear()

    @property
    def clients(self) -> int:
        return len(self._subscriptions)

    @property
    def listening(self) -> bool:
        """Whether somebody listens, or did a moment ago and may come back."""
        return bool(self._subscriptions) or time.monotonic() - self._left_at < RESUME_S

    @property
    def position(self) -> str:
        """The id of the last event given out."""
        return f"{self._sequence}-{self._number}"

    def since(self, id: str) -> list[LiveEvent] | None:
        """What came after the event of this id; None where that is not known any more.

        In the event loop.
        """
        sequence, _, number = id.partition("-")
        if sequence != self._sequence or not (number.isascii() and number.isdigit()):
            return None
        missed = self._number - int(number)
        if not 0 <= missed <= len(self._kept):
            return None
        return list(self._kept)[len(self._kept) - missed :]

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand events out in this loop."""
        with self._lock:
            self._loop = loop
            self._closed = False

    def subscribe(
        self,
        wanted: Callable[[LiveEvent], bool] = lambda event: True,
        queue: int | None = None,
        allowed: Callable[[], bool] = lambda: True,
    ) -> Subscription:
        """A new client, in the event loop, as long as it is `allowed`. Raises TooManyClients."""
        if len(self._subscriptions) >= self._clients:
            raise TooManyClients(f"{self._clients} clients listen already")
        subscription = Subscription(self, wanted, queue or self._limit, allowed)
        if not self.listening:
            self._begin()
        if self._closed:
            subscription.close()
        else:
            self._subscriptions.add(subscription)
        return subscription

    def discard(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._left_at = time.monotonic()
            self._subscriptions.discard(subscription)

    def publish(self, events: Iterable[LiveEvent]) -> None:
        """Hand events to whoever wants them. From any thread; never waits."""
        if not self.listening:
            return
        with self._lock:
            if self._closed or self._loop is None or self._loop.is_closed():
                return
            for event in events:
                if len(self._waiting) >= MAX_WAITING:
                    self.lost_events += 1
                    self._lost = True
                else:
                    self._waiting.append(event)
            if self._waiting and not self._scheduled:
                self._scheduled = True
                self._loop.call_soon_threadsafe(self._hand_out)

    def close(self) -> None:
        """End every subscription. In the event loop, or after it has ended."""
        with self._lock:
            self._closed = True
        for subscription in list(self._subscriptions):
            subscription.close()

    def _hand_out(self) -> None:
        with self._lock:
            self._scheduled = False
            waiting = list(self._waiting)
            self._waiting.clear()
            lost, self._lost = self._lost, False
        if lost:
            self._begin()
        self.published += len(waiting)
        events = []
        for event in waiting:
            self._number += 1
            events.append(replace(event, id=f"{self._sequence}-{self._number}"))
        self._kept.extend(events)
        for subscription in list(self._subscriptions):
            wanted = subscription.wanted
            for event in events:
                if wanted(event) and not subscription.offer(event):
                    self.dropped_clients += 1
                    self.discard(subscription)
                    break
