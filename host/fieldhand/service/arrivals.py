"""What came in: a message, and what was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from fieldhand.records import Heard
from fieldhand.service.store.nodes import NodeRow
from fieldhand.service.store.readings import Key

# Within this a message that is marked as coming again, and says the same, is the same: a broker
# delivers again when we connect again.
AGAIN_S = 86_400.0


class Message(NamedTuple):
    """An MQTT message as it came. `dup`: it may have come before.

    `size` is that of its payload; of one that is too large only the start is here. No two of a
    worker have the same `received_at`, to the microsecond. `delivery`: the session it came in and
    the packet identifier by which the broker knows it until it is acknowledged, from QoS 1 on.
    """

    topic: str
    payload: bytes
    size: int
    retained: bool
    dup: bool
    received_at: float
    delivery: tuple[str, int] | None = None


@dataclass(slots=True)
class Arrival:
    """One event of a message, on its way into the database.

    `message` is its name in the dialect. `fresh` is False when it was there already, `stored` False
    for a reading that is shown but, by the setting `store_every`, not kept. `dup`: as its message.
    """

    topic: str
    message: str
    event: Heard
    key: Key
    node: NodeRow
    retained: bool
    fresh: bool = True
    stored: bool = True
    dup: bool = False


class Hook(Protocol):
    """A part of the service that acts on what comes in."""

    def store(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        """In the transaction that stores them, before they are acknowledged.

        It is called again when the transaction fails, so all it changes is in the database.
        """

    def committed(self, arrivals: Sequence[Arrival]) -> None:
        """After the commit, in the ingest's thread: return at once. What is raised is logged."""
