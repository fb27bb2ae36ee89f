"""Notes in the database what nodes answer, before the broker is told that the answer is here.

In the transaction that stores the message, so that no answer is lost with this process; the broker
delivers again what it was not acknowledged, and what was noted already changes nothing then.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from fieldhand import answers, dialects
from fieldhand.answers import ACCEPTED, DONE, FAILED, SENT, TIMEOUT, Asked
from fieldhand.records import Heard, Reply
from fieldhand.service.arrivals import AGAIN_S, Arrival
from fieldhand.service.commands.lifecycle import Commands
from fieldhand.service.store import commands as store
from fieldhand.service.store import readings, schema
from fieldhand.service.store.commands import OPEN, SENDING, CommandRow
from fieldhand.service.store.database import Database
from fieldhand.service.store.nodes import NodeRow
from fieldhand.service.store.readings import Key


class _Open(Asked):
    """A command that waits for its answer, with its row."""

    row: CommandRow


class _Change(NamedTuple):
    row: CommandRow
    node: NodeRow
    late: Mapping[str, Any]


class Answering:
    """The hook (`arrivals.Hook`) that finds the commands which messages answer.

    `commands` is None where what came long ago is replayed: nobody is told, and only an answer
    that names its command finds one, for what is under way now may have been asked since.
    """

    def __init__(self, database: Database, commands: Commands | None) -> None:
        self._database = database
        self._commands = commands
        # Workers store at the same time, each in its thread.
        self._local = threading.local()

    def store(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        self._local.changes = []
        heard = [
            arrival
            for arrival in arrivals
            if arrival.fresh and not arrival.retained and self._may_answer(arrival.event)
        ]
        if not heard:
            return
        waiting = store.waiting(connection)
        heard = [
            arrival
            for arrival in heard
            if isinstance(arrival.event, Reply) or waiting is None or arrival.node.id in waiting
        ]
        if not heard:
            return
        replies = [arrival for arrival in heard if isinstance(arrival.event, Reply)]
        keys = dict(zip(map(id, replies), _keys(connection, replies), strict=True))
        fresh = self._insert(connection, replies, keys)
        new = dict(zip(map(id, replies), fresh, strict=True))
        batch = _Batch(connection, heard, keys)
        for arrival in heard:
            if new.get(id(arrival), True) and (self._commands is not None or _named(arrival)):
                batch.take(arrival)
        store.name_command(connection, batch.answered)
        self._local.changes = batch.changes

    def committed(self, arrivals: Sequence[Arrival]) -> None:
        if self._commands is not None:
            for change in self._local.changes:
                self._commands.say(*change)
        self._local.changes = []

    def _may_answer(self, event: Heard) -> bool:
        return isinstance(event, Reply) if self._commands is None else answers.may_answer(event)

    def _insert(
        self, connection: sa.Connection, replies: Sequence[Arrival], keys: Mapping[int, Key]
    ) -> list[bool]:
        rows = []
        for arrival in replies:
            reply, key = arrival.event, keys[id(arrival)]
            assert isinstance(reply, Reply)
            rows.append(
                {
                    "node_id": arrival.node.id,
                    "boot": key.boot,
                    "seq": key.seq,
                    "state": reply.state,
                    "word": reply.command,
                    "wire_id": reply.id,
                    "error": reply.error,
                    "data": dict(reply.data) or None,
                    "late": False,
                    "time": reply.time,
                    "received": reply.received_at,
                }
            )
        return readings.insert(connection, self._database, schema.answer, rows)


class _Batch:
    """The commands that the messages of one transaction may answer, and what they come to."""

    def __init__(
        self, connection: sa.Connection, heard: Sequence[Arrival], keys: dict[int, Key]
    ) -> None:
        self.changes: list[_Change] = []
        self.answered: list[dict[str, Any]] = []
        self._keys = keys
        self._connection = connection
        self._open: dict[int, dict[str, _Open]] = {}
        self._ended: dict[str, CommandRow] = {}
        by_id = {arrival.node.id: arrival.node for arrival in heard}
        for row in store.under_way(connection, by_id):
            asked = _asked(row, by_id[row.node_id])
            if asked is not None:
                self._open.setdefault(row.node_id, {})[row.id] = asked
        waiting = {id for asked in self._open.values() for id in asked}
        named = {id for arrival in heard if (id := _named(arrival))}
        if named - waiting:
            self._ended = store.some(connection, named - waiting)

    def take(self, arrival: Arrival) -> None:
        """Find the commands that a message answers, and note it."""
        event, node = arrival.event, arrival.node
        found = answers.find(self._open.get(node.id, {}), arrival.message, event)
        for one in found:
            self._settle(arrival, one)
        if not found and isinstance(event, Reply):
            row = self._ended.get(event.id) if event.id else self._missed(arrival, event)
            if row is not None and row.node_id == node.id:
                self._late(arrival, row)

    def _missed(self, arrival: Arrival, reply: Reply) -> CommandRow | None:
        """The command that timed out and whose effect an answer shows that names none."""
        row = store.last(self._connection, arrival.node.id)
        if row is None or row.state != TIMEOUT or row.ended is None:
            return None
        asked = _asked(row, arrival.node)
        if asked is None or not answers.is_late(asked, row.ended, arrival.message, reply):
            return None
        told = (step["step"] for step in store.steps(self._connection, row.id))
        return None if store.LATE in told else row

    def _settle(self, arrival: Arrival, found: _Open) -> None:
        event, node = arrival.event, arrival.node
        row, at = found.row, event.received_at
        told = isinstance(event, Reply) and bool(event.id or event.command)
        if told and event.state == ACCEPTED:  # type: ignore[union-attr]
            self._answers(arrival, row, late=False)
            # The node has it: from now on only the actuation itself takes time.
            until = at + row.timeout_s + found.runs_s(event)  # type: ignore[arg-type]
            values = {"state": ACCEPTED, "accepted": at, "deadline": until, "sent": row.sent or at}
            changed = store.change(self._connection, row, (SENDING, SENT), values, at)
            if changed is not None:
                found.row = changed
                self.changes.append(_Change(changed, node, {}))
            return
        reply = event if isinstance(event, Reply) else None
        failed = told and reply is not None and reply.state == FAILED
        values = {
            "state": FAILED if failed else DONE,
            "ended": at,
            "deadline": None,
            "sent": row.sent or at,
            "error": (reply.error or "no reason given") if failed and reply else None,
            "data": dict(reply.data) or None if reply is not None else None,
        }
        del self._open[node.id][row.id]
        shown = None if told else f"shown by {arrival.message}"
        changed = store.change(self._connection, row, OPEN, values, at, shown)
        if changed is None:
            now = store.get(self._connection, row.id) or row
            # Its time was up a moment ago, or another message showed the effect.
            if told or now.state == TIMEOUT:
                self._late(arrival, now)
            return
        self._ended[row.id] = changed
        self._answers(arrival, row, late=False)
        self.changes.append(_Change(changed, node, {}))

    def _late(self, arrival: Arrival, row: CommandRow) -> None:
        reply = arrival.event
        if not isinstance(reply, Reply):
            return
        if reply.state == ACCEPTED and row.state in (DONE, FAILED):
            self._answers(arrival, row, late=False)  # another worker was quicker with the end
            return
        self._answers(arrival, row, late=True)
        detail = reply.state if reply.error is None else f"{reply.state}: {reply.error}"
        store.step(self._connection, row.id, reply.received_at, store.LATE, detail)
        late = {"state": reply.state, "error": reply.error, "data": dict(reply.data)}
        self.changes.append(_Change(row, arrival.node, late))

    def _answers(self, arrival: Arrival, row: CommandRow, late: bool) -> None:
        key = self._keys.pop(id(arrival), None)
        # Of several commands whose effect an answer shows it is noted with the oldest.
        if key is not None:
            self.answered.append(
                {
                    "of_node": arrival.node.id,
                    "of_boot": key.boot,
                    "of_seq": key.seq,
                    "to_command": row.id,
                    "is_late": late,
                }
            )


def _asked(row: CommandRow, node: NodeRow) -> _Open | None:
    command = dialects.unbound(node.dialect).command(row.action)
    if command is None:
        return None
    asked = _Open(
        row.id,
        node.name,
        node.dialect,
        {**node.options, **node.tenant},
        command,
        answers.canonical(command, row.params),
        row.created,
    )
    asked.row = row
    return asked


def _named(arrival: Arrival) -> str | None:
    """The id by which an answer names its command."""
    return arrival.event.id if isinstance(arrival.event, Reply) else None


def _keys(connection: sa.Connection, replies: Sequence[Arrival]) -> list[Key]:
    """What makes each answer one.

    One that names its command is that, however often it is said. Of others each delivery counts:
    a farm's STATUS has whole seconds, and tells the same after every command. Only what the broker
    delivers again, with the DUP flag, is an answer that is stored already.
    """
    keys = []
    before: dict[tuple[int, str], list[int]] = {}
    for arrival in replies:
        boot, at = arrival.key.boot, round(arrival.event.received_at * 1e6)
        if _named(arrival):
            keys.append(arrival.key if _timed(arrival) else Key(boot, 0))
            continue
        if arrival.dup:
            one = (arrival.node.id, boot)
            if one not in before:
                before[one] = store.said(connection, *one, at - int(AGAIN_S * 1e6), at)
            if before[one]:
                at = before[one].pop(0)
        keys.append(Key(boot, at))
    return keys


def _timed(arrival: Arrival) -> bool:
    return arrival.event.time is not None
