"""Bounded queues between the MQTT thread and whoever consumes what a fleet tells."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from fieldhand.records import Event

# Records that wait in one stream; then the oldest is dropped and counted.
MAX_WAITING = 10_000

T = TypeVar("T")


class Stream(Generic[T]):
    """An iterator over records as they arrive, from its creation on.

    Ends when the fleet is closed, when it is closed itself, or when nothing came for `timeout`
    seconds (None: never). `dropped` counts records lost because nobody fetched them in time.
    `reads` says that readings are what somebody wants here, of `node` or (None) of all.
    """

    def __init__(
        self,
        wanted: Callable[[Event], bool],
        timeout: float | None = None,
        on_close: Callable[[Stream[Any]], None] | None = None,
        limit: int = MAX_WAITING,
        *,
        reads: bool = False,
        node: str | None = None,
    ) -> None:
        self.reads = reads
        self.node = node
        self.timeout = timeout
        self.limit = limit
        self.dropped = 0
        self._wanted = wanted
        self._on_close = on_close
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        record = self.get(self.timeout)
        if record is None:
            raise StopIteration
        return record

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def get(self, timeout: float | None = None) -> T | None:
        """The next record, or None after `timeout` seconds or the end of the stream."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            return self._waiting.popleft()

    def close(self) -> None:
        """Take no more records; what waits can still be fetched."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._on_close is not None:
            self._on_close(self)

    def reads_of(self, node: str) -> bool:
        """Whether readings of `node` go to somebody here, which puts them on record."""
        return self.reads and not self._closed and self.node in (None, node)

    def offer(self, event: Any) -> None:
        """Called by the fleet for everything that arrives."""
        if not self._wanted(event):
            return
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) >= self.limit:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(event)
            self._changed.notify()
