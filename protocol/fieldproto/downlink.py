"""What a host writes: commands, by their wire names. A node never loads this."""

import json

from .encoding import encode_message
from .errors import MessageError
from .messages import EXT, Packet
from .schema import under


def encode_command(
    d,
    node,
    name,
    params,
    id=None,
    time=None,
):
    message = d.message("command")
    command = d.command(name)
    if message is None or command is None:
        raise MessageError(d.name, name, "", "is not a command of this dialect")
    fields = message.fields + under(message.params, command.params)
    known = [field.name for field in command.params]
    values = {"command": name, "id": id, "time": time}
    for key in params:
        if key not in known:
            allowed = ", ".join(known) or "none"
            raise MessageError(d.name, name, key, "is not a parameter; it takes %s" % allowed)
    try:
        for field in command.params:
            if params.get(field.name) is not None:
                values[field.means] = field.read(params[field.name])
            elif field.required:
                raise ValueError("is required")
    except ValueError as error:
        raise MessageError(d.name, name, field.name, str(error)) from None
    carries_id = any([field.means == "id" for field in message.fields])
    ext = None if carries_id or id is None else {"id": id}
    return encode_message(d, message, fields, node, values, ext)


def encode_credentials(d, node, sent, id, time):
    """The packet of new credentials, an object as `fieldnode/slots.py` has it.

    None of the documents has such a command: it is in the extension key alone, on the topic of the
    commands.
    """
    message = d.message("command")
    payload = json.dumps({EXT: {"id": id, "time": time, "credentials": sent}})
    return Packet(d.topic(message, node), payload.encode(), message.qos, False)
