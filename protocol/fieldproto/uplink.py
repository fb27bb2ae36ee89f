"""What a host reads: the records in a node's message. A node never loads this.

The extension key evolves, for firmware and host are not updated on the same day. A newer firmware
may add keys: a host passes over those it does not know, anywhere but in the open maps (`also`,
`event`, `partial.values`), whose keys are data. Where a key it does know would mean something
else, the firmware says so by a higher `v`: then the host refuses the message whole, which leaves
it to a newer host, instead of storing what it misunderstands. What is known is checked as ever.
"""

from .messages import ATTRIBUTES, EXT, MAX_ID, Record
from .schema import MAX_NUMBER, Field, FieldError, read

EXT_VERSION = 1  # the newest meaning of the extension known here; without `v` it is 1
MAX_TEXT = 2048  # characters of one value of an event; a traceback is the longest
_QUALITIES = ("synced", "backfilled", "unknown")


def _provenance(prefix):
    # A notice may be of an earlier boot than the status that carries it.
    return (
        Field(prefix + "boot", "string", hi=32),
        Field(prefix + "n", "int", lo=0),
        Field(prefix + "ms", "int", lo=0, unit="ms"),
        Field(prefix + "q", "string", values=_QUALITIES),
        Field(prefix + "time", "epoch"),
    )


# Scalars have no `means`: a name under `also`, which may be the same, is not theirs.
EXT_FIELDS = (
    Field("v", "int", lo=1, hi=EXT_VERSION, doc="version of what the extension means; without: 1"),
    Field("boot", "string", hi=32),
    Field("seq", "int", lo=0),
    Field("ms", "int", lo=0, unit="ms"),
    Field("q", "string", values=_QUALITIES),
    Field("also", "object", means="also"),
    Field("also.*", "any"),
    Field("id", "string", lo=1, hi=MAX_ID),
    Field("ack", "object", means="ack"),
    Field("ack.id", "string", hi=MAX_ID),
    Field("ack.command", "string"),
    Field("ack.state", "string", values=("accepted", "done", "failed"), required=True),
    Field("ack.error", "string"),
    Field("ack.data", "object"),
    Field("n", "int", lo=0, doc="number of an alert or event of this boot"),
    Field("state", "string", values=("raised", "cleared"), doc="of an alert"),
    Field("alert", "object", means="alert"),
    Field("alert.severity", "string", values=("info", "warning", "critical"), required=True),
    Field("alert.message", "string", required=True),
    Field("alert.state", "string", values=("raised", "cleared")),
    Field("alert.sensor", "string"),
    Field("alert.value", "number"),
    Field("alert.threshold", "number"),
)
EXT_FIELDS += _provenance("alert.")
EXT_FIELDS += (
    Field("event", "object", means="event"),
    Field("event.event", "string", lo=1, hi=32, required=True, doc="what: run, outage, crash ..."),
    Field("event.*", "any"),
)
EXT_FIELDS += _provenance("event.")
EXT_FIELDS += (
    Field("partial", "object", means="partial", doc="a reading without all it should have"),
    Field("partial.seq", "int", lo=0),
    Field("partial.values", "object", required=True, doc="quantity -> value, canonical units"),
    Field("partial.values.*", "number"),
)
EXT_FIELDS += _provenance("partial.")


def _keys():
    found = {}
    for field in EXT_FIELDS:
        dot = field.name.rfind(".")
        found.setdefault(field.name[: max(dot, 0)], set()).add(field.name[dot + 1 :])
    return found


_KEYS = _keys()  # path of an object -> its keys, "*" among them where it is open


def read_extension(ext):
    """The checked contents of the extension key, without what is not known. Raises FieldError."""
    try:
        _check_version(ext.get("v"))
        found = read(_known(ext, ""), EXT_FIELDS)
    except FieldError as error:
        raise FieldError(EXT + "." + error.field, error.reason) from None
    found.pop("v", None)
    return found


