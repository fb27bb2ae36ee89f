"""A dialect: its tables bound to a tenant, its topics, and the way to write and read it."""

from . import encoding
from .messages import Command, Message, Packet
from .schema import Field, FieldError, is_level, read


class Dialect:
    """One dialect, bound to its options. Made by `fieldproto.dialects.load`."""

    def __init__(self, name: str, spec, options: "dict | None", extras: bool) -> None:
        self.name = name
        self.doc: str = getattr(spec, "__doc__", None) or ""
        self.messages: "tuple[Message, ...]" = spec.MESSAGES
        self._commands: "tuple[Command, ...] | None" = spec.COMMANDS
        self.option_fields: "tuple[Field, ...]" = spec.OPTIONS
        self.extras = extras
        self.options: "dict[str, object]" = {}
        for field in self.option_fields:
            if field.default is not None:
                self.options[field.name] = field.default
        if options is not None:
            try:
                self.options.update(read(options, self.option_fields))
            except FieldError as error:
                raise ValueError("dialect %s: option %s" % (name, error)) from None
            for key in self.options:
                value = self.options[key]
                if isinstance(value, str) and not is_level(value):
                    raise ValueError(
                        "dialect %s: option %s: %r cannot be in a topic" % (name, key, value)
                    )
        self.variant = 0 if self.options.get(getattr(spec, "VARIANT", ""), True) else 1

    # Tables

    @property
    def commands(self) -> "tuple[Command, ...]":
        """What a node may be told to do."""
        self.fill()
        return self._commands or ()

    def slim(self) -> None:
        """Give up the tables of what a host says, which a node seldom needs: see `fill`."""
        messages = []
        for message in self.messages:
            if message.sender == "host":
                message = Message(
                    message.name, message.topics, message.kind, "host", (), message.qos
                )
            messages.append(message)
        self.messages = tuple(messages)
        self._commands = None

    @property
    def full(self) -> bool:
        """Whether all tables are there."""
        return self._commands is not None

    def fill(self) -> None:
        """Have all tables again; compiled for a node, the host's are a module of their own."""
        if self._commands is None:
            place = "fieldproto.dialects." + self.name
            try:
                spec = __import__(place + "_down", None, None, ("MESSAGES",))
            except ImportError:
                spec = __import__(place, None, None, ("MESSAGES",))
            told = {message.name: message for message in spec.MESSAGES if message.sender == "host"}
            self.messages = tuple([told.get(message.name, message) for message in self.messages])
            self._commands = spec.COMMANDS

    # Topics

    def topic(self, message: Message, node: str = "+", variant: "int | None" = None) -> str:
        """The topic of `message`; a node or tenant left open becomes a wildcard."""
        if variant is None:
            variant = self.variant
        levels = []
        for level in message.topics[min(variant, len(message.topics) - 1)].split("/"):
            if level[0] == "{":
                key = level[1:-1]
                level = str(node if key == "node" else self.options.get(key, "+"))
            levels.append(level)
        return "/".join(levels)

    def subscriptions(self, receiver: str, node: str = "+") -> "list[tuple[str, int]]":
        """[(topic filter, qos)] that `receiver` ("host" or "node") listens to."""
        out: "list[tuple[str, int]]" = []
        for message in self.messages:
            if message.sender == receiver:
                continue
            for variant in range(len(message.topics)):
                entry = (self.topic(message, node, variant), message.qos)
                if entry not in out:
                    out.append(entry)
        return out

    def match(self, topic: str) -> "list[tuple[Message, dict]]":
        """[(message, {"node": ..., tenant ...})] that may travel on `topic`."""
        levels = topic.split("/")
        found = []
        for message in self.messages:
            for template in message.topics:
                names = _match(template.split("/"), levels)
                if names is not None:
                    found.append((message, names))
        return found

    # Messages

    # Written and read in modules of their own, which say what each does.
    encode = encoding.encode
    will = encoding.will
    encode_reply = encoding.encode_reply
    encode_alert = encoding.encode_alert
    encode_event = encoding.encode_event
    encode_partial = encoding.encode_partial

    def decode(self, topic: str, payload: object, receiver: str = "host", node=None) -> list:
        """See `decoding.decode`."""
        self.fill()  # first: it needs more room than what it leaves
        from . import decoding  # a node loads it for a message, and forgets it

        return decoding.decode(self, topic, payload, receiver, node)

    def encode_batch(self, node: str, entries: "list[tuple[dict, dict | None]]") -> Packet:
        """The packet of several readings, (values, ext) each. Raises MessageError.

        As many as `batch` of the reading message says, at most.
        """
        from . import batches

        return batches.encode(self, node, entries)

    def encode_command(
        self,
        node: str,
        name: str,
        params: dict,
        id: "str | None" = None,
        time: "int | None" = None,
    ) -> Packet:
        """The packet of a command with parameters by their wire names. Raises MessageError."""
        from . import downlink

        return downlink.encode_command(self, node, name, params, id, time)

    # Words

    def message(self, kind: str) -> "Message | None":
        """The first message of that kind."""
        for message in self.messages:
            if message.kind == kind:
                return message
        return None

    def allows(self, kind: str, means: str, value: object) -> bool:
        """Whether the messages of `kind` have a word for `value`."""
        message = self.message(kind)
        for field in message.fields if message else ():
            if field.means == means:
                words = field.values
                if words is None or field.open:
                    return True
                return value in (words.values() if isinstance(words, dict) else words)
        return False

    def requires(self, means: str) -> bool:
        """Whether a message of a node cannot be without `means`."""
        for message in self.messages:
            for field in message.fields if message.sender == "node" else ():
                if field.means == means and field.required:
                    return True
        return False

    def command(self, name: str) -> "Command | None":
        """The command with that name on the wire."""
        for command in self.commands:
            if command.name == name:
                return command
        return None

    def quantity(self, word: str) -> str:
        """The canonical quantity a reading's field carries, by its last name on the wire."""
        for message in self.messages:
            if message.kind == "reading":
                for field in message.fields:
                    if field.means and field.name.split(".")[-1] == word:
                        return field.means
        return word

    def word(self, quantity: str) -> str:
        """The wire's name of a canonical quantity."""
        for message in self.messages:
            if message.kind == "reading":
                for field in message.fields:
                    if field.means == quantity:
                        return field.name.split(".")[-1]
        return quantity


def _match(template: "list[str]", levels: "list[str]") -> "dict[str, str] | None":
    if len(template) != len(levels):
        return None
    names = {}
    for i in range(len(levels)):
        if template[i][0] == "{":
            if not levels[i]:
                return None
            names[template[i][1:-1]] = levels[i]
        elif template[i] != levels[i]:
            return None
    return names
