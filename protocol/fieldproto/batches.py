"""Several readings as a JSON list in one payload, where a dialect's document knows of it."""

from . import encoding
from .errors import MessageError
from .messages import Packet


def encode(d, node, entries):
    message = d.message("reading")
    limit = message.batch if message is not None else 0
    if not 0 < len(entries) <= limit:
        raise MessageError(
            d.name, "reading", "", "holds up to %d readings, not %d" % (limit, len(entries))
        )
    parts = [encoding.encode(d, "reading", node, values, ext).payload for values, ext in entries]
    payload = b"[" + b",".join(parts) + b"]"
    if message.max_bytes and len(payload) >= message.max_bytes:
        raise MessageError(d.name, message.name, "", "is not under %d bytes" % message.max_bytes)
    return Packet(d.topic(message, node), payload, message.qos, message.retain)


def decode(d, found, entries, decode_one):
    """All records, or MessageError with the index of the first bad one.

    `decode_one` is that of `decoding`, which loads this for the few payloads that are lists.
    """
    name = found[0][0].name
    found = [pair for pair in found if pair[0].batch]
    if not found:
        raise MessageError(d.name, name, "", "is not a JSON object")
    message = found[0][0]
    if not 0 < len(entries) <= message.batch:
        raise MessageError(
            d.name,
            message.name,
            "",
            "is a list of %d, not of 1 to %d" % (len(entries), message.batch),
        )
    records = []
    for i in range(len(entries)):
        at = "[%d]" % i
        if not isinstance(entries[i], dict):
            raise MessageError(d.name, message.name, at, "is not a JSON object")
        try:
            records += decode_one(d, found, entries[i], None)
        except MessageError as error:
            field = at + "." + error.field if error.field else at
            raise MessageError(d.name, error.message, field, error.reason) from None
    return records
