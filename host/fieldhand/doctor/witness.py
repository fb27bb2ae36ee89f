"""This host as the other end of the node's loop-back: it hears what the node says, and answers."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fieldhand.connection import BrokerAddress, Connection
from fieldproto.dialect import Dialect
from fieldproto.messages import Packet

if TYPE_CHECKING:
    import paho.mqtt.client as paho

CONNECT_S = 5.0


@dataclass(frozen=True)
class Loop:
    """What the node is to say and to listen to. `publish` is (topic, payload, retain)."""

    subscribe: Sequence[str]
    publish: tuple[str, str, bool]
    ask: str | None
    mark: str

    @classmethod
    def of(cls, dialect: Dialect, node: str, unix: int, version: str) -> Loop:
        """For a node that is not running: it says so, as its Last Will would.

        A dialect without a will gets an empty object on the topic of its readings, which a host
        refuses once. `unix` is the time, Unix seconds.
        """
        will = dialect.will(node, {"firmware": version, "time": unix})
        topics = [topic for topic, _ in dialect.subscriptions("node", node)]
        if will is not None:
            publish = (will.topic, will.payload.decode(), bool(will.retain))
        else:
            reading = dialect.message("reading")
            assert reading is not None
            publish = (dialect.topic(reading, node), "{}", False)
        command = dialect.message("command")
        ask = None if command is None else dialect.topic(command, node)
        return cls([*topics, publish[0]], publish, ask, f"doctor-{secrets.token_hex(4)}")


class Witness:
    """Listens on the broker while the node speaks; a context manager. Raises BrokerUnavailable."""

    def __init__(self, address: BrokerAddress, loop: Loop, *, ask: bool = True) -> None:
        """`ask`: send the node a message too; not where the broker would keep it for the node."""
        self._loop = loop
        self._ask = loop.ask if ask else None
        self._heard = threading.Event()
        self._asked = False
        self._connection = Connection(address, {loop.publish[0]: 1}, self._on_message)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Witness:
        self._connection.connect(CONNECT_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def report(self) -> dict[str, Any]:
        return {"heard": self._heard.is_set(), "asked": self._ask if self._asked else None}

    def _on_message(self, message: paho.MQTTMessage) -> None:
        if message.retain or bytes(message.payload) != self._loop.publish[1].encode():
            return
        self._heard.set()
        if self._ask is not None and not self._asked:
            # No command of any dialect, not retained: what runs on the node now only looks on.
            payload = b'{"_fh": {"id": "%s"}}' % self._loop.mark.encode()
            self._connection.hand_over(Packet(self._ask, payload, 1, False))
            self._asked = True
