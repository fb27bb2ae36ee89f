"""Commands under way: what was sent, and what became of it. `answers` says whose an answer is."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

from fieldhand import answers
from fieldhand.answers import ACCEPTED, DONE, ENDED, FAILED, SENT, TIMEOUT
from fieldhand.errors import CommandFailed, CommandTimeout
from fieldhand.records import Event, Reply
from fieldproto.messages import Command

# Ended commands that are remembered, so that a late answer still finds its command.
MAX_ENDED = 256
# Answers kept in `Pending.late`.
MAX_LATE = 16


class Pending:
    """A command that was sent.

    `state` goes from "sent", by "accepted" where the node says so, to "done", "failed" or
    "timeout", where it stays. `reply` is the answer that ended it (None where an effect did),
    `late` the answers that came after the end, `attempts` how often it was published.
    """

    def __init__(
        self,
        node: str,
        dialect: str,
        action: str,
        params: Mapping[str, Any],
        id: str,
        timeout: float,
        retries: int,
        options: Mapping[str, Any],
    ) -> None:
        self.options = dict(options)
        self.node = node
        self.dialect = dialect
        self.action = action
        self.params = dict(params)
        self.id = id
        self.timeout = timeout
        self.retries = retries
        self.attempts = 0
        self.state = SENT
        self.reply: Reply | None = None
        self.settled_by: Event | None = None
        self.error: str | None = None
        self.late: deque[Reply] = deque(maxlen=MAX_LATE)
        self.sent_at = time.time()
        self.ended_at: float | None = None
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<Pending {self.node} {self.action} {self.id} {self.state}>"

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def wait(self, timeout: float | None = None, state: str = DONE) -> str:
        """Wait for the end, at most `timeout` seconds (None: its own time limit ends it).

        With `state="accepted"` the node's acceptance is enough. Returns the state then reached.
        """
        enough = (ACCEPTED, *ENDED) if state == ACCEPTED else ENDED
        with self._changed:
            self._changed.wait_for(lambda: self.state in enough, timeout)
            return self.state

    def result(self, timeout: float | None = None) -> Mapping[str, Any]:
        """The data of the answer, once done. Raises CommandFailed or CommandTimeout."""
        state = self.wait(timeout)
        if state == DONE:
            return self.reply.data if self.reply is not None else {}
        if state == FAILED:
            raise CommandFailed(self.node, self.action, self.error or "no reason given")
        spent = self.timeout if state == TIMEOUT or timeout is None else timeout
        raise CommandTimeout(self.node, self.action, spent, self.error)

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        data: dict[str, Any] = {
            "node": self.node,
            "dialect": self.dialect,
            "action": self.action,
            "params": self.params,
            "id": self.id,
            "state": self.state,
            "attempts": self.attempts,
        }
        if self.ended_at is not None:
            data["seconds"] = round(self.ended_at - self.sent_at, 3)
        if self.error is not None:
            data["error"] = self.error
        if self.reply is not None and self.reply.data:
            data["data"] = dict(self.reply.data)
        return data

    def _to(self, state: str, reply: Reply | None = None, error: str | None = None) -> None:
        with self._changed:
            if self.ended or state == self.state:
                return
            self.state = state
            if state in ENDED:
                self.reply = reply
                self.error = error
                self.ended_at = time.time()
            self._changed.notify_all()


class _Entry(answers.Asked):
    """A pending command with what only the book needs to know."""

    def __init__(self, pending: Pending, command: Command, canonical: Mapping[str, Any]) -> None:
        super().__init__(
            pending.id,
            pending.node,
            pending.dialect,
            pending.options,
            command,
            canonical,
            pending.sent_at,
        )
        self.pending = pending
        self.deadline = 0.0


class CommandBook:
    """All commands under way of a fleet; thread-safe. Its own thread keeps the time limits."""

    def __init__(self, publish: Callable[[Any], object]) -> None:
        self._publish = publish
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._open: OrderedDict[str, _Entry] = OrderedDict()
        self._ended: OrderedDict[str, _Entry] = OrderedDict()
        self._packets: dict[str, Any] = {}
        self._due: list[tuple[float, int, str]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def open(
        self, pending: Pending, command: Command, canonical: Mapping[str, Any], packet: Any
    ) -> None:
        """Note the command, then publish it: its answer may come before publish() returns."""
        with self._lock:
            entry = _Entry(pending, command, canonical)
            self._open[pending.id] = entry
            self._packets[pending.id] = packet
            self._schedule(entry, pending.timeout)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._keep_time, name="fieldhand-commands", daemon=True
                )
                self._thread.start()
        pending.attempts = 1
        try:
            self._publish(packet)
        except BaseException:
            self._forget(pending)
            raise

    def close(self) -> None:
        """End what is still open as timed out."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
            entries = list(self._open.values())
            self._open.clear()
            self._packets.clear()
        for entry in entries:
            entry.pending._to(TIMEOUT, error="the fleet was closed before an answer came")

    def on_event(self, message: str, event: Event) -> Pending | None:
        """Give a live (not retained) event to the commands that it answers.

        Returns the command, the oldest where there are several; None where there is none.
        """
        with self._lock:
            found = answers.find(self._open, message, event)
            told = isinstance(event, Reply) and bool(event.id or event.command)
            for entry in found:
                if told:
                    self._answered(entry, event)  # type: ignore[arg-type]
                else:
                    self._end(entry, DONE, event if isinstance(event, Reply) else None, event)
            if found:
                return found[0].pending
            return self._late(message, event) if isinstance(event, Reply) else None

    def _answered(self, entry: _Entry, reply: Reply) -> None:
        if reply.state == ACCEPTED:
            entry.pending._to(ACCEPTED)
            # The node has it: from now on only the actuation itself takes time.
            self._schedule(entry, entry.pending.timeout + entry.runs_s(reply))
        else:
            self._end(entry, FAILED if reply.state == FAILED else DONE, reply, reply)

    def _late(self, message: str, reply: Reply) -> Pending | None:
        if not reply.id:
            return self._late_effect(message, reply)
        ended = self._ended.get(reply.id)
        if ended is None:
            return None
        if ended.is_of(reply):
            ended.pending.late.append(reply)
        return ended.pending

    def _late_effect(self, message: str, reply: Reply) -> Pending | None:
        known = [entry for book in (self._open, self._ended) for entry in book.values()]
        asked = [entry for entry in known if entry.is_of(reply)]
        if not asked:
            return None
        last = max(asked, key=lambda entry: entry.asked_at)
        pending = last.pending
        if pending.state != TIMEOUT or pending.ended_at is None or pending.late:
            return None
        if not answers.is_late(last, pending.ended_at, message, reply):
            return None
        pending.late.append(reply)
        return pending

    def _end(self, entry: _Entry, state: str, reply: Reply | None, by: Event | None) -> None:
        pending = entry.pending
        self._forget(pending)
        self._ended[pending.id] = entry
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        pending.settled_by = by
        error = reply.error if reply is not None else None
        pending._to(state, reply, error)

    def _forget(self, pending: Pending) -> None:
        with self._lock:
            self._open.pop(pending.id, None)
            self._packets.pop(pending.id, None)

    def _schedule(self, entry: _Entry, seconds: float) -> None:
        entry.deadline = time.monotonic() + seconds
        heapq.heappush(self._due, (entry.deadline, next(self._count), entry.pending.id))
        self._wake.notify_all()

    def _keep_time(self) -> None:
        while True:
            again = None
            with self._lock:
                if self._closed:
                    return
                if not self._due:
                    self._wake.wait()
                    continue
                left = self._due[0][0] - time.monotonic()
                if left > 0:
                    self._wake.wait(left)
                    continue
                deadline, _, id = heapq.heappop(self._due)
                entry = self._open.get(id)
                if entry is None or entry.deadline != deadline:
                    continue
                pending = entry.pending
                if pending.state == SENT and pending.attempts <= pending.retries:
                    pending.attempts += 1
                    self._schedule(entry, pending.timeout)
                    again = self._packets[id]
                else:
                    self._end(entry, TIMEOUT, None, None)
            if again is not None:
                try:
                    self._publish(again)
                except Exception:  # no broker just now: this attempt is lost, the next may not be
                    continue
