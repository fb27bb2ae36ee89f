"""One MQTT connection that comes back by itself, on paho-mqtt 2."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from fieldhand.errors import BrokerUnavailable, Unacknowledged
from fieldproto.messages import Packet

PUBLISH_TIMEOUT_S = 10.0
RECONNECT_MIN_S = 1
RECONNECT_MAX_S = 30
KEEPALIVE_S = 30


class HasAddress(Protocol):
    """Anything that says where a broker is, such as `fieldhand.broker.Broker`."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


@dataclass(frozen=True)
class BrokerAddress:
    """A broker and how to get in. `tls_ca` is a PEM file; "" takes the system's authorities."""

    host: str = "127.0.0.1"
    port: int = 1883
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_ca: str | None = None

    @classmethod
    def of(cls, broker: HasAddress | tuple[str, int]) -> BrokerAddress:
        """The address of anything that has one; user, password and tls_ca where it has them."""
        if isinstance(broker, BrokerAddress):
            return broker
        if isinstance(broker, tuple):
            return cls(*broker)
        extras = (getattr(broker, name, None) for name in ("user", "password", "tls_ca"))
        return cls(broker.host, broker.port, *extras)


class Connection:
    """A connection with subscriptions (`filters`: topic filter -> QoS), renewed on each reconnect.

    `on_message` is called in paho's thread and must not raise: that would end the thread.
    """

    def __init__(
        self,
        address: BrokerAddress,
        filters: Mapping[str, int],
        on_message: Callable[[paho.MQTTMessage], None],
        client_id: str | None = None,
    ) -> None:
        self.address = address
        self._filters = sorted(filters.items())
        self._on_message = on_message
        self._changed = threading.Condition()
        self._up = False
        self._refused: str | None = None
        self._connects = 0
        # An id of our own: two hosts with the same would throw each other out for ever.
        self._client = self._make(client_id or f"fieldhand-{secrets.token_hex(6)}")

    @property
    def up(self) -> bool:
        """Connected, and every subscription granted."""
        return self._up

    @property
    def reconnects(self) -> int:
        return max(0, self._connects - 1)

    def connect(self, timeout: float) -> None:
        """Connect and subscribe. Raises BrokerUnavailable after `timeout` s, or when refused."""
        deadline = time.monotonic() + timeout
        self._client.connect_timeout = timeout
        try:
            self._client.connect(self.address.host, self.address.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self.unavailable(reason) from error
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._up or self._refused is not None, deadline - time.monotonic()
            )
            up, refused = self._up, self._refused
        if not up:
            self.close()
            raise self.unavailable(refused or f"no answer within {timeout:g} s")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._up = False

    def hand_over(self, packet: Packet) -> paho.MQTTMessageInfo:
        """Publish without waiting. Raises BrokerUnavailable while not connected.

        paho would queue the message and send it whenever the broker comes back.
        """
        if not self._up:
            raise self.unavailable("not connected")
        info = self._client.publish(packet.topic, packet.payload, packet.qos, packet.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self.unavailable(paho.error_string(info.rc).rstrip("."))
        return info

    def publish(self, packet: Packet, timeout: float = PUBLISH_TIMEOUT_S) -> None:
        """Publish and wait for the broker's acknowledgement. Raises BrokerUnavailable.

        Where the message may have gone out all the same, it is an Unacknowledged.
        """
        info = self.hand_over(packet)
        try:
            info.wait_for_publish(timeout)
            published = info.is_published()
        except RuntimeError:  # disconnected meanwhile
            published = False
        if not published:
            reason = f"did not acknowledge a message within {timeout:g} s"
            raise Unacknowledged(self.address.host, self.address.port, reason)

    def unavailable(self, reason: str) -> BrokerUnavailable:
        return BrokerUnavailable(self.address.host, self.address.port, reason)

    # -- paho's thread ---------------------------------------------------------------------------

    def _make(self, client_id: str) -> paho.Client:
        address = self.address
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.tls_ca is not None:
            try:
                client.tls_set(ca_certs=address.tls_ca or None)
            except OSError as error:
                raise self.unavailable(f"{address.tls_ca}: {error.strerror or error}") from error
        client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
        client.on_socket_open = _no_delay
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_message = lambda client, userdata, message: self._on_message(message)
        return client

    def _connected(
        self, client: paho.Client, userdata: Any, flags: Any, reason_code: Any, properties: Any
    ) -> None:
        # paho would send again what was not acknowledged, however long ago that was.
        client.drop_out_messages()
        if reason_code.is_failure:
            self._tell(f"refused the connection: {str(reason_code).lower()}")
        elif self._filters:
            client.subscribe(self._filters)
        else:
            self._tell(None)

    def _subscribed(
        self, client: paho.Client, userdata: Any, mid: int, reason_codes: Any, properties: Any
    ) -> None:
        refused = [code for code in reason_codes if code.is_failure]
        if refused:
            self._tell(f"refused {len(refused)} of {len(reason_codes)} subscriptions")
        else:
            self._tell(None)

    def _disconnected(
        self, client: paho.Client, userdata: Any, flags: Any, reason_code: Any, properties: Any
    ) -> None:
        self._up = False

    def _tell(self, refused: str | None) -> None:
        with self._changed:
            self._refused = refused
            if refused is None:
                self._connects += 1
                self._up = True
            self._changed.notify_all()


def _no_delay(client: paho.Client, userdata: Any, sock: Any) -> None:
    # paho writes a PUBACK and the next PUBLISH apart: Nagle would hold the second for 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
