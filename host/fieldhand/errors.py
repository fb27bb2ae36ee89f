"""The few exceptions a user of Fieldhand has to know.

Every one carries its message inside and its facts as attributes. What crosses the wire badly is
`fieldproto.errors.MessageError`; it is re-exported here because `Fleet.send` raises it for a wrong
parameter.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from fieldproto.errors import MessageError

__all__ = [
    "BadParameter",
    "BrokerUnavailable",
    "CommandFailed",
    "CommandTimeout",
    "ConfigError",
    "FieldhandError",
    "MessageError",
    "Unacknowledged",
    "UnknownAction",
    "UnknownNode",
    "did_you_mean",
]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' (did you mean 'x'?)' for the nearest of `known`, or an empty string."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" (did you mean '{by_lower[near[0]]}'?)" if near else ""


class FieldhandError(Exception):
    """Base of every error that Fieldhand raises on purpose."""


class BrokerUnavailable(FieldhandError):
    """The broker cannot be reached, refuses us, or cannot be started."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"broker {host}:{port}: {reason}")
        self.host = host
        self.port = port
        self.reason = reason


class Unacknowledged(BrokerUnavailable):
    """A message went out and the broker did not say that it has it: it may have been delivered."""


class UnknownNode(FieldhandError):
    """No node of this name in the fleet file, and none heard on the broker."""

    def __init__(self, node: str, known: Sequence[str], reason: str | None = None) -> None:
        if reason is None:
            listed = ", ".join(known) if known else "none"
            reason = f"unknown{did_you_mean(node, known)}; known nodes: {listed}"
        super().__init__(f"node '{node}': {reason}")
        self.node = node
        self.known = list(known)


class UnknownAction(FieldhandError):
    """The node's dialect has no command of this name."""

    def __init__(self, node: str, dialect: str, action: str, known: Sequence[str]) -> None:
        super().__init__(
            f"node '{node}': {dialect} has no command '{action}'"
            f"{did_you_mean(action, known)}; it has: {', '.join(known)}"
        )
        self.node = node
        self.dialect = dialect
        self.action = action
        self.known = list(known)


class BadParameter(FieldhandError):
    """A command's parameter is missing, unknown, of a wrong type or out of range."""

    def __init__(self, node: str, action: str, field: str, reason: str) -> None:
        super().__init__(f"node '{node}': {action}: {field}: {reason}")
        self.node = node
        self.action = action
        self.field = field
        self.reason = reason


class CommandFailed(FieldhandError):
    """The node refused a command or could not carry it out."""

    def __init__(self, node: str, action: str, reason: str) -> None:
        super().__init__(f"node '{node}': {action} failed: {reason}")
        self.node = node
        self.action = action
        self.reason = reason


class CommandTimeout(FieldhandError):
    """The node did not answer a command in time. It may still have carried it out."""

    def __init__(self, node: str, action: str, seconds: float, reason: str | None = None) -> None:
        reason = reason or f"no answer within {seconds:g} s"
        super().__init__(f"node '{node}': {action}: {reason}")
        self.reason = reason
        self.node = node
        self.action = action
        self.seconds = seconds


class ConfigError(FieldhandError):
    """One or more things are wrong in a file the user wrote; all of them are listed."""

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.path = path
        self.problems = list(problems)
