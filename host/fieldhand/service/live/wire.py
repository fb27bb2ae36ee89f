"""What came in, as the seed systems' own frontends know it: by the names of the dialect's document.

PlantNanny's stream, the solar machines' and the farms' WebSockets speak these; the general stream
speaks canonical names and units.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from fieldhand import dialects
from fieldhand.records import Heard, Reading, Reply, Status
from fieldhand.service import moments
from fieldhand.service.live.hub import PING, LiveEvent
from fieldproto.messages import Message
from fieldproto.schema import Field, FieldError, put_wild, write
from fieldproto.timestamps import format_utc

# Texts kept for clients that want the same: those of the events under way.
KEPT_TEXTS = 1_024
# An analysis of `fieldhand.service.agronomy`; its data are `analysis` and `recommendations`.
ANALYSIS = "agronomy_analysis"


def document(event: Heard) -> dict[str, Any] | None:
    """A reading or status by the names and units of its dialect's document; None for others.

    What the document has no word for keeps its canonical name, under `also`.
    """
    if isinstance(event, Reading):
        values: dict[str, Any] = {**event.attributes, **event.quantities}
    elif isinstance(event, Status):
        values = {**event.values, "state": event.state}
    else:
        return None
    dialect = dialects.unbound(event.dialect)
    message = dialect.message("reading" if isinstance(event, Reading) else "status")
    if message is None:
        return None
    values |= {**event.tenant, "node": event.node, "time": event.time}
    found, used = _written(message, values)
    wild = next((f for f in message.fields if f.name.endswith(".*") and f.type == "number"), None)
    also: dict[str, Any] = {}
    for name in values.keys() - used - event.tenant.keys() - {"node", "time"}:
        if values[name] is None or not _placed(found, wild, name, values[name]):
            also[name] = values[name]
    found |= {"also": dict(sorted(also.items()))} if also else {}
    return found


def _written(message: Message, values: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    # Field by field: what one of them cannot carry shall not cost the others.
    found: dict[str, Any] = {}
    used: set[str] = set()
    for field in message.fields:
        if field.type == "object" or field.means.startswith("ack."):
            continue
        try:
            one, carried = write({k: v for k, v in values.items() if k == field.means}, (field,))
        except FieldError:
            continue
        _merge(found, one)
        used |= carried
    return found, used


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _placed(found: dict[str, Any], wild: Field | None, name: str, value: Any) -> bool:
    if wild is None:
        return False
    try:
        put_wild(found, wild, name, value)
    except FieldError:
        return False
    return True


def timestamp(event: Heard) -> str:
    """When it was, as far as one can tell: ISO 8601, UTC."""
    return format_utc(int(moments.moment(event.time, event.received_at)))


@lru_cache(KEPT_TEXTS)
def plantnanny(event: LiveEvent) -> bytes | None:
    """`event: reading`, `data` as on devices/<id>/data with the device's id."""
    if event is PING:
        return event.sse
    body = document(event.event) if event.event is not None else None  # type: ignore[arg-type]
    if body is None or event.node is None:
        return None
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        event.id.encode(),
        event.kind.encode(),
        to_json({"device_id": event.node.name, **body}, inf_nan_mode="null"),
    )


@lru_cache(KEPT_TEXTS)
def solar(event: LiveEvent) -> str | None:
    """The payload as the machine published it, with `type` telemetry or status, and whose it is."""
    record = event.event
    body = document(record) if record is not None else None  # type: ignore[arg-type]
    if body is None or event.node is None or not isinstance(record, (Reading, Status)):
        return None
    return _text(
        {
            "type": "telemetry" if isinstance(record, Reading) else "status",
            "machine_id": event.node.name,
            "company_id": record.tenant.get("company"),
            **body,
            "timestamp": timestamp(record),
        }
    )


@lru_cache(KEPT_TEXTS)
def farm(event: LiveEvent) -> str | None:
    """`sensor_update` with the telemetry as `data`, `agronomy_analysis`, or `STATUS`.

    The document broadcasts an actuator's `STATUS` without a word for it: it goes as published.
    """
    if event.kind == ANALYSIS:
        return _text({"type": ANALYSIS, **event.data})
    record = event.event
    if isinstance(record, Reply):
        return _text(_answered(record) | {"timestamp": timestamp(record)})
    if not isinstance(record, Reading):
        return None
    return _text(
        {"type": "sensor_update", "data": document(record), "timestamp": timestamp(record)}
    )


def _answered(reply: Reply) -> dict[str, Any]:
    """An answer by the names of its dialect's document, which has one table of them."""
    message = next(m for m in dialects.unbound(reply.dialect).messages if m.kind == "reply")
    return _written(message, {**reply.data, "node": reply.node, "time": reply.time})[0]


def _text(message: Mapping[str, Any]) -> str:
    return to_json(message, inf_nan_mode="null").decode()
