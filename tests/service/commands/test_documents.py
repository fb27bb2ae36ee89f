"""The documents' own messages and routes: commands, responses, registering."""

from typing import Any
from urllib.parse import quote

import pytest
from service.commands.desk import Desk

from fieldhand.service.api.deps import LOCAL, Caller
from fieldhand.service.store import nodes


def test_the_solar_documents_command(desk: Desk) -> None:
    body = {"command": "start_cleaning", "params": {"speed": 5, "mode": "auto"}}
    answer = desk.http.post("/machines/m1/command", json=body)
    assert answer.status_code == 201
    topic, sent = desk.device.wait()[0]
    assert topic == "company/acme/machine/m1/command"
    assert sent == {**body, "_fh": {"id": answer.json()["id"]}}


def test_the_dese_documents_command_and_response(desk: Desk) -> None:
    parameters = {"pump_id": 1, "state": "on", "duration": 3600}
    body = {"command": "set_pump", "parameters": parameters}
    answer = desk.http.post("/devices/org-123/pool/commands", json=body)
    assert answer.status_code == 201
    made = answer.json()
    assert made.pop("state") == "sent"
    assert desk.device.wait()[0] == ("devices/org-123/pool/commands", made)
    assert made == {
        **body,
        **{k: made[k] for k in ("command_id", "timestamp")},
        "device_id": "pool",
    }
    where = answer.headers["Location"]
    assert desk.http.get(where).json()["success"] is None
    response = {"pump_state": "on", "pump_duration": 3600}
    desk.device.answer(made["command_id"], response=response)
    desk.until({"node": "dese:org-123:pool", "id": made["command_id"]}, "done")
    assert desk.http.get(where).json() == {
        "command_id": made["command_id"],
        "success": True,
        "response": response,
        "error": None,
        "timestamp": "2025-01-27T10:00:05Z",
        "state": "done",
    }


def test_the_dese_documents_config(desk: Desk) -> None:
    config = {
        "telemetry_interval": 30000,
        "mqtt_keepalive": 60,
        "sensor_calibration": {"ph": {"offset": 0.2, "scale": 1.0}},
    }
    answer = desk.http.post("/devices/org-123/pool/config", json={"config": config})
    assert answer.status_code == 201 and answer.json()["state"] == "done"
    topic, sent = desk.device.wait()[0]
    stamp = answer.json()["timestamp"]
    assert topic == "devices/org-123/pool/config"
    assert sent == {"device_id": "pool", "config": config, "timestamp": stamp}
    for wrong, named in (
        ({"telemetry_interval": 5}, "config.telemetry_interval: 5 is below 1000"),
        ({"interval": 5}, "config.interval: is not a field"),
        (
            {"sensor_calibration": {"ph": {"offset": "x"}}},
            "config.sensor_calibration.ph.offset: is a string",
        ),
    ):
        answer = desk.http.post("/nodes/pool/config", json={"config": wrong})
        assert answer.status_code == 422 and named in answer.json()["detail"]
    answer = desk.http.post("/nodes/g1/config", json={"config": {}})
    assert answer.status_code == 422 and "has no command 'config'" in answer.text
    assert len(desk.device.got) == 1


def test_a_device_is_its_organisations(desk: Desk) -> None:
    desk.caller = Caller("ann", "acme", frozenset({"read", "command"}))
    answer = desk.http.post("/devices", json={"device_id": "esp32-001"})
    assert answer.status_code == 201
    made = answer.json()
    assert made["org"] == "acme" and made["stream"] == "/devices/plantnanny:esp32-001/stream"
    assert (made["command"]["action"], made["command"]["state"]) == ("send_now", "sent")
    assert desk.device.wait()[0][0] == "devices/esp32-001/command"
    assert desk.http.post("/devices", json={"device_id": "esp32-001"}).status_code == 200
    desk.caller = Caller("eve", "other", frozenset({"read", "command"}))
    assert desk.http.post("/devices", json={"device_id": "esp32-001"}).status_code == 409
    assert desk.http.get("/nodes/esp32-001").status_code == 404
    mine = {"dialect": "dese", "name": "p2"}
    answer = desk.http.post("/nodes", json={**mine, "options": {"org": "acme"}})
    assert answer.status_code == 422 and "options.org" in answer.text
    assert desk.http.post("/nodes", json={**mine, "org": "acme"}).status_code == 422
    assert desk.http.post("/nodes", json=mine).json()["id"] == "dese:other:p2"


OTHERS = Caller("eve", "1", frozenset({"read", "command"}))


