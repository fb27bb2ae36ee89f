"""The shapes a dialect is made of and the records it gives."""

from collections import namedtuple

# A finished MQTT publish: topic str, payload bytes, qos 0 or 1, retain bool.
Packet = namedtuple("Packet", ("topic", "payload", "qos", "retain"))

# A decoded message. `kind` is reading, status, reply, alert, event, command, config or broker;
# `values` canonical name -> value; `ext` what the extension key carried.
Record = namedtuple("Record", ("dialect", "message", "kind", "node", "values", "ext"))

# The extension key: what a payload may carry beyond its document - provenance, correlation and
# answers. Off (`extras=False`) for a third-party backend that refuses unknown keys. What may be in
# it: `fieldproto.uplink`; a command's has only `id`, or is new credentials: `fieldproto.downlink`.
EXT = "_fh"
MAX_ID = 64  # characters of a command's id

# Canonical names that say who, when and how, not what was measured.
ATTRIBUTES = ("node", "org", "company", "time", "firmware", "uptime", "state")


class Message:
    """One message of a dialect.

    `topics` are templates ("devices/{node}/data"); the first is the default, a second a legacy
    form that the host hears too. `sender` is "node" or "host". `when` = (field, word) tells the
    message from others on its topic. `params` is the path under which a command's parameters lie.
    `batch` is how many readings one payload may hold as a JSON list, 0 where the document knows of
    no such list.
    """

    def __init__(
        self,
        name: str,
        topics: tuple,
        kind: str,
        sender: str,
        fields: tuple,
        qos: int = 1,
        retain: bool = False,
        when: "tuple | None" = None,
        params: str = "",
        max_bytes: int = 0,
        batch: int = 0,
    ) -> None:
        self.name = name
        self.topics = topics
        self.kind = kind
        self.sender = sender
        self.fields = fields
        self.qos = qos
        self.retain = retain
        self.when = when
        self.params = params
        self.max_bytes = max_bytes
        self.batch = batch


class Command:
    """One command of a dialect.

    `name` is its word on the wire, `action` what the node does (see fieldnode.commands), `fixed`
    canonical parameters the word implies, `reply` the table of its answer's data. `at_end` says
    that it is done when the actuation has ended, not when it has begun. `settled_by` = (message
    name, canonical name, parameter, or a fixed word) tells a host that gets no reply with an id
    which message shows the effect.
    """

    def __init__(
        self,
        name: str,
        action: str,
        params: tuple = (),
        fixed: "dict | None" = None,
        reply: tuple = (),
        at_end: bool = False,
        settled_by: "tuple | None" = None,
        doc: str = "",
    ) -> None:
        self.name = name
        self.action = action
        self.params = params
        self.fixed = fixed or {}
        self.reply = reply
        self.at_end = at_end
        self.settled_by = settled_by
        self.doc = doc
