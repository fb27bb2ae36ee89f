"""A receiver's connection to the broker: a session that is kept, acknowledgements by hand.

paho reads a packet by single bytes and writes each acknowledgement apart. This reads what has
arrived at once and acknowledges a batch in one write; all of it in the thread that calls.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence

from fieldhand.connection import BrokerAddress
from fieldhand.errors import BrokerUnavailable
from fieldhand.service.ingest import mqttwire
from fieldhand.service.ingest.mqttwire import Packet, ProtocolError, Publish

KEEPALIVE_S = 60
CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 10.0
READ_BYTES = 262_144
_SUBSCRIBE_MID = 1
_UNSUBSCRIBE_MID = 2


class Link:
    """One connection at a time; `connect` again after BrokerUnavailable. For one thread.

    `not_filters` are what a session that was kept may still be subscribed to, and shall not be.
    With `keep` False the session ends with the connection.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        filters: Mapping[str, int],
        max_payload: int,
        *,
        not_filters: Sequence[str] = (),
        keep: bool = True,
    ) -> None:
        self.address = address
        self.client_id = client_id
        self._filters = sorted(filters.items())
        self._not_filters = sorted(not_filters)
        self._keep = keep
        self._max_payload = max_payload
        self._sock: socket.socket | None = None
        self._parser = mqttwire.Parser(max_payload)
        self._early: list[Publish] = []
        self._granted = False
        self._wrote_at = 0.0
        self._pinged_at: float | None = None
        self._began_at: float | None = None
        self._ended_at: float | None = None
        # The last session ended because the broker closed it.
        self.closed_by_broker = False

    @property
    def up(self) -> bool:
        return self._sock is not None

    @property
    def session_s(self) -> float | None:
        """How long the session has lasted, or did; None when the broker has not let us in."""
        if self._began_at is None:
            return None
        return (self._ended_at or time.monotonic()) - self._began_at

    def connect(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Connect and subscribe. Raises BrokerUnavailable; also when `go_on` says no.

        A session the broker has kept is not waited for to be granted anew: its backlog comes first.
        """
        self.close()
        self._parser = mqttwire.Parser(self._max_payload)
        self._early.clear()
        self._granted = False
        self._pinged_at = self._began_at = self._ended_at = None
        self.closed_by_broker = False
        self._sock = self._open()
        address = self.address
        hello = (self.client_id, KEEPALIVE_S, address.user, address.password, self._keep)
        self._write(mqttwire.connect(*hello))
        answer = self._await(mqttwire.CONNACK, go_on)
        if len(answer) != 2 or answer[1]:
            why = mqttwire.REFUSALS.get(answer[1] if len(answer) == 2 else 0, "no valid answer")
            raise self.lost(f"refused the connection: {why}")
        self._began_at = time.monotonic()
        if answer[0] & 1 and self._not_filters:
            self._write(mqttwire.unsubscribe(_UNSUBSCRIBE_MID, self._not_filters))
        if not self._filters:
            return
        self._write(mqttwire.subscribe(_SUBSCRIBE_MID, self._filters))
        if not answer[0] & 1:
            self._check_grant(self._await(mqttwire.SUBACK, go_on))

    def read(self, limit: int, timeout: float) -> list[Publish]:
        """What has arrived, at most `limit` messages; none after `timeout` s without any.

        Raises BrokerUnavailable.
        """
        if self._early:
            messages, self._early = self._early[:limit], self._early[limit:]
            return messages
        messages = self._take(limit)
        if not messages and self._receive(timeout):
            messages = self._take(limit)
        self.keep_alive()
        return messages

    def acknowledge(self, mids: Sequence[int]) -> None:
        """Acknowledge messages of this connection. Raises BrokerUnavailable."""
        if mids:
            self._write(mqttwire.pubacks(mids))

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0. Raises BrokerUnavailable."""
        self._write(mqttwire.publish(topic, payload))

    def keep_alive(self) -> None:
        """Tell the broker that we are here, where that is due. Raises BrokerUnavailable."""
        if time.monotonic() - self._wrote_at > KEEPALIVE_S / 2:
            self._write(mqttwire.PINGREQ)
            if self._pinged_at is None:
                self._pinged_at = time.monotonic()

    def close(self, politely: bool = False) -> None:
        """Close the connection; the broker keeps the session. Safe to call twice."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._ended_at = time.monotonic()
            with contextlib.suppress(OSError, ValueError):
                if politely:
                    sock.settimeout(WRITE_TIMEOUT_S)
                    sock.sendall(mqttwire.DISCONNECT)
            sock.close()

    def forget(self) -> None:
        """End the session too, with all that waits in it. Raises BrokerUnavailable."""
        self.close(politely=True)
        Link(self.address, self.client_id, {}, self._max_payload, keep=False)._visit()

    def _visit(self) -> None:
        self.connect()
        self.close(politely=True)

    def lost(self, reason: str) -> BrokerUnavailable:
        """Close, and the error that says why."""
        self.close()
        return BrokerUnavailable(self.address.host, self.address.port, reason)

    # -- inside ----------------------------------------------------------------------------------

    def _open(self) -> socket.socket:
        address = self.address
        try:
            sock = socket.create_connection((address.host, address.port), CONNECT_TIMEOUT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.tls_ca is not None:
                try:
                    context = ssl.create_default_context(cafile=address.tls_ca or None)
                    sock = context.wrap_socket(sock, server_hostname=address.host)
                except BaseException:
                    sock.close()
                    raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self.lost(reason) from error
        return sock

    def _await(self, kind: int, go_on: Callable[[], bool]) -> bytes:
        """The body of the packet of this kind; messages that come before are kept."""
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while time.monotonic() < deadline and go_on():
            messages, others = self._parsed(1_000)
            self._early += messages
            for packet in others:
                if packet.kind == kind:
                    return packet.body
            self._receive(0.25)
        raise self.lost(f"no answer within {CONNECT_TIMEOUT_S:g} s")

    def _take(self, limit: int) -> list[Publish]:
        messages, others = self._parsed(limit)
        for packet in others:
            if packet.kind == mqttwire.SUBACK and not self._granted:
                self._check_grant(packet.body)
        return messages

    def _parsed(self, limit: int) -> tuple[list[Publish], list[Packet]]:
        try:
            return self._parser.take(limit)
        except ProtocolError as error:
            raise self.lost(f"it sent {error}") from error

    def _check_grant(self, body: bytes) -> None:
        codes = body[2:]
        refused = sum(code == mqttwire.FAILURE for code in codes)
        if refused or len(codes) != len(self._filters):
            raise self.lost(f"refused {refused} of {len(self._filters)} subscriptions")
        self._granted = True

    def _receive(self, timeout: float) -> bool:
        """Wait for bytes; False when none came."""
        sock = self._connected()
        try:
            sock.settimeout(max(timeout, 0.001))
            data = sock.recv(READ_BYTES)
        except (TimeoutError, ssl.SSLWantReadError):
            silent = self._pinged_at is not None and (
                time.monotonic() - self._pinged_at > KEEPALIVE_S / 2
            )
            if silent:
                raise self.lost("it does not answer any more") from None
            return False
        except (OSError, ValueError) as error:
            raise self._failed(error) from error
        if not data:
            self.closed_by_broker = True
            raise self.lost("it closed the connection")
        self._pinged_at = None
        self._parser.feed(data)
        return True

    def _write(self, data: bytes) -> None:
        sock = self._connected()
        try:
            sock.settimeout(WRITE_TIMEOUT_S)
            sock.sendall(data)
        except (OSError, ValueError) as error:
            raise self._failed(error) from error
        self._wrote_at = time.monotonic()

    def _failed(self, error: Exception) -> BrokerUnavailable:
        # Where bytes of ours were on their way, the end of the connection is told as an error.
        self.closed_by_broker = isinstance(error, (ConnectionResetError, BrokenPipeError))
        return self.lost(getattr(error, "strerror", None) or str(error))

    def _connected(self) -> socket.socket:
        if self._sock is None:
            raise self.lost("connection lost")
        return self._sock
