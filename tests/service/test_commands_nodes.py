"""Commands to real firmware, over Mosquitto, through `fieldhand serve` as a process."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import missing
from e2e.nodes import EXAMPLES, Backend, backend, example, running
from mosquitto import Mosquitto, executable
from service.running import WAIT_S, Serve, Sse

from fieldproto.timestamps import format_utc

# So long that nothing comes which was not asked for.
NEVER_MS = 3_600_000


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The service, a node of each dialect, and who hears it all."""
    if executable() is None:
        missing("mosquitto is not installed: apt-get install mosquitto")
    with Mosquitto() as broker, backend(broker.port) as heard:
        serve = Serve(
            tmp_path_factory.mktemp("serve"), "--broker", f"mqtt://127.0.0.1:{broker.port}"
        )
        serve.start()
        try:
            configs = [example(name, broker.port, interval_ms=NEVER_MS) for name in EXAMPLES]
            with running(broker.port, *configs) as nodes:
                named = dict(zip(EXAMPLES, nodes, strict=True))
                serve.until("/nodes", lambda page: heard_all(page["nodes"]))
                yield SimpleNamespace(serve=serve, nodes=named, heard=heard)
        finally:
            serve.close()


def heard_all(nodes: list[dict[str, Any]]) -> bool:
    return {node["name"] for node in nodes if node["reading"] is not None} == set(EXAMPLES)


def post(serve: Serve, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(serve.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def ended(serve: Serve, command: dict[str, Any]) -> dict[str, Any]:
    path = f"/nodes/{command['node']}/commands/{command['id']}"
    return serve.until(path, lambda found: found["ended"] is not None)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/nodes/greenhouse/commands", {"action": "send_now"}),
        ("/machines/panel-7/command", {"command": "start_cleaning", "params": {"speed": 5}}),
        (
            "/nodes/pool/commands",
            {"action": "set_pump", "params": {"pump_id": 1, "state": "on", "duration": 5}},
        ),
        ("/nodes/01/commands", {"action": "set_led", "params": {"state": "on"}}),
        (
            "/iot/control",
            {"farm_id": "farm_001", "action": "irrigation", "value": True, "mode": "manual"},
        ),
    ],
)
def test_each_dialect_does_it(field: SimpleNamespace, path: str, body: dict[str, Any]) -> None:
    status, command = post(field.serve, path, body)
    assert status == 201
    assert ended(field.serve, command)["state"] == "done"


def test_a_node_that_refuses_says_why(field: SimpleNamespace) -> None:
    wanted = {"command": "set_pump", "parameters": {"pump_id": 9, "state": "on", "duration": 5}}
    status, made = post(field.serve, "/devices/org-123/pool/commands", wanted)
    assert status == 201
    path = f"/devices/org-123/pool/command_response/{made['command_id']}"
    found = field.serve.until(path, lambda found: found["success"] is not None)
    assert found["success"] is False and found["state"] == "failed" and found["error"]


def test_registered_asked_and_seen(field: SimpleNamespace) -> None:
    """PlantNanny: Register, send_now, sensor data, SSE: data."""
    serve = field.serve
    stream = Sse(serve.url, "/live?kind=reading&node=plantnanny:greenhouse&state=false")
    before = len(serve.get("/nodes/greenhouse/readings")["readings"])
    status, made = post(serve, "/devices", {"device_id": "greenhouse"})
    assert status == 201 and made["command"]["state"] == "sent"
    seen = stream.wait(lambda name, data: name == "reading")
    assert seen["node_id"] == "plantnanny:greenhouse"
    stream.close()
    assert ended(serve, made["command"])["state"] == "done"
    page = serve.until(
        "/nodes/greenhouse/readings", lambda page: len(page["readings"]) == before + 1
    )
    assert page["readings"][-1]["seq"] == seen["provenance"]["seq"]
    assert serve.get("/nodes/greenhouse")["registered"] is True
    shown = Sse(serve.url, made["stream"])  # the document's own stream begins with it
    data = shown.wait(lambda name, data: name == "reading")
    assert data["device_id"] == "greenhouse" and "temperatureC" in data
    shown.close()


def blow(field: SimpleNamespace, wind: float) -> None:
    """The farm's telemetry, with this wind: the document's example else."""
    heard: Backend = field.heard
    now = int(time.time())
    values = {"moisture": 53.1, "temp": 26.1, "humidity": 41.9, "npk": 389, "wind_speed": wind}
    reading = {"farm_id": "farm_001", "timestamp": format_utc(now), **values}
    heard.publish("farm/telemetry", reading)
    field.serve.until(
        "/nodes/farm_001/readings?order=newest&limit=1",
        lambda page: page["readings"][0]["quantities"]["wind_speed"] == wind,
    )


def test_no_fertilizer_into_the_wind(field: SimpleNamespace) -> None:
    node = field.nodes["farm_001"]
    wanted = {"farm_id": "farm_001", "action": "fertilization", "value": True, "mode": "manual"}
    blow(field, 20.6)
    mark = field.heard.mark()
    status, answer = post(field.serve, "/iot/control", wanted)
    assert status == 403 and "wind 20.6 km/h is above 20 km/h" in answer["detail"]
    time.sleep(0.2)
    assert field.heard.all("farm/farm_001/commands", mark) == []
    assert node.pins[19] == 0
    time.sleep(1)  # the farm's readings have whole seconds: the next is to be the newer one
    blow(field, 12.5)
    status, command = post(field.serve, "/iot/control", wanted)
    assert status == 201
    node.wait_pin(19, 1, 10)
    assert ended(field.serve, command)["state"] == "done"
    assert post(field.serve, "/iot/control", {**wanted, "value": False})[0] == 201
    node.wait_pin(19, 0, 10)


def test_killed_between_accepted_and_done(field: SimpleNamespace) -> None:
    serve: Serve = field.serve
    mark = field.heard.mark()
    wanted = {"action": "pump_water", "params": {"durationMs": 2500}, "timeout": 60}
    status, command = post(serve, "/nodes/greenhouse/commands", wanted)
    assert status == 201
    path = f"/nodes/greenhouse/commands/{command['id']}"
    serve.until(path, lambda found: found["state"] == "accepted")
    serve.kill()

    def done(obj: dict[str, Any]) -> bool:
        ack = obj.get("_fh", {}).get("ack", {})
        return ack.get("id") == command["id"] and ack["state"] == "done"

    field.heard.wait("devices/greenhouse/status", done, mark)  # while nobody listens here
    serve.start()
    found = ended(serve, command)
    assert found["state"] == "done" and found["attempts"] == 1
    assert [step["step"] for step in found["steps"]] == ["sending", "sent", "accepted", "done"]
    assert [answer["late"] for answer in found["answers"]] == [False, False]
    sent = field.heard.all("devices/greenhouse/command", mark)
    assert [payload["_fh"]["id"] for payload in sent] == [command["id"]]
    assert field.nodes["greenhouse"].pins[26] == 0


def test_killed_while_a_node_is_away(field: SimpleNamespace) -> None:
    """It is waited for again after the start, and its time is up there."""
    serve: Serve = field.serve
    node = field.nodes["01"]
    node.power_cut()
    wanted = {"action": "set_led", "params": {"state": "off"}, "timeout": 1}
    status, command = post(serve, "/nodes/iotnode:01/commands", wanted)
    assert status == 201
    serve.kill()
    serve.start()
    found = ended(serve, command)
    assert found["state"] == "timeout" and found["error"] == "no answer within 1 s"