def test_what_somebody_registered_is_not_anothers_for_the_asking(desk_on_each: Desk) -> None:
    desk = desk_on_each
    wanted = {"dialect": "farm", "name": "opfarm2"}
    assert desk.http.post("/nodes", json=wanted).json()["org"] is None
    desk.caller = OTHERS
    # The second one stands there as the fleet file's nodes do.
    for name in ("opfarm2", "farm_001"):
        answer = desk.http.post("/nodes", json={**wanted, "name": name})
        assert answer.status_code == 409 and name in answer.json()["detail"]
    assert desk.http.post("/devices", json={"device_id": "g1"}).status_code == 409
    assert desk.http.get("/nodes").json()["nodes"] == []
    desk.caller = LOCAL
    assert {node["org"] for node in desk.http.get("/nodes").json()["nodes"]} == {
        None,
        "org-123",
        "acme",
    }
    # The operator may give it away.
    assert desk.http.post("/nodes", json={**wanted, "org": "1"}).json()["org"] == "1"
    desk.caller = OTHERS
    assert desk.http.post("/nodes", json=wanted).status_code == 200


def heard(desk: Desk, name: str) -> None:
    with desk.service.database.writing() as connection:
        nodes.ensure(connection, desk.service.database, nodes.key_of("plantnanny", {}, name), 1e9)


def test_what_was_only_heard_is_the_firsts_who_names_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("p1", "p2", "p3", "p4"):
        heard(desk, name)
    desk.send("p2", "send_now")
    assert desk.http.patch("/nodes/p3", json={"organisation": None}).status_code == 200
    desk.caller = OTHERS
    assert desk.http.post("/devices", json={"device_id": "p1"}).json()["org"] == "1"
    assert desk.http.post("/devices", json={"device_id": "p2"}).status_code == 409
    assert desk.http.post("/devices", json={"device_id": "p3"}).status_code == 409
    strict = desk.service.settings.model_copy(update={"claim_heard": False})
    monkeypatch.setattr(desk.service, "settings", strict)
    assert desk.http.post("/devices", json={"device_id": "p4"}).status_code == 409
    assert desk.http.post("/devices", json={"device_id": "p5"}).status_code == 201
    desk.caller = Caller("ann", "2", OTHERS.scopes)
    assert desk.http.post("/devices", json={"device_id": "p1"}).status_code == 409


def test_an_address_as_a_name(desk: Desk) -> None:
    """MAC addresses have colons, and so may organisations."""
    mac = "AA:BB:CC:DD:EE:FF"
    for org in ("org-123", "org-123:AA", "gården 1%"):
        body = {"dialect": "dese", "name": mac, "options": {"org": org}}
        made = desk.http.post("/nodes", json=body).json()
        assert desk.http.get(f"/nodes/{quote(made['id'])}").json()["tenant"] == {"org": org}
        parameters = {"pump_id": 1, "state": "on"}
        body = {"command": "set_pump", "parameters": parameters}
        answer = desk.http.post(f"/devices/{quote(org)}/{mac}/commands", json=body)
        assert answer.status_code == 201
        assert desk.http.get(answer.headers["Location"]).json()["success"] is None
        body = {"action": "set_pump", "params": parameters}
        answer = desk.http.post(f"/nodes/{quote(made['id'])}/commands", json=body)
        place = answer.headers["Location"]
        assert desk.http.get(place).json()["node"] == made["id"]
    assert desk.http.get(f"/nodes/dese:org-123:{mac}").json()["name"] == mac
    assert {topic for topic, _ in desk.device.wait(6)} == {
        f"devices/org-123/{mac}/commands",
        f"devices/org-123:AA/{mac}/commands",
        f"devices/gården 1%/{mac}/commands",
    }


@pytest.mark.parametrize(
    "body",
    [
        {"dialect": "farm", "name": "a/b"},
        {"dialect": "farm", "name": "+"},
        {"dialect": "farm", "name": "$SYS"},
        {"dialect": "fram", "name": "x"},
        {"dialect": "dese", "name": "x"},
        {"dialect": "dese", "name": "x", "options": {"org": "a/b"}},
        {"dialect": "farm", "name": "x", "options": {"y": 1}},
    ],
)
def test_a_node_that_cannot_be(shared: Desk, body: dict[str, Any]) -> None:
    assert shared.http.post("/nodes", json=body).status_code == 422


def test_what_a_node_can_be_told(shared: Desk) -> None:
    actions = shared.http.get("/nodes/g1/actions").json()
    assert [action["action"] for action in actions] == [
        "send_now",
        "pump_water",
        "set_interval",
        "restart",
        "ota_update",
    ]
    assert actions[1]["params"][0] == {
        "name": "durationMs",
        "type": "int",
        "required": False,
        "unit": "ms",
        "minimum": 1,
        "maximum": 86400000,
        "values": None,
    }
