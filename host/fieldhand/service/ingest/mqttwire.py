"""The few MQTT 3.1.1 packets a receiver needs, to and from bytes. No input or output here.

Numbers in brackets are sections of the OASIS standard, MQTT Version 3.1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

CONNACK, PUBLISH, SUBACK, UNSUBACK, PINGRESP = 0x20, 0x30, 0x90, 0xB0, 0xD0
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
FAILURE = 0x80  # a SUBACK's code for a filter that was refused [3.9.3]
# Topics whose text is remembered.
MAX_TOPICS = 50_000

REFUSALS = {
    1: "it speaks no MQTT 3.1.1",
    2: "it refuses the client id",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorised",
}


class ProtocolError(ValueError):
    """Bytes that are no MQTT."""


class Publish(NamedTuple):
    """A message. `size` is that of the payload on the wire; `payload` may be only its start.

    `topic` is None where it is not UTF-8.
    """

    topic: str | None
    payload: bytes
    size: int
    qos: int
    mid: int
    retained: bool
    dup: bool


class Packet(NamedTuple):
    """Any other packet: its type in the upper four bits, and its body."""

    kind: int
    body: bytes


class Parser:
    """Bytes in, packets out. Of a payload longer than `max_payload` one byte more is kept."""

    def __init__(self, max_payload: int) -> None:
        self._max_payload = max_payload
        self._buffer = bytearray()
        # Bytes still to come of a payload whose start has been handed out.
        self._skip = 0
        self._topics: dict[bytes, str | None] = {}

    def feed(self, data: bytes) -> None:
        """Bytes as they come from the connection."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer += data

    def take(self, limit: int) -> tuple[list[Publish], list[Packet]]:
        """The complete packets among the bytes, at most `limit` messages. Raises ProtocolError."""
        messages: list[Publish] = []
        others: list[Packet] = []
        buffer = self._buffer
        end = len(buffer)
        at = 0
        while end - at >= 2 and len(messages) < limit:
            first = buffer[at]
            length = buffer[at + 1]
            body = at + 2
            if length > 127:
                found = _long_length(buffer, at + 1, end)
                if found is None:
                    break
                length, body = found
            after = body + length
            if first & 0xF0 == PUBLISH:
                start = self._start_of_long(buffer, body, length, first)
                if end < (after if start is None else start):
                    break
                messages.append(self._publish(buffer, first, body, after, start))
                if start is not None and end < after:
                    self._skip = after - end
                    after = end
            elif length > 65_536:
                raise ProtocolError(f"a packet of type {first >> 4} of {length} bytes")
            elif end < after:
                break
            else:
                others.append(Packet(first & 0xF0, bytes(buffer[body:after])))
            at = after
        del buffer[:at]
        return messages, others

    def _start_of_long(self, buffer: bytearray, body: int, length: int, first: int) -> int | None:
        """Where a message that is too long may be cut; None for one that is not."""
        if length <= self._max_payload:
            return None
        if len(buffer) < body + 2:
            return body + 2  # not cut there: more bytes are needed first, and asked for by this
        topic = buffer[body] << 8 | buffer[body + 1]
        head = 2 + topic + (2 if first & 0x06 else 0)
        if length - head <= self._max_payload:
            return None
        return body + head + self._max_payload + 1

    def _publish(
        self, buffer: bytearray, first: int, body: int, after: int, cut: int | None
    ) -> Publish:
        if after - body < 2:
            raise ProtocolError("a message without a topic")
        start = body + 2 + (buffer[body] << 8 | buffer[body + 1])
        name = bytes(buffer[body + 2 : start])
        qos = first >> 1 & 3
        mid = 0
        if qos:
            mid = buffer[start] << 8 | buffer[start + 1] if start + 2 <= after else 0
            start += 2
        if start > after or qos == 3:
            raise ProtocolError("a message that is cut short")
        if name in self._topics:
            topic = self._topics[name]
        else:
            topic = self._topic(name)
        payload = bytes(buffer[start : after if cut is None else cut])
        return Publish(
            topic, payload, after - start, qos, mid, bool(first & 0x01), bool(first & 0x08)
        )

    def _topic(self, name: bytes) -> str | None:
        if len(self._topics) >= MAX_TOPICS:
            self._topics.clear()
        try:
            topic = name.decode()
        except UnicodeDecodeError:
            topic = None
        self._topics[name] = topic
        return topic


def connect(
    client_id: str,
    keepalive_s: int,
    user: str | None = None,
    password: str | None = None,
    keep: bool = True,
) -> bytes:
    """CONNECT [3.1]; `keep` says that the session outlives the connection."""
    flags = 0x80 * (user is not None) | 0x40 * (password is not None) | 0x02 * (not keep)
    body = _text("MQTT") + bytes((4, flags)) + keepalive_s.to_bytes(2, "big") + _text(client_id)
    for text in (user, password):
        if text is not None:
            body += _text(text)
    return _packet(0x10, body)


def subscribe(mid: int, filters: Iterable[tuple[str, int]]) -> bytes:
    """SUBSCRIBE [3.8]."""
    body = b"".join(_text(topic) + bytes((qos,)) for topic, qos in filters)
    return _packet(0x82, mid.to_bytes(2, "big") + body)


def unsubscribe(mid: int, filters: Iterable[str]) -> bytes:
    """UNSUBSCRIBE [3.10]."""
    return _packet(0xA2, mid.to_bytes(2, "big") + b"".join(_text(topic) for topic in filters))


def publish(topic: str, payload: bytes) -> bytes:
    """PUBLISH at QoS 0 [3.3]."""
    return _packet(PUBLISH, _text(topic) + payload)


def pubacks(mids: Sequence[int]) -> bytes:
    """A PUBACK for each [3.4]."""
    return b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])


def _packet(first: int, body: bytes) -> bytes:
    length = len(body)
    head = bytearray((first,))
    while True:
        length, digit = divmod(length, 128)
        head.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(head) + body


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _long_length(buffer: bytearray, at: int, end: int) -> tuple[int, int] | None:
    """(remaining length, where the body begins) [2.2.3]; None while bytes are missing."""
    length = 0
    for digit in range(4):
        if at + digit >= end:
            return None
        byte = buffer[at + digit]
        length |= (byte & 0x7F) << 7 * digit
        if byte < 0x80:
            return length, at + digit + 1
    raise ProtocolError("a packet of endless length")
