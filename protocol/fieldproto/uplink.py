"""What a host reads: the records in a node's message. A node never loads this."""

from .messages import ATTRIBUTES, EXT, MAX_ID, Record
from .schema import Field, FieldError, read

EXT_FIELDS = (
    Field("boot", "string", means="boot", hi=32),
    Field("seq", "int", means="seq", lo=0),
    Field("ms", "int", means="ms", lo=0, unit="ms"),
    Field("q", "string", means="q", values=("synced", "backfilled", "unknown")),
    Field("also", "object", means="also"),
    Field("also.*", "any"),
    Field("id", "string", means="id", lo=1, hi=MAX_ID),
    Field("ack", "object", means="ack"),
    Field("ack.id", "string", hi=MAX_ID),
    Field("ack.command", "string"),
    Field("ack.state", "string", values=("accepted", "done", "failed"), required=True),
    Field("ack.error", "string"),
    Field("ack.data", "object"),
    Field("alert", "object", means="alert"),
    Field("alert.severity", "string", values=("info", "warning", "critical"), required=True),
    Field("alert.message", "string", required=True),
    Field("alert.sensor", "string"),
    Field("alert.value", "number"),
    Field("alert.threshold", "number"),
)


def read_extension(ext):
    """The checked contents of the extension key. Raises FieldError."""
    try:
        return read(ext, EXT_FIELDS)
    except FieldError as error:
        raise FieldError(EXT + "." + error.field, error.reason) from None


def records(d, message, values, ext):
    """One record, or two where a status also carries an answer or an alert."""
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
    elif kind == "reply":
        ack = _reply(values, ack)
    if kind != "reply":
        found.append(Record(d.name, message.name, kind, node, values, ext))
    for kind, part in (("reply", ack), ("alert", alert)):
        if part is not None:
            if kind == "reply":
                part.setdefault("state", "done")
            part.setdefault("time", values.get("time"))
            found.append(Record(d.name, message.name, kind, node, part, ext))
    return found


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
        data = ack.pop("data", {})
        out.update(ack)
        out["data"].update(data)
    return out
