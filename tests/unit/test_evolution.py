"""Firmware newer than the host: what it adds is passed over, what it means anew is left alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.test_decoders_property import JSON, NAMES, VALID, bound

from fieldhand import dialects
from fieldhand.records import from_record
from fieldproto.errors import MessageError

TOPIC = "devices/p1/status"
BOOT = {"boot": "3-a1b2", "seq": 7, "ms": 1234, "q": "synced"}
ACK = {"id": "c1", "command": "send_now", "state": "done", "data": {"pulses": 4}}
ALERT = {"severity": "info", "message": "dry", "boot": "3-a1b2", "n": 2}
EVENT = {"event": "run", "reason": "power", "n": 3}
PARTIAL = {"seq": 8, "values": {"ph": 7.1}, "boot": "3-a1b2"}
WHOLE = {**BOOT, "id": "c1", "also": {"queued": 0}, "ack": ACK, "alert": ALERT, "event": EVENT,
         "partial": PARTIAL}  # fmt: skip


def heard(ext, topic=TOPIC, dialect="plantnanny", **document):
    """The events of a status with this extension, or why it was refused."""
    document = {**(document or {"status": "online"}), "_fh": ext}
    try:
        records = dialects.unbound(dialect).decode(topic, json.dumps(document).encode(), "host")
    except MessageError as error:
        return error.field, error.reason
    return [from_record(record, 5.0) for record in records]


NEW = {"sky": "blue", "floor_dbm": -90, "": None, "*": 1, "x" * 300: True, "deep": {"er": [1, {}]},
       "ack.state": "failed", "alert.severity": 4, "partial.values": {}}  # fmt: skip


@pytest.mark.parametrize("place", [None, "ack", "alert", "partial"])
def test_keys_that_a_newer_firmware_adds_are_passed_over(place):
    ext = json.loads(json.dumps(WHOLE))
    (ext if place is None else ext[place]).update(NEW)
    events = heard(WHOLE)
    assert len(events) == 5
    assert heard(ext) == events


@pytest.mark.parametrize(
    ("ext", "field"),
    [
        ({"sky": 1, "seq": -1}, "_fh.seq"),
        ({"sky": 1, "q": "guessed"}, "_fh.q"),
        ({"ack": {"sky": 1, "state": "maybe"}}, "_fh.ack.state"),
        ({"ack": {"sky": 1}}, "_fh.ack.state"),
        ({"alert": {"sky": 1, "severity": "info"}}, "_fh.alert.message"),
        ({"partial": {"sky": 1, "values": {"ph": "acid"}}}, "_fh.partial.values.ph"),
        ({"sky": 1, "alert": 7}, "_fh.alert"),
    ],
)
def test_what_is_known_is_checked_as_ever(ext, field):
    assert heard(ext)[0] == field


def test_the_keys_of_open_maps_are_data_not_unknown():
    _, event = heard({"event": {**EVENT, "sky": "blue"}})
    assert event.data["sky"] == "blue"
    status, partial = heard({"also": {"sky": 1}, "partial": {"values": {"sky": 2}}})
    assert status.values["sky"] == 1 and partial.quantities == {"sky": 2}


@pytest.mark.parametrize("version", [None, 1, 1.0])
def test_the_version_known_here_changes_nothing(version):
    assert heard({**WHOLE, "v": version}) == heard(WHOLE)


@pytest.mark.parametrize(("version", "said"), [(2, 2), (2.0, 2), (17, 17), (10**15, 10**15)])
def test_a_newer_version_is_refused_whole_and_says_what_to_do(version, said):
    reason = (
        f"is {said}, understood only by a newer Fieldhand (this one: up to 1); update the host, "
        "then `fieldhand dead-letter replay --all`"
    )
    assert heard({**WHOLE, "v": version}) == ("_fh.v", reason)
    # Its own rules may let pass what is wrong by these.
    assert heard({"v": version, "seq": [1, 2], "ack": "yes"}) == ("_fh.v", reason)
    assert heard({"v": version}, status="dreaming", mood=1) == ("_fh.v", reason)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (0, "0 is below 1"),
        (-3, "-3 is below 1"),
        (1.5, "is 1.5, not a whole number"),
        (2.5, "is 2.5, not a whole number"),
        ("2", "is a string, not a number"),
        (True, "is a boolean, not a number"),
        ([2], "is a list, not a number"),
        ({}, "is an object, not a number"),
        (10**16, "is too large a number"),
    ],
)
def test_a_version_that_is_none_is_a_bad_field(version, reason):
    assert heard({"v": version}) == ("_fh.v", reason)


@pytest.mark.parametrize("name", NAMES)
def test_nodes_send_no_version(name):
    for dialect, _, document, receiver in VALID:
        if dialect == name and receiver == "host":
            assert "v" not in document.get("_fh", {})


@pytest.mark.parametrize("name", NAMES)
def test_a_node_refuses_a_command_with_a_key_it_does_not_know(name):
    """It may be a limit: a pump does not run without one that was asked for."""
    sent = [case for case in VALID if case[0] == name and case[3] == "node"]
    assert sent
    for _, topic, document, _ in sent:
        for key in ("max_ml", "v"):
            ext = {**document.get("_fh", {"id": "c1"}), key: 1}
            payload = json.dumps({**document, "_fh": ext}).encode()
            with pytest.raises(MessageError, match=f"_fh.{key}: is not a field"):
                bound(name).decode(topic, payload, "node", "n1")


def outcome(dialect, topic, document):
    payload = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        return dialects.unbound(dialect).decode(topic, payload, "host")
    except MessageError as error:
        return str(error)


CLOSED = {
    "": {*WHOLE, "n", "state", "v"},
    "ack": {*ACK, "error"},
    "alert": {*ALERT, "state", "sensor", "value", "threshold", "ms", "q", "time"},
    "partial": {*PARTIAL, "n", "ms", "q", "time"},
}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_added_key_changes_what_is_made_of_a_message(data):
    """Neither the records of a good one nor the refusal of a bad one."""
    name, topic, document, _ = data.draw(
        st.sampled_from([case for case in VALID if case[3] == "host"])
    )
    ext = json.loads(json.dumps({**document.get("_fh", {}), **WHOLE}))
    for key in data.draw(st.lists(st.sampled_from(sorted(ext)), max_size=6, unique=True)):
        del ext[key]
    if ext and data.draw(st.booleans()):
        ext[data.draw(st.sampled_from(sorted(ext)))] = data.draw(JSON)
    before = outcome(name, topic, {**document, "_fh": ext})
    for place, known in CLOSED.items():
        inner = ext if not place else ext.get(place)
        if isinstance(inner, dict):
            names = st.text(max_size=6).filter(lambda key, known=known: key not in known)
            inner.update(data.draw(st.dictionaries(names, st.integers() | st.text(), max_size=2)))
    assert outcome(name, topic, {**document, "_fh": ext}) == before


def test_an_answer_whose_data_are_null_has_none():
    payload = {
        "command_id": "c1",
        "success": True,
        "timestamp": "2026-01-01T00:00:00Z",
        "_fh": {"ack": {"state": "done", "data": None}},
    }
    topic = "devices/o/n/command_response"
    (record,) = dialects.load("dese", {"org": "o"}).decode(
        topic, json.dumps(payload).encode(), "host"
    )
    assert record.kind == "reply" and record.values["data"] == {}
