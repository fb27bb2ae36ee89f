"""The receiver's packets: examples made by hand from the OASIS standard, MQTT Version 3.1.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldhand.service.ingest import mqttwire
from fieldhand.service.ingest.mqttwire import Packet, Parser, ProtocolError

# PUBLISH, DUP 1, QoS 1, retain 0 [3.3.1]; topic "a/b", packet id 10 [figure 3.10]
DUP = bytes([0x3A, 0x0A, 0, 3, 0x61, 0x2F, 0x62, 0, 10]) + b"hey"
QOS0_RETAINED = bytes([0x31, 0x05, 0, 1, 0x61]) + b"{}"
CONNACK = bytes([0x20, 2, 1, 0])


def test_messages_and_others_from_one_piece():
    parser = Parser(1000)
    parser.feed(CONNACK + DUP + QOS0_RETAINED + bytes([0xD0, 0]))
    messages, others = parser.take(10)
    assert messages == [
        ("a/b", b"hey", 3, 1, 10, False, True),
        ("a", b"{}", 2, 0, 0, True, False),
    ]
    assert others == [Packet(mqttwire.CONNACK, b"\x01\x00"), Packet(mqttwire.PINGRESP, b"")]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_pieces_of_any_size(size):
    parser = Parser(1000)
    stream = (DUP + CONNACK + QOS0_RETAINED) * 3
    found = []
    for at in range(0, len(stream), size):
        parser.feed(stream[at : at + size])
        found += parser.take(10)[0]
    assert [message.payload for message in found] == [b"hey", b"{}"] * 3


def test_no_more_than_asked_for():
    parser = Parser(1000)
    parser.feed(DUP * 5)
    assert [len(parser.take(2)[0]) for _ in range(4)] == [2, 2, 1, 0]


# The standard's own borders of the remaining length [table 2.4]
@pytest.mark.parametrize(
    "length, encoded",
    [
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (2_097_151, b"\xff\xff\x7f"),
        (2_097_152, b"\x80\x80\x80\x01"),
    ],
)
def test_long_messages(length, encoded):
    body = b"\x00\x01t" + bytes(length - 3)
    assert mqttwire.publish("t", bytes(length - 3)) == b"\x30" + encoded + body
    parser = Parser(3_000_000)
    parser.feed(b"\x30" + encoded + body)
    (message,), _ = parser.take(1)
    assert message.size == len(message.payload) == length - 3


@given(st.integers(1, 300), st.integers(0, 400), st.integers(0, 2))
def test_a_payload_that_is_too_long_is_cut_and_what_follows_is_not_lost(piece, more, qos):
    payload = bytes(range(100)) + b"x" * more
    if qos:
        body = b"\x00\x01t" + (7).to_bytes(2, "big") + payload
        long = bytes([0x30 | qos << 1]) + mqttwire._packet(0x30, body)[1:]
    else:
        long = mqttwire.publish("t", payload)
    parser = Parser(100)
    found = []
    stream = long + DUP
    for at in range(0, len(stream), piece):
        parser.feed(stream[at : at + piece])
        found += parser.take(10)[0]
        assert len(parser._buffer) <= 100 + 10 + piece
    first, second = found
    assert (first.topic, first.size, first.mid) == ("t", 100 + more, 7 if qos else 0)
    assert first.payload == payload[:101]
    assert second.payload == b"hey"


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_are_read_or_refused(pieces):
    parser = Parser(100)
    try:
        for piece in pieces:
            parser.feed(piece)
            parser.take(10)
    except ProtocolError:
        pass


def test_a_topic_that_is_no_text():
    parser = Parser(100)
    parser.feed(b"\x30\x04\x00\x01\xff!")
    assert parser.take(1)[0][0].topic is None


def test_connect_as_the_standard_has_it():
    # Protocol name and level as in figure 3.2 and 3.4; user name and password set, session kept.
    assert mqttwire.connect("id", 10, "u", "p") == (
        b"\x10\x14" + b"\x00\x04MQTT\x04\xc0\x00\x0a" + b"\x00\x02id" + b"\x00\x01u" + b"\x00\x01p"
    )
    # SUBSCRIBE of "a/b" QoS 1 and "c/d" QoS 2 under id 10: the example of figure 3.23
    assert mqttwire.subscribe(10, [("a/b", 1), ("c/d", 2)]) == (
        b"\x82\x0e\x00\x0a\x00\x03a/b\x01\x00\x03c/d\x02"
    )
    assert mqttwire.pubacks([1, 258]) == b"\x40\x02\x00\x01\x40\x02\x01\x02"
