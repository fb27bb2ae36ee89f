import json

import pytest

from fieldhand import dialects
from fieldhand.records import Alert, Invalid, Reading, Reply, Status, as_dict, from_record

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
