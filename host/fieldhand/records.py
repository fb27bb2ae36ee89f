"""What a fleet tells: readings, statuses, replies, alerts, events, and messages that were refused.

All are frozen. Times are Unix seconds: `time` is the node's own (int, None while its clock is not
set), `received_at` the host's (float).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from fieldproto.messages import Record


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which of a node's records this is.

    `boot` names the run of the firmware, `seq` counts its readings, and apart from them its alerts
    and events, `ms` is the node's monotonic clock, `quality` says how `time` came about: "synced"
    (clock was set), "backfilled" (set later, reckoned back) or "unknown". All None where a dialect
    does not carry it.
    """

    boot: str | None = None
    seq: int | None = None
    ms: int | None = None
    quality: str | None = None


NO_PROVENANCE = Provenance()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a node measured: canonical quantity -> value (units: `fieldproto.quantities.UNITS`)."""

    node: str
    dialect: str
    quantities: Mapping[str, float]
    time: int | None
    received_at: float
    provenance: Provenance = NO_PROVENANCE
    tenant: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """What a node says of itself. `state` is "online", "offline" or a word of its dialect.

    `retained` says that the broker kept it: it was true once, maybe long ago.
    """

    node: str
    dialect: str
    state: str
    values: Mapping[str, Any]
    time: int | None
    received_at: float
    retained: bool = False
    provenance: Provenance = NO_PROVENANCE
    tenant: Mapping[str, str] = field(default_factory=dict)

    @property
    def online(self) -> bool:
        return self.state != "offline"


@dataclass(frozen=True, slots=True)
class Reply:
    """A node's answer to a command: `state` is "accepted", "done" or "failed".

    `id` and `command` are None where the dialect has no place for them.
    """

    node: str
    dialect: str
    state: str
    id: str | None
    command: str | None
    error: str | None
    data: Mapping[str, Any]
    time: int | None
    received_at: float
    tenant: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """A quantity left its limits, or the node has something to say. `sensor` is canonical.

    `state` is "raised", or "cleared" when it is back inside.
    """

    node: str
    dialect: str
    severity: str
    message: str
    sensor: str | None
    value: float | None
    threshold: float | None
    time: int | None
    received_at: float
    tenant: Mapping[str, str] = field(default_factory=dict)
    state: str = "raised"
    provenance: Provenance = NO_PROVENANCE


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """What happened on a node: `event` is "run", "outage", "crash", "repaired" ...

    `data` is the rest. `time` is that of the event, which may be long before it could be told.
    """

    node: str
    dialect: str
    event: str
    data: Mapping[str, Any]
    time: int | None
    received_at: float
    provenance: Provenance = NO_PROVENANCE
    tenant: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that was refused, and why. `payload` holds its first bytes."""

    topic: str
    reason: str
    dialect: str | None
    field: str | None
    payload: bytes
    received_at: float


# What a node said, and that or a message that was refused.
Heard: TypeAlias = Reading | Status | Reply | Alert | NodeEvent
Event: TypeAlias = Heard | Invalid

_TENANTS = ("org", "company")
# What a reading carries beside what was measured.
_ATTRIBUTES = ("firmware", "uptime", "state")


def from_record(record: Record, received_at: float, retained: bool = False) -> Heard | None:
    """The typed form of a decoded record; None for a kind that a host does not listen for."""
    values = dict(record.values)
    time = values.pop("time", None)
    tenant = {name: values.pop(name) for name in _TENANTS if name in values}
    if record.kind == "reading":
        return Reading(
            node=record.node,
            dialect=record.dialect,
            quantities={k: v for k, v in values.items() if k not in _ATTRIBUTES},
            time=time,
            received_at=received_at,
            provenance=_provenance(record.ext),
            tenant=tenant,
            attributes={k: v for k, v in values.items() if k in _ATTRIBUTES},
        )
    if record.kind == "status":
        return Status(
            node=record.node,
            dialect=record.dialect,
            state=values.pop("state", "online"),
            values=values,
            time=time,
            received_at=received_at,
            retained=retained,
            provenance=_provenance(record.ext),
            tenant=tenant,
        )
    if record.kind == "reply":
        return Reply(
            node=record.node,
            dialect=record.dialect,
            state=values.get("state", "done"),
            id=values.get("id"),
            command=values.get("command"),
            error=values.get("error"),
            data=dict(values.get("data") or {}),
            time=time,
            received_at=received_at,
            tenant=tenant,
        )
    if record.kind == "alert":
        return Alert(
            node=record.node,
            dialect=record.dialect,
            severity=values.get("severity", "warning"),
            message=values.get("message", ""),
            sensor=values.get("sensor"),
            value=values.get("value"),
            threshold=values.get("threshold"),
            time=time,
            received_at=received_at,
            tenant=tenant,
            state=values.get("state", "raised"),
            provenance=_provenance(record.ext),
        )
    if record.kind == "event":
        return NodeEvent(
            node=record.node,
            dialect=record.dialect,
            event=values.pop("event"),
            data={k: v for k, v in values.items() if v is not None},
            time=time,
            received_at=received_at,
            provenance=_provenance(record.ext),
            tenant=tenant,
        )
    return None


def _provenance(ext: Mapping[str, Any]) -> Provenance:
    if not ext:
        return NO_PROVENANCE
    return Provenance(ext.get("boot"), ext.get("seq", ext.get("n")), ext.get("ms"), ext.get("q"))


def as_dict(event: Event) -> dict[str, Any]:
    """A JSON-ready form: the fields, `kind` first, what is absent left out."""
    data: dict[str, Any] = {"kind": type(event).__name__.removeprefix("Node").lower()}
    for name, value in asdict(event).items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if name == "provenance":
            value = {k: v for k, v in value.items() if v is not None}
        if value is not None and value != {}:
            data[name] = value
    return data


def in_words(event: NodeEvent) -> str:
    """ "run actuator=pump by=command reason=done ran_ms=3000", a traceback by its last line."""
    parts = [event.event]
    for name, value in event.data.items():
        lines = str(value).strip().splitlines()
        parts.append(f"{name}={lines[-1] if lines else ''}")
    return " ".join(parts)


def printable(text: str) -> str:
    """`text` on one line and without what moves a terminal: a stranger may be called anything."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
