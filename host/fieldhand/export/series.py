"""What a dialect's readings are as points of InfluxDB.

Measurement = the dialect; tags = `node` and the tenant; fields = canonical quantities. The bridge
of the service writes that, the Telegraf configuration makes it, the Grafana dashboard shows it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldhand import dialects as dialect_table
from fieldproto.dialect import Dialect
from fieldproto.messages import ATTRIBUTES, Message
from fieldproto.quantities import UNITS
from fieldproto.schema import Field

NODE = "node"
# What the broker tells of itself, where a dialect has a message for it.
BROKER = "broker"
BROKER_UNITS = {"messages_per_second": "msg/s"}


@dataclass(frozen=True)
class Series:
    """A quantity: `path` is where it stands in the payload ("sensors.ph")."""

    quantity: str
    path: str
    unit: str


def readings(name: str) -> list[Message]:
    """The messages of a dialect that are readings."""
    return [m for m in dialect_table.unbound(name).messages if m.kind == "reading"]


def series_of(message: Message) -> list[Series]:
    """The quantities a message has a place for; those a user names freely are not among them."""
    return [
        Series(field.means, field.name, UNITS.get(field.means, field.unit))
        for field in message.fields
        if is_measured(field) and "*" not in field.name
    ]


def is_measured(field: Field) -> bool:
    """Whether a field carries a number that was measured, as it is."""
    number = field.type in ("number", "int") and field.values is None and field.scale == 1
    return number and (field.means not in ATTRIBUTES or "*" in field.name)


def quantities(name: str) -> dict[str, str]:
    """All quantities of a dialect's readings, each with its unit, in the document's order."""
    return {s.quantity: s.unit for m in readings(name) for s in series_of(m)}


def tags(dialect: Dialect) -> list[str]:
    """The tags of a dialect's points: its tenant, then the node."""
    options = [f.name for f in dialect.option_fields]
    return [
        *(name for name in options if any(f"{{{name}}}" in t for t in _topics(dialect))),
        NODE,
    ]


def _topics(dialect: Dialect) -> list[str]:
    return [topic for message in dialect.messages for topic in message.topics]


def broker_message(name: str) -> Message | None:
    """The message with a broker's statistics, in a dialect that has one."""
    for message in dialect_table.unbound(name).messages:
        if message.kind == BROKER and any(f.type == "number" for f in message.fields):
            return message
    return None


def broker_fields(message: Message) -> list[str]:
    """What is counted in it."""
    return [f.name for f in message.fields if f.type in ("number", "int")]
