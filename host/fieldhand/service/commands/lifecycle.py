"""Commands, from the request to the end of each.

    sending -> sent -> accepted -> done | failed | timeout
            -> refused (the broker was away, or a guard forbids it: it never left this host)

A command is stored as "sending" before it is published and as "sent" when the broker has it, so
whatever ends this process, the next finds it. One that is still "sending" after SENDING_S may or
may not have gone out. Where the node tells a command that comes twice by its id, it counts as sent
and is waited for; elsewhere it is failed, "unknown", and never sent again. Commands that were sent
or accepted are waited for as before; their answers meanwhile lay at the broker.

`answering` notes what the nodes say; the thread here keeps the time limits.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from fieldhand import answers, dialects
from fieldhand.answers import DONE, FAILED, SENT, TIMEOUT
from fieldhand.errors import (
    BadParameter,
    BrokerUnavailable,
    Unacknowledged,
    UnknownAction,
)
from fieldhand.service.commands import guards
from fieldhand.service.live.hub import Hub, LiveEvent
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import commands as store
from fieldhand.service.store import nodes
from fieldhand.service.store.commands import OPEN, REFUSED, SENDING, CommandRow
from fieldhand.service.store.database import Database, StoreError
from fieldhand.service.store.nodes import NodeRow
from fieldproto import schema
from fieldproto.dialect import Dialect
from fieldproto.errors import MessageError
from fieldproto.messages import Packet
from fieldproto.timestamps import format_utc

# What the broker may take to acknowledge a command, and how long one may be "sending": longer.
PUBLISH_TIMEOUT_S = 5.0
SENDING_S = 10.0
# After a start, or when the database is back, answers that lie at the broker come in first.
GRACE_S = 3.0
# How often due commands are looked for at least, and how many are dealt with at once.
LOOK_S = 2.0
MAX_DUE = 100
STOP_S = 10.0
# The action under which a config message is on record.
CONFIG = "config"

_log = logging.getLogger(__name__)


class Commands:
    """All commands of a service: sends them, and keeps their time limits while it runs.

    `publish` waits so many seconds for the broker's acknowledgement and raises BrokerUnavailable;
    `ready` says why readings, and so answers, are not being stored, None while they are.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        hub: Hub,
        winds: guards.Winds,
        publish: Callable[[Packet, float], None],
        ready: Callable[[], str | None],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._database = database
        self._hub = hub
        self._winds = winds
        self._publish = publish
        self._ready = ready
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # -- sending ---------------------------------------------------------------------------------

    def send(
        self,
        node: NodeRow,
        action: str,
        params: Mapping[str, Any],
        *,
        caller: str,
        org: str | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        key: str | None = None,
    ) -> tuple[CommandRow, bool]:
        """Send a command by its names on the wire; returns it, and whether it is a new one.

        `key` is an idempotency key of `caller` in `org`: with one that came before, the command
        that was sent then. `timeout` are the seconds an answer may take, `retries` how often the
        command is sent again, under the same id, when none came.

        Raises UnknownAction, BadParameter, guards.Blocked, StoreError, and
        BrokerUnavailable: then it was not sent, or (Unacknowledged) perhaps.
        """
        settings = self._settings
        dialect = dialect_of(node)
        if retries is None:
            retries = settings.command_retries if answers.carries_id(dialect) else 0
        if timeout is None:
            timeout = settings.command_timeout_s
        answers.check_patience(node.name, action, timeout, retries)
        if retries and not answers.carries_id(dialect):
            reason = "the node cannot tell a command that is sent again from a new one"
            raise BadParameter(node.name, action, "retries", reason)
        now = time.time()
        id = answers.command_id()
        _, packet = answers.encode(dialect, node.name, action, params, id, int(now))
        row = _new(id, node, action, params, caller, digest(org, caller, key), now, timeout)
        row = row.with_values({"retries": retries})
        if known := self._known(row, node):
            return known, False
        try:
            with self._database.reading() as connection:
                guards.check(connection, settings, self._winds, node, action, params, now)
        except guards.Blocked as error:
            self._refuse(row, node, error.reason)
            raise
        return self._submit(row, node, packet, SENT)

    def configure(
        self, node: NodeRow, config: Mapping[str, Any], *, caller: str
    ) -> tuple[CommandRow, bool]:
        """Send a config message, settings by their names on the wire, where there is one (DESE).

        It is on record as the command "config", done when the broker has it: no dialect answers
        one. Raises as `send`; BadParameter names the field by its path in the message.
        """
        dialect = dialect_of(node)
        message = dialect.message(CONFIG)
        if message is None:
            known = [command.name for command in dialect.commands]
            raise UnknownAction(node.name, dialect.name, CONFIG, known)
        now = time.time()
        payload = {"config": dict(config), "timestamp": format_utc(int(now))}
        payload["device_id"] = node.name
        try:
            values = schema.read(payload, message.fields)
            packet = dialect.encode(message.name, node.name, values)
        except (schema.FieldError, MessageError) as error:
            field = error.field or CONFIG
            raise BadParameter(node.name, CONFIG, field, error.reason) from None
        timeout = self._settings.command_timeout_s
        row = _new(answers.command_id(), node, CONFIG, config, caller, None, now, timeout)
        return self._submit(row, node, packet, DONE)

    def _known(self, row: CommandRow, node: NodeRow) -> CommandRow | None:
        if row.idempotency is None:
            return None
        with self._database.reading() as connection:
            known = store.by_idempotency(connection, row.idempotency)
        if known is None:
            return None
        for name in ("node_id", "action", "params", "timeout_s", "retries"):
            if getattr(known, name) != getattr(row, name):
                raise _reused(row, node)
        return known

    def _submit(
        self, row: CommandRow, node: NodeRow, packet: Packet, then: str
    ) -> tuple[CommandRow, bool]:
        with self._database.writing() as connection:
            added = store.add(connection, self._database, row)
        if not added:  # the same key at the same moment
            known = self._known(row, node)
            if known is None:
                raise _reused(row, node)
            return known, False
        self.say(row, node)
        try:
            self._publish(packet, PUBLISH_TIMEOUT_S)
        except Unacknowledged as error:
            ended = self._move(row, node, (SENDING,), _ended(FAILED, f"unknown: {error}"))
            if ended is not None:
                raise
            return self._again(row), True  # a node has answered it: it did go out
        except BrokerUnavailable as error:
            values = _ended(REFUSED, str(error)) | {"attempts": 0, "idempotency": None}
            self._move(row, node, (SENDING,), values)
            raise
        now = time.time()
        values = {"state": SENT, "sent": now, "deadline": now + row.timeout_s}
        if then == DONE:
            values = _ended(DONE) | {"sent": now}
        try:
            moved = self._move(row, node, (SENDING,), values)
            self._wake.set()
            return moved or self._again(row), True
        except StoreError as error:
            # Gone out it is; the time limit of "sending" finds it.
            _log.warning("%s was sent, which could not be stored: %s", row.id, error)
            return row, True

    def _refuse(self, row: CommandRow, node: NodeRow, reason: str) -> None:
        values = _ended(REFUSED, reason) | {"attempts": 0, "idempotency": None}
        refused = row.with_values(values)
        with self._database.writing() as connection:
            store.add(connection, self._database, refused)
        self.say(refused, node)

    def _again(self, row: CommandRow) -> CommandRow:
        with self._database.reading() as connection:
            return store.get(connection, row.id) or row

    def _move(
        self,
        row: CommandRow,
        node: NodeRow | None,
        states: tuple[str, ...],
        values: dict[str, Any],
        detail: str | None = None,
    ) -> CommandRow | None:
        with self._database.writing() as connection:
            moved = store.change(connection, row, states, values, time.time(), detail)
        if moved is not None:
            self.say(moved, node)
        return moved

    def say(self, row: CommandRow, node: NodeRow | None, late: Mapping[str, Any] = {}) -> None:
        """Tell live clients, the log and the counts of a command's new state.

        `late`: the answer that came after its end.
        """
        step = store.LATE if late else row.state
        self.counts[step] += 1
        of = node.public_id if node is not None else str(row.node_id)
        known = {"node": of, "command": row.id}
        _log.info("%s %s: %s is %s", of, row.id, row.action, step, extra=known)
        if node is not None:
            data = view(row, node)
            if late:
                data["late"] = dict(late)
            self._hub.publish([LiveEvent("command", data, node)])

    # -- time limits -----------------------------------------------------------------------------

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What is under way stays so: the next start takes it up."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        trouble = False
        while not self._stopping.is_set() and self._ready() is not None:
            self._stopping.wait(0.1)
        self._stopping.wait(GRACE_S)
        while not self._stopping.is_set():
            self._wake.clear()
            wait = LOOK_S
            try:
                wait = self._look()
                trouble = False
            except StoreError as error:
                if not trouble:
                    _log.warning("the time limits of commands wait: %s", error)
                trouble = True
                wait = GRACE_S
            except Exception:
                _log.exception("a command's time limit could not be kept")
            if trouble:
                self._stopping.wait(wait)
            else:
                self._wake.wait(wait)

    def _look(self) -> float:
        """Deal with what is due; seconds until there may be something again."""
        now = time.time()
        with self._database.reading() as connection:
            rows, following = store.due(connection, now, MAX_DUE)
            found = {row.node_id: nodes.get(connection, row.node_id) for row in rows}
        for row in rows:
            self._expire(row, found[row.node_id])
        if rows:
            return 0.0  # there may be more, and a retry has a time limit of its own
        return LOOK_S if following is None else min(max(following - time.time(), 0.0), LOOK_S)

    def _expire(self, row: CommandRow, node: NodeRow | None) -> None:
        dialect = dialect_of(node) if node is not None else None
        repeatable = (
            dialect is not None
            and dialect.command(row.action) is not None
            and answers.carries_id(dialect)
        )
        now = time.time()
        if row.state == SENDING and repeatable:
            values = {"state": SENT, "sent": row.created, "deadline": row.created + row.timeout_s}
            self._move(row, node, (SENDING,), values, "whether the broker has it is not known")
        elif row.state == SENDING:
            reason = "unknown: whether it was sent is not on record"
            self._move(row, node, (SENDING,), _ended(FAILED, reason))
        elif row.state == SENT and row.attempts <= row.retries and dialect and node and repeatable:
            self._retry(row, node, dialect, now)
        else:
            reason = f"no answer within {row.timeout_s:g} s"
            self._move(row, node, OPEN, _ended(TIMEOUT, reason))

    def _retry(self, row: CommandRow, node: NodeRow, dialect: Dialect, now: float) -> None:
        try:
            with self._database.reading() as connection:
                guards.check(
                    connection,
                    self._settings,
                    self._winds,
                    node,
                    row.action,
                    row.params,
                    now,
                )
        except guards.Blocked as error:
            self._move(row, node, (SENT,), _ended(FAILED, f"not sent again: {error.reason}"))
            return
        with self._database.writing() as connection:
            moved = store.again(connection, row, now + row.timeout_s, now)
        if moved is None:
            return
        self.counts[store.RETRIED] += 1
        # The same to the byte: the node may have had it, and its answer was lost.
        _, packet = answers.encode(
            dialect, node.name, row.action, row.params, row.id, int(row.created)
        )
        try:
            self._publish(packet, PUBLISH_TIMEOUT_S)
        except BrokerUnavailable as error:  # the next attempt may find it
            _log.warning("%s was not sent again: %s", row.id, error)
        self._hub.publish([LiveEvent("command", view(moved, node), node)])


