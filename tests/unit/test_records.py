import json

import pytest

from fieldhand import dialects
from fieldhand.records import (
    Alert,
    Invalid,
    NodeEvent,
    Reading,
    Reply,
    Status,
    as_dict,
    from_record,
    in_words,
)
from fieldproto.errors import MessageError

BOOT = {"boot": "b1", "seq": 3, "ms": 99, "q": "backfilled"}


def decode(dialect, topic, **document):
    records = dialects.unbound(dialect).decode(topic, json.dumps(document).encode(), "host")
    return [from_record(record, 5.0) for record in records]


def test_reading_splits_what_was_measured_from_what_else_it_says():
    (reading,) = decode(
        "plantnanny", "devices/p1/data",
        temperatureC=24.3, humidityPct=56.0, ts=1704825600, uptime=7, _fh=BOOT,
    )  # fmt: skip
    assert isinstance(reading, Reading)
    assert reading.quantities == {"air_temperature": 24.3, "relative_humidity": 56.0}
    assert reading.attributes == {"uptime": 7}
    assert reading.time == 1704825600 and reading.received_at == 5.0
    origin = reading.provenance
    assert (origin.boot, origin.seq, origin.ms, origin.quality) == ("b1", 3, 99, "backfilled")


def test_tenant_is_apart():
    (status,) = decode("solar", "company/acme/machine/m1/status", status="Running", water=25.0)
    assert isinstance(status, Status)
    assert status.tenant == {"company": "acme"} and status.node == "m1"
    assert status.state == "online" and status.values["activity"] == "running"
    assert "company" not in status.values


@pytest.mark.parametrize(("word", "online"), [("Running", True), ("offline", False)])
def test_online(word, online):
    (status,) = decode("solar", "company/acme/machine/m1/status", status=word)
    assert status.online is online


def test_reply_and_alert():
    (reply,) = decode(
        "dese", "devices/o/d/command_response",
        command_id="cmd-1", success=False, error="no", timestamp="2025-01-27T10:00:05Z",
    )  # fmt: skip
    assert isinstance(reply, Reply)
    assert (reply.id, reply.state, reply.error, reply.time) == ("cmd-1", "failed", "no", 1737972005)
    (alert,) = decode(
        "dese", "devices/o/d/alert",
        severity="warning", message="pH low", sensor="ph", value=6.8, threshold=7.0,
        timestamp="2025-01-27T10:00:00Z",
    )  # fmt: skip
    assert isinstance(alert, Alert)
    assert (alert.severity, alert.sensor, alert.value, alert.threshold) == (
        "warning", "ph", 6.8, 7.0,
    )  # fmt: skip


def test_a_status_with_an_answer_is_two_records():
    found = decode(
        "plantnanny", "devices/p1/status",
        status="online", _fh={"ack": {"id": "x", "command": "send_now", "state": "done"}},
    )  # fmt: skip
    assert [type(event) for event in found] == [Status, Reply]


def test_as_dict_is_json_and_leaves_out_what_is_absent():
    (reading,) = decode("plantnanny", "devices/p1/data", temperatureC=24.3)
    assert as_dict(reading) == {
        "kind": "reading",
        "node": "p1",
        "dialect": "plantnanny",
        "quantities": {"air_temperature": 24.3},
        "received_at": 5.0,
    }
    invalid = as_dict(Invalid("t", "r", None, None, b"\xff{", 1.0))
    assert json.loads(json.dumps(invalid))["payload"] == "\ufffd{"


def test_what_a_status_says_of_the_node_may_be_called_like_provenance():
    (status,) = decode(
        "plantnanny", "devices/p1/status",
        status="online", _fh={"boot": "3-a1b2", "also": {"seq": 42, "n": 3, "queued": 0}},
    )  # fmt: skip
    assert isinstance(status, Status)
    assert status.values["seq"] == 42 and status.values["n"] == 3
    assert status.provenance.boot == "3-a1b2" and status.provenance.seq is None


CARRIED = {"boot": "3-a1b2", "n": 7, "ms": 61000, "q": "synced", "time": 1737972000}


