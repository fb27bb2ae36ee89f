"""The one error a dialect raises."""


class MessageError(ValueError):
    """A message that cannot be encoded or decoded.

    Attributes: `dialect`, `message` (its name in the document, "?" before it is known),
    `field` (dotted, "" for the message as a whole), `reason`.
    """

    def __init__(self, dialect: str, message: str, field: str, reason: str) -> None:
        where = "%s: " % field if field else ""
        super().__init__("%s %s: %s%s" % (dialect, message, where, reason))
        self.dialect = dialect
        self.message = message
        self.field = field
        self.reason = reason
