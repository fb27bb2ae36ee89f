"""How an answer finds the command it answers: what `Fleet` and the service do with what they hear.

Three ways, tried in this order. By id, where the dialect has one or the extension key carries it.
By the command's name, where an answer has that and no id. By the effect, where the dialect has no
answer at all: `Command.settled_by` says which message of the node shows that it was carried out.
Within each the oldest command of the node comes first.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
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


class Asked:
    """A command that was sent, as far as its answer has to find it.

    `options` are those of the node's dialect, `canonical` the parameters by canonical name.
    """

    def __init__(
        self,
        id: str,
        node: str,
        dialect: str,
        options: Mapping[str, Any],
        command: Command,
        canonical: Mapping[str, Any],
    ) -> None:
        self.id = id
        self.node = node
        self.dialect = dialect
        self.options = options
        self.command = command
        self.canonical = canonical

    def is_of(self, event: Reply | Status | Reading) -> bool:
        """Whether `event` comes from the node that was asked."""
        if self.node != event.node or self.dialect != event.dialect:
            return False
        return all(self.options.get(name, held) == held for name, held in event.tenant.items())

    def shown_by(self, message: str, event: Event) -> bool:
        """Whether `event`, decoded from `message`, shows that the command was carried out."""
        rule = self.command.settled_by
        if not rule or rule[0] != message:
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


def find(asked: Mapping[str, A], message: str, event: Event) -> A | None:
    """The command among `asked` (id -> command, the oldest first) that a live event answers.

    `message` is the event's name in its dialect. Retained events answer nothing: leave them out.
    """
    if isinstance(event, Reply) and event.id:
        found = asked.get(event.id)
        return found if found is not None and found.is_of(event) else None
    if isinstance(event, Reply) and event.command:
        for one in asked.values():
            if one.is_of(event) and one.command.name == event.command:
                return one
        return None
    if not isinstance(event, (Reply, Status, Reading)) or not may_answer(event):
        return None
    for one in asked.values():
        if one.is_of(event) and one.shown_by(message, event):
            return one
    return None


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
