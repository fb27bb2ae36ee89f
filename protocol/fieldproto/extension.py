"""The extension key: what a payload may carry beyond its document."""

from .schema import Field

# Provenance, correlation and answers, in one key. Off (`extras=False`) for a third-party backend
# that refuses unknown keys.
EXT = "_fh"
MAX_ID = 64  # characters of a command's id
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
