"""The quick way gives what `Dialect.decode` gives, or leaves it to it."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.test_decoders_property import EXT, KEYS, NAMES, SCALARS, VALUES, bound

from fieldhand import dialects
from fieldhand.inbound import Inbound, Refused
from fieldhand.quickread import QuickReading, Unsure
from fieldhand.records import Reading
from fieldproto.messages import Message
from fieldproto.schema import Field
from fieldproto.uplink import EXT_FIELDS

QUICK = NAMES


def packet(name, **changes):
    return bound(name).encode("reading", "n1", {**VALUES, **changes}, EXT)


def slow(name):
    """An Inbound of one dialect without the quick way."""
    inbound = Inbound([dialects.unbound(name)])
    route = inbound._route(packet(name).topic)
    route.quick = None
    return inbound


def heard(inbound, topic, payload):
    try:
        return inbound.events(topic, payload, 5.0, False)
    except Refused as error:
        return error.reason, error.dialect, error.field


@pytest.mark.parametrize("name", QUICK)
def test_an_ordinary_reading_goes_the_quick_way(name):
    inbound = Inbound([dialects.unbound(name)])
    topic, payload = packet(name)[:2]
    route = inbound._route(topic)
    reading = route.quick.read(route.names, payload, 5.0)
    assert [(route.name, reading)] == heard(slow(name), topic, payload)
    assert isinstance(reading, Reading) and reading.provenance.seq == 7 and reading.quantities


@pytest.mark.parametrize("name", QUICK)
def test_so_does_one_of_a_newer_firmware_with_keys_of_its_own(name):
    inbound = Inbound([dialects.unbound(name)])
    topic, payload = packet(name)[:2]
    route = inbound._route(topic)
    plain = route.quick.read(route.names, payload, 5.0)
    obj = json.loads(payload)
    obj["_fh"].update({"sky": "blue", "floor_dbm": -90, "": None, "ack.state": True})
    payload = json.dumps(obj).encode()
    assert route.quick.read(route.names, payload, 5.0) == plain
    assert heard(slow(name), topic, payload) == [(route.name, plain)]


RARE = sorted({field.name.split(".")[0] for field in EXT_FIELDS} - {*EXT, "also"})


@pytest.mark.parametrize("key", RARE)
@pytest.mark.parametrize("more", [{}, {"sky": 1}])
def test_known_keys_that_are_rare_are_left_to_decode(key, more):
    inbound = Inbound([dialects.unbound("farm")])
    topic, payload = packet("farm")[:2]
    obj = json.loads(payload)
    obj["_fh"] |= {key: 1, **more}
    route = inbound._route(topic)
    with pytest.raises(Unsure):
        route.quick.read(route.names, json.dumps(obj).encode(), 5.0)


@pytest.mark.parametrize("name", ["a/b", "+", "#", "", "a\0b"])
def test_a_farm_that_no_topic_can_have_is_refused(name):
    """Nothing could be sent to it."""
    topic, payload = packet("farm")[:2]
    payload = json.dumps({**json.loads(payload), "farm_id": name}).encode()
    for inbound in (slow("farm"), Inbound([dialects.unbound("farm")])):
        with pytest.raises(Refused) as refused:
            inbound.events(topic, payload, 5.0, False)
        assert refused.value.field == "farm_id"
        assert "cannot be in a topic" in str(refused.value)


def test_a_table_with_what_is_not_known_here_has_no_quick_way():
    farm = dialects.unbound("farm")
    assert QuickReading.of(farm, farm.message("reply")) is None
    fields = (Field("a", "number", values=(1, 2)), Field("b", "list"))
    for field in fields:
        message = Message("x", ("t/{node}",), "reading", "node", (field,))
        assert QuickReading.of(farm, message) is None


def paths(obj, at=()):
    for key, value in obj.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from paths(value, (*at, key))


ODD = st.one_of(
    SCALARS,
    st.sampled_from(
        [True, 0, -0.0, 14, 14.0, 14.000001, 10**15, 10**15 + 1, 1e308, "", "n1", "node_n1"]
    ),
    st.sampled_from(["2026-02-30T00:00:00Z", "2026-W47-6T10:00:00Z", "2026-01-01T00:00:00.5Z"]),
    st.dictionaries(st.sampled_from(KEYS), SCALARS, max_size=3),
    st.lists(SCALARS, max_size=2),
)


FUTURE = st.dictionaries(
    st.sampled_from([*RARE, "also", "sky", "floor_dbm", "", "*", "ack.state", "x" * 300]),
    st.one_of(st.sampled_from([None, 0, 1, 1.0, 2, 7, True, "1", math.nan, math.inf]), ODD),
    max_size=3,
)


@st.composite
def mutated(draw):
    name = draw(st.sampled_from(QUICK))
    topic, payload = packet(name)[:2]
    obj = json.loads(payload)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(sorted(paths(obj))))
        parent = obj
        for key in path[:-1]:
            parent = parent[key]
        if not isinstance(parent, dict):
            continue
        how = draw(st.sampled_from(["set", "remove", "add", "rename"]))
        if how == "set":
            parent[path[-1]] = draw(ODD)
        elif how == "add":
            parent[draw(st.sampled_from([*KEYS, "*", ""]))] = draw(ODD)
        elif how == "rename" and path[-1] in parent:
            parent[draw(st.sampled_from(KEYS))] = parent.pop(path[-1])
        else:
            parent.pop(path[-1], None)
    if isinstance(obj.get("_fh"), dict) and draw(st.booleans()):
        obj["_fh"].update(draw(FUTURE))
    text = json.dumps(obj, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=3)) + text[at + draw(st.integers(0, 2)) :]
    return name, topic, text


@settings(max_examples=1200, deadline=None)
@given(mutated())
def test_both_ways_agree_on_whatever_comes(case):
    name, topic, payload = case
    assert heard(Inbound([dialects.unbound(name)]), topic, payload) == heard(
        slow(name), topic, payload
    )


PLAIN = b'"boot": "a", "seq": 1, "ms": 1, "q": "synced"'


@pytest.mark.parametrize(
    "text",
    [
        b'{"temperatureC": 1, "temperatureC": 2}',
        b'{"temperatureC": 1e400}',
        b'{"temperatureC": NaN}',
        b'{"temperatureC": -0}',
        b'{"temperatureC": 1.}',
        b'{"temperatureC": 01}',
        b' {"temperatureC": 1} ',
        b'\xef\xbb\xbf{"temperatureC": 1}',
        b'{"temperatureC": 1}x',
        b'{"temperatureC": 123456789012345678901234567890}',
        b'{"temperatureC": 1, "_fh": null}',
        b'{"temperatureC": 1, "_fh": {}}',
        b'{"_fh": {"boot": "a", "seq": 1, "ms": 1, "q": "synced", "also": {"ph": 7}}}',
        b'{"temperatureC": 1, "\\ud800": 2}',
        b'{"temperatureC": 1, "_fh": {%b, "sky": NaN}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "sky": [-Infinity]}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "sky": 1e400}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "sky": %b}}' % (PLAIN, b"9" * 4300),
        b'{"temperatureC": 1, "_fh": {%b, "sky": %b}}' % (PLAIN, b"9" * 4301),
        b'{"temperatureC": 1, "_fh": {%b, "sky": "\\ud800"}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "sky": [[[[[[[1]]]]]]]}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "sky": 1, "sky": 2}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "v": 1}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "v": 2}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "v": 2, "v": 1}}' % PLAIN,
        b'{"temperatureC": 1, "_fh": {%b, "also": null, "sky": 1}}' % PLAIN,
        b'{"temperatureC": 0.1234567890123456789012345678901234567890}',
        b"[]",
        b"",
    ],
)
def test_both_ways_agree_on_odd_json(text):
    topic = "devices/n1/data"
    assert heard(Inbound([dialects.unbound("plantnanny")]), topic, text) == heard(
        slow("plantnanny"), topic, text
    )


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_way_never_refuses_only_doubts(name):
    inbound = Inbound([dialects.unbound(name)])
    route = inbound._route(packet(name).topic)
    with pytest.raises(Unsure):
        route.quick.read(route.names, b'{"nothing": 1}', 5.0)
