"""From an MQTT message to typed events: what `Fleet` and the service do with what they hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fieldhand.errors import FieldhandError
from fieldhand.records import Alert, Heard, Reply, from_record
from fieldproto.dialect import Dialect
from fieldproto.errors import MessageError


class Refused(FieldhandError):
    """A message that is not as any dialect has it. `dialect` and `field` where they are known."""

    def __init__(self, reason: str, dialect: str | None = None, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.dialect = dialect
        self.field = field


def events(
    dialects: Sequence[Dialect], topic: str, payload: bytes, received_at: float, retained: bool
) -> list[tuple[str, Heard]]:
    """[(message's name in its dialect, event)] of a message; none where it tells nothing new.

    Where several dialects have the topic, the first that can read it does. Raises Refused.
    """
    first: MessageError | None = None
    for dialect in dialects:
        if not dialect.match(topic):
            continue
        try:
            records = dialect.decode(topic, payload, "host")
        except MessageError as error:
            first = first or error
            continue
        found: list[tuple[str, Heard]] = []
        for record in records:
            event = from_record(record, received_at, retained)
            if isinstance(event, Alert) and event.sensor is not None:
                event = replace(event, sensor=dialect.quantity(event.sensor))
            if retained and isinstance(event, Reply):
                continue  # a status that is kept may carry an answer: it was given long ago
            if event is not None:
                found.append((record.message, event))
        # An answer that names its command goes before the status it came with, which may also
        # look like one.
        found.sort(key=lambda pair: not isinstance(pair[1], Reply))
        return found
    if first is None:
        raise Refused("no dialect has this topic")
    raise Refused(str(first), first.dialect, first.field)
