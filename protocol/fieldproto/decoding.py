"""Payloads to records, by a dialect's tables: a method of `Dialect`."""

from .errors import MessageError
from .messages import EXT, MAX_ID, Record
from .schema import FieldError, is_level, read, under


def decode(
    d, topic: str, payload: object, receiver: str = "host", node: "str | None" = None
) -> "list[Record]":
    """The records in a message that reached `receiver`. Raises MessageError only.

    One record, or more where a status also carries an answer, an alert or an event, or where the
    payload is a list of readings. A node passes its own id as `node`: messages for another are
    refused. `payload` is bytes, or what they are as JSON.
    """
    found = []
    for pair in d.match(topic):
        if pair[0].sender != receiver:
            found.append(pair)
    if not found:
        raise MessageError(d.name, "?", "topic", "%s is not heard here" % topic)
    # Which of several messages it was meant to be, only what is in it can say.
    name = found[0][0].name if len(found) == 1 else topic
    obj = payload
    if isinstance(payload, bytes):
        from .jsonstrict import loads

        try:
            obj = loads(payload)
        except ValueError as error:
            raise MessageError(d.name, name, "", str(error)) from None
    if isinstance(obj, list) and receiver == "host" and any([pair[0].batch for pair in found]):
        from . import batches

        return batches.decode(d, found, obj, decode_one)
    if not isinstance(obj, dict):
        raise MessageError(d.name, name, "", "is not a JSON object")
    return decode_one(d, found, obj, node)


def decode_one(d, found, obj, node):
    """The records in `obj`, which is one of the messages of `found`, as `Dialect.match` has it."""
    ext = obj.get(EXT)
    ext_id = _text(ext, "id") if isinstance(ext, dict) else None
    for message, names in found:  # noqa: B007 - the pair found last is used below
        if message.when is None or obj.get(message.when[0]) == message.when[1]:
            break
    try:
        return _decode(d, message, names, obj, node)
    except FieldError as error:
        refused = MessageError(d.name, message.name, error.field, error.reason)
        if message.kind == "command":
            refused.command = _text(obj, _named(message, "command"))
            refused.id = _text(obj, _named(message, "id")) or ext_id
        raise refused from None


def _text(obj, key):
    value = obj.get(key)
    return value if isinstance(value, str) and len(value) <= MAX_ID else None


def _decode(d, message, names, obj, node):
    ext = obj.pop(EXT, None)
    if ext is None:
        ext = {}
    if not isinstance(ext, dict):
        raise FieldError(EXT, "is not an object")
    kind = message.kind
    if message.sender == "host" and "credentials" in ext:
        kind = "command"
        values = _credentials(ext)
    elif message.sender == "host":
        values = _read_command(d, message, obj) if kind == "command" else read(obj, message.fields)
        if ext:
            values["id"] = _only_id(ext)
    else:
        from . import uplink

        ext = uplink.read_extension(ext)
        values = read(obj, message.fields)
    for key in names:
        wanted = node if key == "node" and node else d.options.get(key)
        if wanted is not None and names[key] != wanted:
            raise FieldError("topic", "is for %s %s, not %s" % (key, names[key], wanted))
        if values.get(key, names[key]) != names[key] and not _prefixed(
            message, key, values[key], names[key]
        ):
            raise FieldError(
                _named(message, key), "is %r, but the topic says %r" % (values[key], names[key])
            )
        values[key] = names[key]
    for key in d.options:
        if key in values and key not in names and values[key] != d.options[key]:
            raise FieldError(_named(message, key), "is another %s" % key)
    if "node" not in names and not is_level(values.get("node", "?")):
        raise FieldError(_named(message, "node"), "%r cannot be in a topic" % values["node"])
    if node and values.get("node", node) != node:
        raise FieldError(_named(message, "node"), "is another node")
    if message.sender == "host":
        return [Record(d.name, message.name, kind, values.pop("node", None), values, ext)]
    return uplink.records(d, message, values, ext)


def _prefixed(message, means, value, name):
    """Whether the topic too has what the payload puts before an id ("node_01" for "01")."""
    for field in message.fields:
        if field.means == means:
            return field.prefix + value == name
    return False


def _credentials(ext):
    """A command that no document has, and that says nothing beside the extension key."""
    time, sent = ext.pop("time", None), ext.pop("credentials")
    if type(time) is not int or not isinstance(sent, dict):
        raise FieldError(EXT, "of credentials has an id, a time and an object")
    values = {"command": "set_credentials", "action": "set_credentials", "time": time}
    values["id"] = _only_id(ext)
    values["params"] = {"credentials": sent}
    return values


def _only_id(ext):
    # Strict, unlike `uplink`: what a newer host adds to a command may be a limit, and a pump must
    # not run without it. The host hears the refusal.
    for key in ext:
        if key != "id":
            raise FieldError(EXT + "." + key, "is not a field of this message")
    name = _text(ext, "id")
    if not name:
        raise FieldError(EXT + ".id", "is not a string of 1 to %d characters" % MAX_ID)
    return name


def _read_command(d, message, obj):
    key = _named(message, "command")
    name = obj.get(key)
    command = d.command(name) if isinstance(name, str) else None
    if command is None:
        known = ", ".join([command.name for command in d.commands])
        if key not in obj:
            raise FieldError(key, "is required: one of %s" % known)
        raise FieldError(key, "is %r, not one of %s" % (name, known))
    fields = under(message.params, command.params)
    values = read(obj, message.fields + fields)
    for field in fields:  # also where the whole of `params` is absent, which `read` lets pass
        if field.required and field.means not in values:
            raise FieldError(field.name, "is required")
    out = {}
    params = dict(command.fixed)
    for name in values:
        if any([name == field.means for field in command.params]):
            params[name] = values[name]
        elif name != "params":
            out[name] = values[name]
    out["action"] = command.action
    out["params"] = params
    out.setdefault("id", None)
    return out


def _named(message, means):
    for field in message.fields:
        if field.means == means:
            return str(field.name)
    return means
