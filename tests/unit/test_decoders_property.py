"""Whatever arrives, a decoder gives records or the one documented error, and goes on."""

import json
import math
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fieldhand import dialects
from fieldhand.records import as_dict, from_record
from fieldproto.errors import MessageError

NAMES = dialects.names()
OPTIONS = {"org": "org-123", "company": "acme"}
VALUES = {
    "ph": 7.2, "chlorine": 2.5, "water_temperature": 25.5, "soil_moisture": 53.1,
    "air_temperature": 26.1, "relative_humidity": 41.9, "npk": 389, "battery_voltage": 13.5,
    "luminosity": 75.5, "time": 1737972000, "firmware": "1.0.0",
}  # fmt: skip
EXT = {"boot": "b00t", "seq": 7, "ms": 1234, "q": "synced"}


@cache
def bound(name):
    dialect = dialects.unbound(name)
    wanted = [field.name for field in dialect.option_fields if field.required]
    return dialects.load(name, {key: OPTIONS[key] for key in wanted})


@cache
def good(name):
    """(topic, payload) of a reading that decodes."""
    packet = bound(name).encode("reading", "n1", VALUES, EXT)
    return packet.topic, packet.payload


def check(name, topic, payload, receiver="host"):
    """Decode; only MessageError may come, with its facts, and the next good message decodes."""
    dialect = dialects.unbound(name) if receiver == "host" else bound(name)
    node = None if receiver == "host" else "n1"
    try:
        records = dialect.decode(topic, payload, receiver, node)
    except MessageError as error:
        assert error.dialect == name
        assert error.reason and isinstance(error.field, str)
        assert str(error).startswith(f"{name} {error.message}: ")
    else:
        assert records
        for record in records:
            json.dumps(record.values, allow_nan=False)
            event = from_record(record, 0.0)
            if event is not None:
                json.dumps(as_dict(event), allow_nan=False)
    assert dialects.unbound(name).decode(*good(name), "host")[0].kind == "reading"


def topics(name):
    dialect = bound(name)
    return [
        dialect.topic(message, "n1", variant)
        for message in dialect.messages
        for variant in range(len(message.topics))
    ]


ALL_TOPICS = [(name, topic) for name in NAMES for topic in topics(name)]
KEYS = sorted(
    {
        part
        for name in NAMES
        for message in dialects.unbound(name).messages
        for field in message.fields
        for part in field.name.split(".")
    }
    | {"_fh", "boot", "seq", "also", "ack", "state", "params", "id"}
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["on", "online", "offline", "ACTUATE", "STATUS", "2025-01-27T10:00:00Z"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), inner, max_size=6)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("receiver", ["host", "node"])
@pytest.mark.parametrize(("name", "topic"), ALL_TOPICS)
@settings(max_examples=25, deadline=None)
@given(payload=st.binary(max_size=300))
@example(payload=b"")
@example(payload=b"null")
@example(payload=b"[]")
@example(payload=b"{}")
@example(payload=b"\xff\xfe{}")
@example(payload=b'{"a":NaN}')
@example(payload=b'{"temperatureC": Infinity}')
@example(payload=b'{"a":"\\ud800"}')
@example(payload=b'{"ts": ' + b"9" * 5000 + b"}")
@example(payload=b"[" * 20_000)
@example(payload=b'{"a":' * 5000)
@example(payload=b'{"a":"' + b"x" * 100_000 + b'"}')
def test_arbitrary_bytes(name, topic, receiver, payload):
    check(name, topic, payload, receiver)


@pytest.mark.parametrize("receiver", ["host", "node"])
@pytest.mark.parametrize(("name", "topic"), ALL_TOPICS)
@settings(max_examples=40, deadline=None)
@given(document=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), JSON, max_size=8))
def test_arbitrary_json(name, topic, receiver, document):
    check(name, topic, json.dumps(document).encode(), receiver)


def valid():
    """Valid messages of every kind: (dialect, topic, document, receiver)."""
    found = []
    for name in NAMES:
        dialect = bound(name)
        packets = [(dialect.encode("reading", "n1", VALUES, EXT), "host")]
        will = dialect.will("n1", VALUES)
        if will is not None:
            packets.append((will, "host"))
        state = {"state": "online", "activity": "idle", **VALUES}
        for command in dialect.commands:
            params = {}
            for field in command.params:
                words = list(field.values or ())
                plain = "x" * 9 if field.type == "string" else field.lo or 1
                params[field.name] = words[0] if words else plain
            packets.append(
                (dialect.encode_command("n1", command.name, params, "id-1", 1737972000), "node")
            )
            answer = {"id": "id-1", "command": command.name, "state": "done", "error": None,
                      "data": {}, "time": 1737972000}  # fmt: skip
            reply = dialect.encode_reply("n1", answer, state, EXT)
            if reply is not None:
                packets.append((reply, "host"))
        found += [(name, p.topic, json.loads(p.payload), receiver) for p, receiver in packets]
    return found


VALID = valid()


@pytest.mark.parametrize("index", range(len(VALID)))
def test_what_is_mutated_below_was_valid(index):
    name, topic, document, receiver = VALID[index]
    dialect = dialects.unbound(name) if receiver == "host" else bound(name)
    assert dialect.decode(topic, json.dumps(document).encode(), receiver)


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_mutated_valid_messages(data):
    name, topic, document, receiver = data.draw(st.sampled_from(VALID))
    document = json.loads(json.dumps(document))
    for _ in range(data.draw(st.integers(1, 3))):
        inner = document
        while True:
            deeper = [value for value in inner.values() if isinstance(value, dict) and value]
            if not deeper or data.draw(st.booleans()):
                break
            inner = data.draw(st.sampled_from(deeper))
        if inner and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(sorted(inner)))
            if data.draw(st.booleans()):
                del inner[key]
                continue
        else:
            key = data.draw(st.sampled_from(KEYS))
        inner[key] = data.draw(JSON)
    check(name, topic, json.dumps(document).encode(), receiver)


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_cut_and_flipped_bytes(data):
    name, topic, document, receiver = data.draw(st.sampled_from(VALID))
    payload = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    check(name, topic, bytes(payload[: data.draw(st.integers(0, len(payload)))]), receiver)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(topic=st.text(max_size=40) | st.lists(
    st.sampled_from(["devices", "farm", "iot", "node", "company", "machine", "n1", "", "+", "#",
                     "data", "telemetry", "status", "command", "x"]), max_size=7
).map("/".join))  # fmt: skip
def test_arbitrary_topics(name, topic):
    check(name, topic, good(name)[1])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(
    values=st.dictionaries(
        st.sampled_from(sorted(VALUES.keys() - {"time", "firmware"})),
        st.floats(0, 100) | st.integers(0, 100) | st.floats(-1e6, 1e6) | st.integers(),
        min_size=1,
    )
)
def test_what_a_node_encodes_the_host_reads_back(name, values):
    """Encoding refuses what breaks the table; what it lets through decodes to the same values."""
    dialect = bound(name)
    try:
        packet = dialect.encode(
            "reading", "n1", {**values, "firmware": "1", "time": 1737972000}, EXT
        )
    except MessageError as error:
        assert error.dialect == name and error.reason
        return
    (record,) = dialects.unbound(name).decode(packet.topic, packet.payload, "host")
    for quantity, value in values.items():
        assert math.isclose(record.values[quantity], value, abs_tol=0.51), quantity
