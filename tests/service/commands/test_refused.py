"""Commands that never leave, and why."""

import time
from pathlib import Path
from typing import Any

import pytest
from mosquitto import Mosquitto
from service.commands.desk import PLANT, WAIT_S, Desk

from fieldhand.service.api.deps import Caller
from fieldhand.service.commands import lifecycle as commands_module
from fieldhand.service.store import nodes


@pytest.mark.parametrize(
    ("node", "action", "params", "named"),
    [
        ("g1", "pump_water", {"durationMs": 0}, "durationMs: 0 is below 1"),
        ("g1", "pump_water", {"ms": 5}, "ms: is not a parameter"),
        ("g1", "set_interval", {}, "intervalMs: is required"),
        ("g1", "pump", {}, "plantnanny has no command 'pump'; it has: send_now, pump_water"),
        ("g1", "pump_watr", {}, "did you mean 'pump_water'?"),
        ("pool", "set_pump", {"pump_id": 1, "state": "maybe"}, "state: is 'maybe', not one of on"),
        ("pool", "set_ph_target", {"target_ph": "7"}, "target_ph: is a string, not a number"),
        ("m1", "start_cleaning", {"speed": 101}, "speed: 101 is above 100"),
        ("farm_001", "irrigation", {"state": 2}, "state: is 2, not one of 1, 0"),
    ],
)
def test_the_field_is_named_as_the_document_does(
    shared: Desk, node: str, action: str, params: dict[str, Any], named: str
) -> None:
    answer = shared.http.post(f"/nodes/{node}/commands", json={"action": action, "params": params})
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"action": "set_ph_target", "params": {"target_ph": NaN}}',
        b'{"action": "start_cleaning", "params": {"mode": "a\\u0000b"}}',
        b'{"action": "start_cleaning", "params": {"mode": "\\ud800"}}',
        b'{"action": "pump\\u0000", "params": {}}',
        b'{"action": "reboot", "params": {"a": ' + b"[" * 50 + b"]" * 50 + b"}}",
        b'{"action": "reboot", "timeout": 0}',
        b'{"action": "reboot", "timeout": 1e9}',
        b'{"action": "reboot", "retries": -1}',
        b'{"action": "reboot", "unknown": 1}',
        b'{"action": "reboot", "params": []}',
    ],
)
def test_a_body_that_is_none(shared: Desk, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shared.http.post("/nodes/pool/commands", content=body, headers=headers)
    assert answer.status_code == 422


def test_no_retries_where_a_repetition_is_a_new_command(desk: Desk) -> None:
    with desk.service.database.writing() as connection:
        nodes.register(connection, desk.service.database, PLANT, options={}, extras=False)
    body = {"action": "pump_water", "params": {"durationMs": 9}, "retries": 1}
    answer = desk.http.post("/nodes/g1/commands", json=body)
    assert answer.status_code == 422 and "retries: the node cannot tell" in answer.text


def test_other_organisations_nodes_are_not_there(desk: Desk) -> None:
    ours = desk.send("pool", "reboot")
    desk.device.wait()
    desk.caller = Caller("eve", "acme", frozenset({"read", "command"}))
    body = {"action": "reboot"}
    pool = "dese:org-123:pool"
    for word in ("pool", pool):
        assert desk.http.post(f"/nodes/{word}/commands", json=body).status_code == 404
        assert desk.http.get(f"/nodes/{word}/commands").status_code == 404
        assert desk.http.get(f"/nodes/{word}/actions").status_code == 404
        assert desk.http.get(f"/nodes/{word}/commands/{ours['id']}").status_code == 404
    # Nor by way of a node of their own, or of a document's route.
    assert desk.http.get(f"/nodes/m1/commands/{ours['id']}").status_code == 404
    assert desk.http.post("/nodes/pool/config", json={"config": {}}).status_code == 404
    path = "/devices/org-123/pool"
    command = {"command": "reboot"}
    assert desk.http.post(f"{path}/commands", json=command).status_code == 404
    assert desk.http.post(f"{path}/config", json={"config": {}}).status_code == 404
    assert desk.http.get(f"{path}/command_response/{ours['id']}").status_code == 404
    farm = {"farm_id": "farm_001", "action": "irrigation", "value": True}
    assert desk.http.post("/iot/control", json=farm).status_code == 404
    desk.caller = Caller("ann", "org-123", frozenset({"read", "command"}))
    assert desk.http.post("/machines/m1/command", json=command).status_code == 404
    assert desk.http.get(f"/nodes/{pool}/commands/{ours['id']}").status_code == 200
    assert len(desk.device.got) == 1


def test_reading_is_not_enough_to_command(desk: Desk) -> None:
    desk.caller = Caller("bob", None, frozenset({"read"}))
    routes: dict[str, dict[str, Any]] = {
        "/nodes/pool/commands": {"action": "reboot"},
        "/nodes/pool/config": {"config": {}},
        "/nodes": {"dialect": "farm", "name": "x"},
        "/devices": {"device_id": "x"},
        "/machines/m1/command": {"command": "stop_cleaning"},
        "/devices/org-123/pool/commands": {"command": "reboot"},
        "/devices/org-123/pool/config": {"config": {}},
        "/iot/control": {"farm_id": "farm_001", "action": "irrigation", "value": False},
    }
    for path, body in routes.items():
        assert desk.http.post(path, json=body).status_code == 403, path
    assert desk.http.get("/nodes/pool/commands").json()["commands"] == []


def test_no_broker_no_command_ever(own_mosquitto: Mosquitto, tmp_path: Path) -> None:
    with Desk(f"sqlite:///{tmp_path}/service.db", own_mosquitto.port) as desk:
        own_mosquitto.kill()
        deadline = time.monotonic() + WAIT_S
        while desk.service.ready is None and time.monotonic() < deadline:
            time.sleep(0.02)
        body = {"action": "pump_water", "params": {"durationMs": 3000}}
        headers = {"Idempotency-Key": "one"}
        answer = desk.http.post("/nodes/g1/commands", json=body, headers=headers)
        assert answer.status_code == 503 and "not connected" in answer.json()["detail"]
        (refused,) = desk.http.get("/nodes/g1/commands").json()["commands"]
        assert (refused["state"], refused["attempts"]) == ("refused", 0)
        # A device is registered all the same, and was not asked for a reading.
        answer = desk.http.post("/devices", json={"device_id": "far"})
        assert answer.status_code == 201
        assert answer.json()["command"]["action"] == "send_now"
        assert answer.json()["command"]["state"] == "refused"
        own_mosquitto.start()
        while time.monotonic() < deadline:
            # The same key: what was refused was no command.
            answer = desk.http.post("/nodes/g1/commands", json=body, headers=headers)
            if answer.status_code == 201:
                break
            time.sleep(0.05)
        sent = desk.device.wait()
        assert [payload["_fh"]["id"] for _, payload in sent] == [answer.json()["id"]]


def test_a_broker_that_says_nothing_leaves_it_unknown(
    own_mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands_module, "PUBLISH_TIMEOUT_S", 0.2)
    with Desk(f"sqlite:///{tmp_path}/service.db", own_mosquitto.port) as desk:
        own_mosquitto.pause()
        answer = desk.http.post("/nodes/pool/commands", json={"action": "reboot"})
        assert answer.status_code == 503
        (failed,) = desk.http.get("/nodes/pool/commands").json()["commands"]
        assert failed["state"] == "failed" and failed["error"].startswith("unknown: ")
        own_mosquitto.resume()
        assert desk.device.wait()[0][1]["command_id"] == failed["id"]
        desk.device.answer(failed["id"])  # it did go out, and what came of it is on record
        assert desk.until(failed, lambda found: found["answers"])["answers"][0]["late"]