def dialect_of(node: NodeRow) -> Dialect:
    """The dialect of a node, bound to its tenant."""
    return dialects.load(node.dialect, {**node.options, **node.tenant}, node.extras)


def digest(org: str | None, caller: str, key: str | None) -> str | None:
    """What an idempotency key is known by: callers have theirs apart."""
    if key is None:
        return None
    return hashlib.sha256(json.dumps([org, caller, key]).encode()).hexdigest()


def view(row: CommandRow, node: NodeRow) -> dict[str, Any]:
    """A command as clients see it."""
    return {
        "id": row.id,
        "node": node.public_id,
        "action": row.action,
        "params": row.params,
        "state": row.state,
        "caller": row.caller,
        "created": row.created,
        "sent": row.sent,
        "accepted": row.accepted,
        "ended": row.ended,
        "deadline": row.deadline,
        "timeout": row.timeout_s,
        "retries": row.retries,
        "attempts": row.attempts,
        "error": row.error,
        "data": row.data,
    }


def _new(
    id: str,
    node: NodeRow,
    action: str,
    params: Mapping[str, Any],
    caller: str,
    idempotency: str | None,
    now: float,
    timeout: float,
) -> CommandRow:
    return CommandRow(
        id=id,
        node_id=node.id,
        action=action,
        params=dict(params),
        state=SENDING,
        caller=caller,
        idempotency=idempotency,
        created=now,
        sent=None,
        accepted=None,
        ended=None,
        deadline=now + SENDING_S,
        timeout_s=timeout,
        retries=0,
        attempts=1,
        error=None,
        data=None,
    )


def _reused(row: CommandRow, node: NodeRow) -> BadParameter:
    return BadParameter(
        node.name, row.action, "Idempotency-Key", "was used for another command before"
    )


def _ended(state: str, error: str | None = None) -> dict[str, Any]:
    return {"state": state, "ended": time.time(), "deadline": None, "error": error}