def test_an_event_has_its_own_time_and_provenance_and_its_tenant():
    found = decode(
        "solar", "company/acme/machine/m1/status",
        status="Running", water=25.0,
        _fh={"boot": "4-ffff", "event": {**CARRIED, "event": "run", "reason": "power", "id": "c"}},
    )  # fmt: skip
    assert [type(event) for event in found] == [Status, NodeEvent]
    event = found[1]
    assert (event.event, event.time, event.tenant) == ("run", 1737972000, {"company": "acme"})
    assert event.data == {"reason": "power", "id": "c"}
    origin = event.provenance
    assert (origin.boot, origin.seq, origin.ms, origin.quality) == ("3-a1b2", 7, 61000, "synced")
    data = as_dict(event)
    assert data["kind"] == "event" and data["data"]["reason"] == "power"
    assert in_words(event) == "run reason=power id=c"


def test_an_alert_on_a_status_that_clears():
    alert = {**CARRIED, "severity": "info", "message": "ph back in band", "state": "cleared"}
    found = decode("plantnanny", "devices/p1/status", status="online", _fh={"alert": alert})
    assert [type(event) for event in found] == [Status, Alert]
    assert found[1].state == "cleared" and found[1].provenance.seq == 7
    assert found[1].time == 1737972000
    (native,) = decode(
        "dese", "devices/o/d/alert",
        severity="info", message="m", timestamp="2025-01-27T10:00:00Z", _fh={"state": "cleared"},
    )  # fmt: skip
    assert isinstance(native, Alert) and native.state == "cleared"


def test_farm_s_carried_notices_answer_no_command():
    for carried in (
        {"event": {"event": "outage", "seconds": 3, "count": 1}},
        {"alert": {"severity": "critical", "message": "leak"}},
        {"partial": {"seq": 3, "values": {"soil_moisture": 40.0}}},
    ):
        found = decode(
            "farm", "farm/telemetry", type="STATUS", irrigation="ON", farm_id="f1", _fh=carried
        )
        (kind,) = carried
        wanted = {"event": NodeEvent, "alert": Alert, "partial": Reading}[kind]
        assert [type(event) for event in found] == [wanted]


def test_a_partial_reading_is_a_reading():
    partial = {"boot": "3-a1b2", "seq": 21, "ms": 9, "q": "unknown", "values": {"chlorine": 2.5}}
    _, reading = decode(
        "dese", "devices/o/d/status",
        status="error", firmware_version="1", timestamp="2025-01-27T10:00:00Z",
        _fh={"boot": "4-ffff", "partial": partial},
    )  # fmt: skip
    assert isinstance(reading, Reading)
    assert reading.quantities == {"chlorine": 2.5} and reading.tenant == {"org": "o"}
    assert reading.time is None and reading.provenance.seq == 21
    assert reading.provenance.boot == "3-a1b2"


@pytest.mark.parametrize(
    ("carried", "field"),
    [
        ({"event": {"reason": "x"}}, "_fh.event.event"),
        ({"event": {"event": "x" * 33}}, "_fh.event.event"),
        ({"event": {"event": "crash", "traceback": "x" * 2049}}, "_fh.event.traceback"),
        ({"event": {"event": "run", "data": {}}}, "_fh.event.data"),
        ({"event": {"event": "run", "time": "now"}}, "_fh.event.time"),
        ({"alert": {"severity": "bad", "message": "m"}}, "_fh.alert.severity"),
        ({"alert": {"severity": "info", "message": "m", "state": "x"}}, "_fh.alert.state"),
        ({"partial": {"seq": 1}}, "_fh.partial.values"),
        ({"partial": {"values": {}}}, "_fh.partial.values"),
        ({"partial": {"values": {"ph": "7"}}}, "_fh.partial.values.ph"),
        ({"partial": {"values": {"ph": 7}, "seq": -1}}, "_fh.partial.seq"),
    ],
)
def test_what_a_status_carries_is_checked(carried, field):
    with pytest.raises(MessageError) as caught:
        decode("plantnanny", "devices/p1/status", status="online", _fh=carried)
    assert caught.value.field == field
