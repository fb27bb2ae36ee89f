"""How an answer finds the command it answers: what `Fleet` and the service do with what they hear.

Three ways, tried in this order. By id, where the dialect has one or the extension key carries it.
By the command's name, where an answer has that and no id. By the effect, where the dialect has no
answer at all: `Command.settled_by` says which message of the node shows that it was carried out.
Within each the oldest command of the node comes first.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from fieldhand.errors import BadParameter, UnknownAction
from fieldhand.records import Event, Reading, Reply, Status
from fieldproto.dialect import Dialect
from fieldproto.errors import MessageError
from fieldproto.messages import Command, Packet

SENT, ACCEPTED, DONE, FAILED, TIMEOUT = "sent", "accepted", "done", "failed", "timeout"
ENDED = (DONE, FAILED, TIMEOUT)

# What an answer may take, each time, and how often a command may be sent again.
MAX_TIMEOUT_S = 86_400.0
MAX_RETRIES = 100
DEFAULT_TIMEOUT_S = 30.0
# For how long after its time limit the effect of a command is still told as its late answer.
LATE_EFFECT_S = 3_600.0
# By how many seconds a node's clock that is set may be behind.
CLOCK_SKEW_S = 60.0
# 2001-01-01: clocks that nobody has set tell an earlier time.
CLOCK_SET_SINCE = 978_307_200


class Asked:
    """A command that was sent, as far as its answer has to find it.

    `options` are those of the node's dialect, `canonical` the parameters by canonical name,
    `asked_at` is when it was about to be sent first (Unix seconds of this host).
    """

    def __init__(
        self,
        id: str,
        node: str,
        dialect: str,
        options: Mapping[str, Any],
        command: Command,
        canonical: Mapping[str, Any],
        asked_at: float,
    ) -> None:
        self.id = id
        self.node = node
        self.dialect = dialect
        self.options = options
        self.command = command
        self.canonical = canonical
        self.asked_at = asked_at

    def is_of(self, event: Reply | Status | Reading) -> bool:
        """Whether `event` comes from the node that was asked."""
        if self.node != event.node or self.dialect != event.dialect:
            return False
        return all(self.options.get(name, held) == held for name, held in event.tenant.items())

    @property
    def effect(self) -> tuple[str, ...]:
        """The message and the value in it that show the effect: (message,) for any such message."""
        return tuple(self.command.settled_by[:2]) if self.command.settled_by else ()

    def is_before(self, event: Reply | Status | Reading) -> bool:
        """Whether the command was there when `event` came about, as far as one can tell.

        A backlog tells of what was before. A clock that was never set says nothing of when.
        """
        if event.received_at < self.asked_at:
            return False
        if event.time is None or event.time < CLOCK_SET_SINCE:
            return True
        return event.time >= self.asked_at - CLOCK_SKEW_S

    def shown_by(self, message: str, event: Reply | Status | Reading) -> bool:
        """Whether `event`, decoded from `message`, shows that the command was carried out."""
        rule = self.command.settled_by
        if not rule or rule[0] != message or not self.is_before(event):
            return False
        if len(rule) == 1:
            return True
        wanted = self.canonical.get(rule[2], rule[2])
        return bool(_value(event, rule[1]) == wanted)

    def runs_s(self, reply: Reply) -> float:
        """Seconds the actuation takes of which `reply` is the acceptance; 0 where none is told."""
        # The node says how long: an amount, too, has become a duration there.
        told = reply.data.get("duration_ms") or self.canonical.get("duration_ms")
        return float(told) / 1000 if isinstance(told, (int, float)) else 0.0


A = TypeVar("A", bound=Asked)


def may_answer(event: Event) -> bool:
    """Whether an event can answer a command at all; most cannot, which is quickly said."""
    if isinstance(event, Reply):
        return True
    # A node with provenance answers by id; its heartbeat is not an answer.
    return isinstance(event, (Status, Reading)) and event.provenance.boot is None


def find(asked: Mapping[str, A], message: str, event: Event) -> list[A]:
    """The commands among `asked` (id -> command, the oldest first) that a live event answers.

    `message` is the event's name in its dialect. More than one only where the event shows what
    several wanted. Retained events answer nothing: leave them out.
    """
    if isinstance(event, Reply) and event.id:
        found = asked.get(event.id)
        return [found] if found is not None and found.is_of(event) else []
    if isinstance(event, Reply) and event.command:
        for one in asked.values():
            if one.is_of(event) and one.command.name == event.command:
                return [one]
        return []
    if not isinstance(event, (Reply, Status, Reading)) or not may_answer(event):
        return []
    return _shown([one for one in asked.values() if one.is_of(event)], message, event)


def is_late(last: Asked, ended_at: float, message: str, event: Reply) -> bool:
    """Whether `event`, which answers nothing that is waited for, shows a command's effect late.

    `last` is the last command its node was sent, which timed out at `ended_at` (Unix seconds).
    """
    if event.id or event.command or len(last.effect) < 2:
        return False
    in_time = event.received_at <= ended_at + LATE_EFFECT_S
    return in_time and last.is_of(event) and last.shown_by(message, event)


def _shown(asked: Iterable[A], message: str, event: Reply | Status | Reading) -> list[A]:
    found: list[A] = []
    over: set[tuple[str, ...]] = set()
    for one in asked:
        if one.effect in over:
            continue
        if one.shown_by(message, event):
            found.append(one)
            if len(one.effect) == 1:
                over.add(one.effect)  # an act, no state: each has a message of its own
        elif any(one.effect == other.effect for other in found):
            over.add(one.effect)  # what was wanted after this one has not come about yet
    return found


def encode(
    dialect: Dialect, node: str, action: str, params: Mapping[str, Any], id: str, time: int
) -> tuple[Command, Packet]:
    """The command and its packet. Raises UnknownAction or BadParameter, which names the field."""
    command = dialect.command(action)
    if command is None:
        known = [command.name for command in dialect.commands]
        raise UnknownAction(node, dialect.name, action, known)
    try:
        packet = dialect.encode_command(node, action, dict(params), id, time)
    except MessageError as error:
        raise BadParameter(node, action, error.field or "parameters", error.reason) from None
    return command, packet


def carries_id(dialect: Dialect) -> bool:
    """Whether the node can tell a command that is sent again from a new one."""
    message = dialect.message("command")
    own = message is not None and any(field.means == "id" for field in message.fields)
    return own or dialect.extras


def canonical(command: Command, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, given by their wire names, and those the command implies."""
    values = dict(command.fixed)
    for param in command.params:
        if params.get(param.name) is not None:
            values[param.means or param.name] = param.read(params[param.name])
    return values


def command_id() -> str:
    """A new id, by which no two commands are called."""
    return f"cmd-{int(time.time() * 1000)}-{secrets.token_hex(3)}"


def check_patience(node: str, action: str, timeout: float, retries: int) -> None:
    """Raises BadParameter for a time limit or a number of retries that nobody means."""
    if not isinstance(timeout, (int, float)) or not 0 < timeout <= MAX_TIMEOUT_S:
        reason = f"{timeout!r} is not a number of seconds, up to {MAX_TIMEOUT_S:g}"
        raise BadParameter(node, action, "timeout", reason)
    if not isinstance(retries, int) or not 0 <= retries <= MAX_RETRIES:
        reason = f"{retries!r} is not a number from 0 to {MAX_RETRIES}"
        raise BadParameter(node, action, "retries", reason)


def _value(event: Event, name: str) -> Any:
    if isinstance(event, Reading):
        return event.quantities.get(name)
    if isinstance(event, Status):
        return event.state if name == "state" else event.values.get(name)
    if isinstance(event, Reply):
        return event.data.get(name)
    return None
