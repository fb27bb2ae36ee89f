"""The one error a dialect raises."""


class MessageError(ValueError):
    """A message that cannot be encoded or decoded.

    Attributes: `dialect`, `message` (its name in the document; the topic, or "?", before it is
    known), `field` (dotted, "" for the message as a whole), `reason`; and of a refused command
    what could be read, so that it can be answered: `command`, `id` (None where not).
    """

    command: "str | None" = None
    id: "str | None" = None

    def __init__(self, dialect: str, message: str, field: str, reason: str) -> None:
        where = "%s: " % field if field else ""
        super().__init__("%s %s: %s%s" % (dialect, message, where, reason))
        self.dialect = dialect
        self.message = message
        self.field = field
        self.reason = reason
