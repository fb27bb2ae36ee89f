"""What Fieldhand's in-process broker adds to amqtt: two plugins and one correction.

amqtt creates plugins itself, by dotted path, and hands them a `Config`: what they share with
`fieldhand.broker.Broker` travels in that.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from amqtt.broker import Broker  # type: ignore[import-untyped]
from amqtt.contexts import BaseContext  # type: ignore[import-untyped]
from amqtt.mqtt.packet import PUBLISH  # type: ignore[import-untyped]
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler, Subscription  # type: ignore[import-untyped]
from amqtt.plugins.base import BaseAuthPlugin, BasePlugin  # type: ignore[import-untyped]
from amqtt.session import Session  # type: ignore[import-untyped]


@dataclass
class Traffic:
    """Counters since the start, and who is connected. Written by the broker's loop only."""

    messages_received: int = 0
    messages_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    connects: int = 0
    connected: dict[str, Session] = field(default_factory=dict)
    last_packet: dict[int, float] = field(default_factory=dict)
    on_connected: Callable[[str, Session, Session | None], None] | None = None


class TrafficPlugin(BasePlugin[BaseContext]):
    """Counts packets and remembers when each connection last sent one."""

    @dataclass
    class Config:
        traffic: Any = None

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._traffic: Traffic = self.config.traffic

    async def on_mqtt_packet_received(self, *, packet: Any, session: Session | None = None) -> None:
        if session is not None:
            self._traffic.last_packet[id(session)] = time.monotonic()
        if packet.fixed_header.packet_type == PUBLISH:
            self._traffic.messages_received += 1
            self._traffic.bytes_received += packet.bytes_length

    async def on_mqtt_packet_sent(self, *, packet: Any, session: Session | None = None) -> None:
        if packet.fixed_header.packet_type == PUBLISH:
            self._traffic.messages_sent += 1
            self._traffic.bytes_sent += packet.bytes_length

    async def on_broker_client_connected(self, client_id: str, client_session: Session) -> None:
        traffic = self._traffic
        traffic.connects += 1
        traffic.last_packet[id(client_session)] = time.monotonic()
        before = traffic.connected.get(client_id)
        traffic.connected[client_id] = client_session
        if traffic.on_connected is not None:
            traffic.on_connected(client_id, client_session, before)

    async def on_broker_client_disconnected(self, client_id: str, client_session: Session) -> None:
        self._traffic.last_packet.pop(id(client_session), None)
        if self._traffic.connected.get(client_id) is client_session:
            del self._traffic.connected[client_id]


class UsersPlugin(BaseAuthPlugin):
    """Lets in whom `users` names (name -> password), or everybody when `users` is None.

    amqtt's own AnonymousAuthPlugin marks every session anonymous, and a session so marked loses
    the QoS 1 messages that arrive while it is offline; this one does not.
    """

    @dataclass
    class Config:
        users: Any = None

    async def authenticate(self, *, session: Session) -> bool:
        users: dict[str, str] | None = self.config.users
        if users is None:
            return True
        expected = users.get(session.username or "")
        if expected is None:
            return False
        return hmac.compare_digest(expected.encode(), (session.password or "").encode())


_subscribing: ContextVar[bool] = ContextVar("_subscribing", default=False)


class RetainedOnSubscribe(Broker):
    """amqtt's broker, sending retained messages only where MQTT-3.3.1-6 says so.

    amqtt 0.12 sends a client that connects every retained message that matches anybody's
    subscription: a node would be handed the statuses of all the others.
    """

    async def _handle_subscription(
        self,
        client_session: Session,
        handler: BrokerProtocolHandler,
        subscribe_waiter: asyncio.Future[Subscription],
    ) -> None:
        token = _subscribing.set(True)
        try:
            await super()._handle_subscription(client_session, handler, subscribe_waiter)
        finally:
            _subscribing.reset(token)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        if _subscribing.get():
            await super()._publish_retained_messages_for_subscription(subscription, session)