def _check_version(version):
    # Before all else: what else is there may be wrong by this version's rules only.
    if isinstance(version, bool) or not isinstance(version, (int, float)):
        return  # null, or for the table to refuse
    if EXT_VERSION < version <= MAX_NUMBER and version == int(version):
        raise FieldError(
            "v",
            "is %d, understood only by a newer Fieldhand (this one: up to %d); update the host, "
            "then `fieldhand dead-letter replay --all`" % (version, EXT_VERSION),
        )


def _known(obj, path):
    keys = _KEYS.get(path)
    if keys is None or "*" in keys or not isinstance(obj, dict):
        return obj
    inner = path + "." if path else ""
    found = {}
    for key in obj:
        if key in keys:
            found[key] = _known(obj[key], inner + key)
    return found


def records(d, message, values, ext):
    """One record, or more where a status also carries an answer, an alert or an event."""
    node = values.pop("node", None)
    kind = message.kind
    found = []
    also = ext.pop("also", {})
    for key in also:
        if (
            kind == "reading"
            and (isinstance(also[key], (str, dict, list, bool)))
            and key != "firmware"
        ):
            raise FieldError("%s.also.%s" % (EXT, key), "is not a number")
        values.setdefault(key, also[key])
    if kind == "reading" and not [name for name in values if name not in ATTRIBUTES]:
        raise FieldError("", "carries no reading")
    ack = ext.pop("ack", None)
    alert = ext.pop("alert", None)
    event = ext.pop("event", None)
    partial = ext.pop("partial", None)
    if event is not None:
        _check_event(event)
    if kind == "status":
        if "activity" in values and "state" not in values:
            gone = values["activity"] == "offline"
            values["state"] = "offline" if gone else "online"
        native = {}
        for name in ("command", "state", "error"):
            value = values.pop("ack." + name, None)
            if value is not None:
                native[name] = value
        if ack is None and native.get("command"):
            ack = native
        values.setdefault("state", "online")
    elif kind == "alert" and "state" in ext:
        values["state"] = ext.pop("state")
    elif kind == "reply" and (ack is not None or not (alert or event or partial)):
        ack = _reply(values, ack)
    if kind != "reply":
        found.append(Record(d.name, message.name, kind, node, values, ext))
    if ack is not None:
        ack.setdefault("state", "done")
        ack.setdefault("time", values.get("time"))
        found.append(_carried(d, message, "reply", node, ack, values, ext))
    for kind, part in (("alert", alert), ("event", event), ("reading", partial)):
        if part is not None:
            origin = _take_provenance(part)
            if kind == "reading":
                part = _quantities(part)
            if "q" not in origin:  # else no time means that none is known
                part.setdefault("time", values.get("time"))
            found.append(_carried(d, message, kind, node, part, values, origin))
    return found


def _carried(d, message, kind, node, part, values, ext):
    for key in ("org", "company"):
        if key in values:
            part.setdefault(key, values[key])
    return Record(d.name, message.name, kind, node, part, ext)


def _take_provenance(part):
    origin = {}
    for key in ("boot", "seq", "n", "ms", "q"):
        value = part.pop(key, None)
        if value is not None:
            origin[key] = value
    return origin


def _quantities(partial):
    found = {}
    for name in partial["values"]:
        if partial["values"][name] is not None:
            found[name] = partial["values"][name]
    if not found:
        raise FieldError(EXT + ".partial.values", "carries no reading")
    if partial.get("time") is not None:
        found["time"] = partial["time"]
    return found


def _check_event(event):
    for key in event:
        value = event[key]
        if isinstance(value, (dict, list)) or (isinstance(value, str) and len(value) > MAX_TEXT):
            raise FieldError(
                "%s.event.%s" % (EXT, key), "is no number and no text of %d characters" % MAX_TEXT
            )


def _reply(values, ack):
    """The canonical answer of a reply message; what the extension key adds wins."""
    out: dict = {"data": {}}
    for name in values:
        if name in ("id", "command", "state", "error", "time", "org", "company"):
            out[name] = values[name]
        elif name == "data":
            out["data"].update(values["data"])
        else:
            out["data"][name] = values[name]
    if ack is not None:
        data = ack.pop("data", None) or {}
        out.update(ack)
        out["data"].update(data)
    return out
