"""Canonical values to packets, by a dialect's tables: methods of `Dialect`."""

import json

from .errors import MessageError
from .messages import ATTRIBUTES, EXT, Packet
from .schema import MAX_NUMBER, FieldError, is_level, put_wild, read, rounded, write

# Ends of a run that nobody asked for. Of a dry run and of a leak the node makes an alert itself.
_UNWANTED = (
    "link lost",
    "power",
    "budget",
    "timeout",
    "crash",
    "watchdog",
    "error",
)


def encode(d, kind: str, node: str, values: dict, ext: "dict | None" = None) -> Packet:
    """The packet for a record of `kind`. Raises MessageError.

    Quantities the dialect has no word for go into its open map (`extra.*`, `sensors.*`) or,
    with extras on, into the extension key.
    """
    message = d.message(kind)
    if message is None:
        raise MessageError(d.name, kind, "", "is not a message of this dialect")
    return encode_message(d, message, message.fields, node, values, ext)


def will(d, node: str, values: dict) -> "Packet | None":
    """The Last Will (status offline), or None where the dialect has no status.

    `values` gives what the status requires beside it (time, firmware).
    """
    message = d.message("status")
    if message is None:
        return None
    gone = {"state": "offline", "activity": "offline"}
    for field in message.fields:
        if field.required and field.means in values and field.means not in gone:
            gone[field.means] = values[field.means]
    return encode_message(d, message, message.fields, node, gone, None)


def encode_reply(
    d, node: str, reply: dict, status: dict, ext: "dict | None" = None
) -> "Packet | None":
    """The packet that answers a command, or None where the dialect has no word for it.

    `reply` is canonical (id, command, state, error, data); `status` the node's status values,
    for the dialects that answer on the status topic. Raises MessageError.
    """
    message = d.message("reply")
    values = dict(status)
    data = reply.get("data") or {}
    if message is not None:
        command = d.command(reply.get("command") or "")
        values.update(data)
        values.update(reply)
        if command is not None and command.reply:
            values["data"] = write(data, command.reply)[0]
    else:
        message = d.message("status")
        for key in ("command", "state", "error"):
            values["ack." + key] = reply.get(key)
    if message is None:
        return None
    means = [field.means for field in message.fields]
    native = message.kind == "reply" or "ack.state" in means
    if reply["state"] == "accepted" and (native or not d.extras):
        return None
    if "id" not in means:
        ack = {}
        for key in ("id", "command", "state", "error", "data"):
            if reply.get(key):
                ack[key] = reply[key]
        ext = dict(ext or {})
        ext["ack"] = ack
    return encode_message(d, message, message.fields, node, values, ext)


def encode_alert(
    d, node: str, alert: dict, status: dict, ext: "dict | None" = None
) -> "Packet | None":
    """The packet of an alert: the dialect's own, else with extras on a status that carries it,
    else None. Raises MessageError.

    `ext` says which notice of which boot it is; beside the alert, not the status.
    """
    if d.message("alert") is not None:
        ext = dict(ext or {})
        if "state" in alert:
            ext["state"] = alert["state"]
        return encode(d, "alert", node, alert, ext)
    return _carry(d, node, "alert", alert, status, ext)


def encode_event(
    d, node: str, event: dict, status: dict, ext: "dict | None" = None
) -> "Packet | None":
    """The packet of what happened on a node, {"event": "run", "reason": ...}, or None.

    With extras on a status that carries it. Without, an end that nobody wanted is an alert where
    the dialect has one. Raises MessageError.
    """
    if d.extras:
        return _carry(d, node, "event", event, status, ext)
    text = _in_words(event)
    if text is None or d.message("alert") is None:
        return None
    severity = "info" if event.get("state") == "works" else "warning"
    alert = {"severity": severity, "message": text[:200], "time": event.get("time")}
    return encode(d, "alert", node, alert)


def encode_partial(
    d, node: str, values: dict, status: dict, ext: "dict | None" = None
) -> "Packet | None":
    """The packet of a reading that `encode` refuses, or None where nothing of it can be told.

    A sensor that failed leaves a gap the document does not allow: with extras a status carries
    what the others measured. Raises MessageError.
    """
    measured = {}
    for name in values:
        value = values[name]
        if name not in ATTRIBUTES and isinstance(value, (int, float)):
            if -MAX_NUMBER <= value <= MAX_NUMBER:
                measured[name] = rounded(value, 3) if isinstance(value, float) else value
    if not measured:
        return None
    part = {"values": measured, "time": values.get("time")}
    return _carry(d, node, "partial", part, status, ext)


def _in_words(event):
    what, reason = event["event"], event.get("reason")
    if what == "run" and reason in _UNWANTED:
        return "%s ended: %s" % (event.get("actuator"), reason)
    if what == "crash":
        return "the node crashed: " + (event.get("traceback") or "").strip().split("\n")[-1]
    if what == "sensor":
        word = "failed: %s" % reason if reason else "works again"
        return "%s %s" % (event["sensor"], word)
    return None


def _carry(d, node, key, part, status, ext):
    """A status, or the answer of a dialect without one, that carries `part` as an extra.

    Not retained: who subscribes tomorrow is told the state of the node, not an old event.
    """
    message = d.message("status") or d.message("reply")
    if message is None or not d.extras:
        return None
    inner = dict(ext or {})
    for name in part:
        if part[name] is not None:
            inner[name] = part[name]
    if inner.get("q") == "unknown":
        inner.pop("time", None)  # what a dialect that requires one was given
    packet = encode_message(d, message, message.fields, node, status, {key: inner})
    return Packet(packet.topic, packet.payload, packet.qos, False)


def encode_message(d, message, fields, node, values, ext):
    values = dict(values)
    values["node"] = node
    values.update(d.options)
    if not is_level(node):
        raise MessageError(d.name, message.name, "node", "%r cannot be in a topic" % node)
    try:
        obj, used = write(values, fields)
        also = {}
        if message.kind in ("reading", "status"):
            also = _rest(d, message, obj, used, values)
        read(obj, fields)
    except FieldError as error:
        raise MessageError(d.name, message.name, error.field, error.reason) from None
    plain = json.dumps(obj)
    text = plain
    limit = message.max_bytes
    if d.extras and (ext or also):
        obj[EXT] = dict(ext or {})
        if also:
            obj[EXT]["also"] = also
        text = json.dumps(obj)
        if also and limit and len(text.encode()) >= limit:
            del obj[EXT]["also"]  # the first to go
            text = json.dumps(obj)
    if limit and len(text.encode()) >= limit:
        text = plain  # then provenance
        if len(text.encode()) >= limit:
            raise MessageError(d.name, message.name, "", "is not under %d bytes" % limit)
    return Packet(d.topic(message, node), text.encode(), message.qos, message.retain)


def _rest(d, message, obj, used, values):
    wild = None
    for field in message.fields:
        if field.name.endswith(".*") and field.type == "number":
            wild = field
    also = {}
    for name in values:
        value = values[name]
        if name in used or name in d.options or value is None or name[:4] == "ack.":
            continue
        if message.kind == "reading" and name in ATTRIBUTES:
            continue  # the status says it
        if message.kind == "reading" and wild is not None:
            put_wild(obj, wild, name, value)
        elif name not in ("node", "state", "activity", "time"):
            also[name] = rounded(value, 2) if isinstance(value, float) else value
    return also
