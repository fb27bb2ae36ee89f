"""From an MQTT message to typed events: what `Fleet` and the service do with what they hear."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic_core import from_json

from fieldhand.errors import FieldhandError
from fieldhand.quickread import QuickReading, Unsure
from fieldhand.records import Alert, Heard, Reply, from_record
from fieldproto.dialect import Dialect
from fieldproto.errors import MessageError
from fieldproto.messages import Record

# Topics whose dialects are remembered.
MAX_TOPICS = 50_000


class Refused(FieldhandError):
    """A message that is not as any dialect has it. `dialect` and `field` where they are known."""

    def __init__(self, reason: str, dialect: str | None = None, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.dialect = dialect
        self.field = field


class Inbound:
    """Reads what the nodes of some dialects say. Not for several threads at once."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self.dialects = list(dialects)
        self._quick: dict[int, QuickReading | None] = {}
        self._routes: OrderedDict[str, _Route] = OrderedDict()

    def names(self, topic: str) -> tuple[str, ...]:
        """The dialect, node and tenant that a topic names; empty where no dialect has it."""
        return self._route(topic).key

    def claimed(self, topic: str, payload: bytes) -> tuple[str, str] | None:
        """The dialect and the node that a message names on a topic which names none."""
        for dialect in self._route(topic).dialects:
            for message, names in dialect.match(topic):
                field = next((f for f in message.fields if f.means == "node"), None)
                if names or field is None:
                    continue
                try:
                    said = from_json(payload)
                except ValueError:
                    return None
                node = said.get(field.name) if isinstance(said, dict) else None
                if isinstance(node, (str, int)):
                    return dialect.name, str(node)
        return None

    def events(
        self, topic: str, payload: bytes, received_at: float, retained: bool
    ) -> list[tuple[str, Heard]]:
        """[(message's name in its dialect, event)]; none where the message tells nothing new.

        Where several dialects have the topic, the first that can read it does. Raises Refused.
        """
        route = self._route(topic)
        if route.quick is not None:
            try:
                return [(route.name, route.quick.read(route.names, payload, received_at))]
            except Unsure:
                pass
        first: MessageError | None = None
        for dialect in route.dialects:
            try:
                records = dialect.decode(topic, payload, "host")
            except MessageError as error:
                first = first or error
                continue
            return _events(dialect, records, received_at, retained)
        if first is None:
            raise Refused("no dialect has this topic")
        raise Refused(str(first), first.dialect, first.field)

    def _route(self, topic: str) -> _Route:
        route = self._routes.get(topic)
        if route is None:
            route = self._routes[topic] = self._look(topic)
            if len(self._routes) > MAX_TOPICS:
                self._routes.popitem(last=False)
        return route

    def _look(self, topic: str) -> _Route:
        route = _Route()
        for dialect in self.dialects:
            found = dialect.match(topic)
            if not found:
                continue
            route.dialects.append(dialect)
            if len(route.dialects) > 1:
                continue
            route.key = (dialect.name, *found[0][1].values())
            others = []
            for message, names in found:
                if message.sender == "node" and message.when is not None:
                    others.append(message.when)
                elif message.sender == "node":
                    route.name, route.names = message.name, names
                    if id(message) not in self._quick:
                        self._quick[id(message)] = QuickReading.of(dialect, message, others)
                    route.quick = self._quick[id(message)]
                    break
        return route


class _Route:
    """What is known of a topic. `quick` reads its messages where they are ordinary readings."""

    def __init__(self) -> None:
        self.dialects: list[Dialect] = []
        self.key: tuple[str, ...] = ()
        self.names: Mapping[str, str] = {}
        self.name = ""
        self.quick: QuickReading | None = None


def _events(
    dialect: Dialect, records: Sequence[Record], received_at: float, retained: bool
) -> list[tuple[str, Heard]]:
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
