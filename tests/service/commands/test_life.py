"""The life of a command, with a broker, a database and a device that answers as the test says."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from mosquitto import Mosquitto
from postgres import Postgres

from fieldhand.connection import BrokerAddress
from fieldhand.service import commands as commands_module
from fieldhand.service import moments, settings
from fieldhand.service.app import create_app
from fieldhand.service.deps import LOCAL, Caller, current_caller
from fieldhand.service.service import Service
from fieldhand.service.store import commands as store
from fieldhand.service.store import nodes, readings, retention, schema
from fieldhand.service.store.commands import CommandRow
from fieldproto.timestamps import format_utc

WAIT_S = 15.0
# Long enough for an answer that comes, short enough to wait for one that does not.
SOON_S = 0.3

PLANT = nodes.key_of("plantnanny", {}, "g1")
POOL = nodes.key_of("dese", {"org": "org-123"}, "pool")
PANEL = nodes.key_of("solar", {"company": "acme"}, "m1")
LED = nodes.key_of("iotnode", {}, "01")
FARM = nodes.key_of("farm", {}, "farm_001")
OPTIONS: dict[nodes.NodeKey, dict[str, Any]] = {
    PLANT: {},
    POOL: {"org": "org-123"},
    PANEL: {"company": "acme"},
    LED: {},
    FARM: {},
}


class Device:
    """The nodes' end: hears every command, says what it is told to."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        filters = [
            "devices/+/command",
            "devices/+/+/commands",
            "devices/+/+/config",
            "company/+/machine/+/command",
            "iot/node/+/command",
            "farm/+/commands",
        ]
        self._client.on_connect = lambda c, *_: c.subscribe([(name, 1) for name in filters])
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(WAIT_S)

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.got.append((message.topic, json.loads(message.payload)))
            self._changed.notify_all()

    def wait(self, count: int = 1) -> list[tuple[str, dict[str, Any]]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= count, WAIT_S), self.got
            return list(self.got)

    def say(self, topic: str, payload: dict[str, Any]) -> None:
        self._client.publish(topic, json.dumps(payload), 1).wait_for_publish(WAIT_S)

    def answer(self, id: str, node: str = "pool", **answer: Any) -> None:
        """DESE's command_response."""
        answer = {"success": True, "timestamp": "2025-01-27T10:00:05Z", **answer}
        self.say(f"devices/org-123/{node}/command_response", {"command_id": id, **answer})

    def acknowledge(self, id: str, number: int, state: str, **ack: Any) -> None:
        """What PlantNanny's document has no message for, in the extension key of the status."""
        extension = {"boot": "b1", "n": number, "ack": {"id": id, "state": state, **ack}}
        self.say("devices/g1/status", {"status": "online", "_fh": extension})

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Desk:
    """A running service, its web application and the device."""

    def __init__(self, url: str, port: int, **given: Any) -> None:
        chosen = settings.load(
            {"database": url, "client_id": f"t-{time.monotonic_ns()}", **given}, environment={}
        )
        self.caller = LOCAL
        self.service = Service(chosen, broker=BrokerAddress(port=port))
        self.service.database.open()
        with self.service.database.writing() as connection:
            self.register(connection)
        app = create_app(self.service)
        app.dependency_overrides[current_caller] = lambda: self.caller
        self.http = TestClient(app)
        self.device = Device(port)

    def __enter__(self) -> "Desk":
        self.service.start()
        self.http.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.__exit__(None, None, None)
        self.service.stop()
        self.device.close()

    def clear(self) -> None:
        """As new: what other tests left is gone."""
        self.caller = LOCAL
        with self.service.database.writing() as connection:
            for table in (schema.command, schema.answer, schema.reading, schema.node):
                connection.execute(table.delete())
            self.register(connection)
        self.service.ingest.nodes.forget()
        self.device.got.clear()

    def register(self, connection: sa.Connection) -> None:
        for key, options in OPTIONS.items():
            nodes.register(connection, self.service.database, key, options=options)

    def send(self, node: str, action: str, **given: Any) -> dict[str, Any]:
        headers = given.pop("headers", {})
        body = {"action": action, "params": given.pop("params", {}), **given}
        answer = self.http.post(f"/nodes/{node}/commands", json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()  # type: ignore[no-any-return]

    def look(self, command: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.get(f"/nodes/{command['node']}/commands/{command['id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def until(
        self, command: dict[str, Any], wanted: str | Callable[[dict[str, Any]], object]
    ) -> dict[str, Any]:
        """The command as soon as it is in this state, or as is wanted of it."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found = self.look(command)
            if found["state"] == wanted if isinstance(wanted, str) else wanted(found):
                return found
            assert time.monotonic() < deadline, f"it is still {found}"
            time.sleep(0.02)

    def steps(self, command: dict[str, Any]) -> list[str]:
        return [step["step"] for step in self.look(command)["steps"]]

    def node(self, key: nodes.NodeKey) -> nodes.NodeRow:
        with self.service.database.writing() as connection:
            return nodes.ensure(connection, self.service.database, key, None)


@pytest.fixture(autouse=True, scope="module")
def no_grace() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands_module, "GRACE_S", 0.05)
        yield


@pytest.fixture(scope="module")
def desk_on_sqlite(
    mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    with Desk(f"sqlite:///{tmp_path_factory.mktemp('desk')}/service.db", mosquitto.port) as made:
        yield made


@pytest.fixture(scope="module")
def desk_on_postgresql(mosquitto: Mosquitto, postgres: Postgres) -> Iterator[Desk]:
    with Desk(postgres.make_database("commands"), mosquitto.port) as made:
        yield made


@pytest.fixture
def desk(desk_on_sqlite: Desk) -> Desk:
    desk_on_sqlite.clear()
    return desk_on_sqlite


@pytest.fixture(params=["desk_on_sqlite", "desk_on_postgresql"])
def desk_on_each(request: pytest.FixtureRequest) -> Desk:
    found: Desk = request.getfixturevalue(request.param)
    found.clear()
    return found


# -- from sent to its end --------------------------------------------------------------------------


def test_accepted_and_done(desk_on_each: Desk) -> None:
    desk = desk_on_each
    with desk.http.websocket_connect("/live?kind=command") as live:
        command = desk.send("g1", "pump_water", params={"durationMs": 3000}, timeout=20)
        assert (command["state"], command["caller"], command["attempts"]) == ("sent", "local", 1)
        assert command["deadline"] == command["sent"] + 20
        topic, sent = desk.device.wait()[0]
        assert topic == "devices/g1/command"
        wanted = {"action": "pump_water", "durationMs": 3000, "_fh": {"id": command["id"]}}
        assert sent == wanted
        desk.device.acknowledge(command["id"], 1, "accepted", data={"duration_ms": 3000})
        found = desk.until(command, "accepted")
        assert found["deadline"] == pytest.approx(found["accepted"] + 20 + 3, abs=1e-3)
        desk.device.acknowledge(command["id"], 2, "done", data={"ran_ms": 3000})
        found = desk.until(command, "done")
        assert found["data"] == {"ran_ms": 3000} and found["deadline"] is None
        assert [step["step"] for step in found["steps"]] == ["sending", "sent", "accepted", "done"]
        assert [(a["state"], a["late"]) for a in found["answers"]] == [
            ("accepted", False),
            ("done", False),
        ]
        told = []
        while not told or told[-1] != "done":
            event = live.receive_json()
            assert event["type"] == "command" and event["data"]["id"] == command["id"]
            told.append(event["data"]["state"])
        assert told == ["sending", "sent", "accepted", "done"]


def test_failed_with_the_nodes_reason(desk: Desk) -> None:
    command = desk.send("dese:org-123:pool", "reboot")
    desk.device.answer(command["id"], success=False, error="pump is running")
    found = desk.until(command, "failed")
    assert found["error"] == "pump is running"


def test_timeout_and_a_late_answer(desk_on_each: Desk) -> None:
    """DESE: "Backend marks command as `timeout`. Device should still send response"."""
    desk = desk_on_each
    command = desk.send("pool", "set_ph_target", params={"target_ph": 7.2}, timeout=SOON_S)
    found = desk.until(command, "timeout")
    assert found["error"] == "no answer within 0.3 s" and found["answers"] == []
    desk.device.answer(command["id"], response={"target_ph": 7.2})
    found = desk.until(command, lambda found: found["answers"])
    assert found["state"] == "timeout" and desk.steps(command)[-2:] == ["timeout", "late"]
    (answer,) = found["answers"]
    assert answer["late"] and answer["data"] == {"target_ph": 7.2}
    path = f"/devices/org-123/pool/command_response/{command['id']}"
    assert desk.http.get(path).json() == {
        "command_id": command["id"],
        "success": True,
        "response": {"target_ph": 7.2},
        "error": None,
        "timestamp": "2025-01-27T10:00:05Z",
        "state": "timeout",
    }


def test_the_default_time_limit_is_the_documents(desk: Desk) -> None:
    """DESE: "Commands have a default timeout of 30 seconds"."""
    command = desk.send("pool", "reboot")
    assert command["timeout"] == 30 and command["deadline"] == command["sent"] + 30


def test_sent_again_under_the_same_id(desk_on_each: Desk) -> None:
    desk = desk_on_each
    command = desk.send("pool", "set_ph_target", params={"target_ph": 7}, timeout=SOON_S, retries=1)
    first, second = desk.device.wait(2)
    assert first == second and first[1]["command_id"] == command["id"]
    desk.device.answer(command["id"])
    found = desk.until(command, "done")
    assert found["attempts"] == 2
    assert desk.steps(command) == ["sending", "sent", "retried", "done"]


def test_the_last_attempt_times_out(desk: Desk) -> None:
    command = desk.send("pool", "reboot", timeout=SOON_S, retries=2)
    found = desk.until(command, "timeout")
    assert found["attempts"] == 3 and len(desk.device.got) == 3


def test_an_answer_that_comes_twice_is_one(desk: Desk) -> None:
    first, second = (desk.send("pool", "reboot") for _ in range(2))
    for _ in range(3):
        desk.device.answer(first["id"])
    desk.device.answer(second["id"])
    desk.until(second, "done")
    assert len(desk.look(first)["answers"]) == 1
    assert desk.steps(first) == ["sending", "sent", "done"]


def test_an_acceptance_that_comes_after_the_end_is_not_late(desk: Desk) -> None:
    """Of several workers one may be quicker with `done` than another with `accepted`."""
    command, fence = desk.send("g1", "send_now"), desk.send("g1", "send_now")
    desk.device.acknowledge(command["id"], 2, "done")
    desk.device.acknowledge(command["id"], 1, "accepted")
    desk.device.acknowledge(fence["id"], 3, "done")
    desk.until(fence, "done")
    answers = [(answer["state"], answer["late"]) for answer in desk.look(command)["answers"]]
    assert answers == [("done", False), ("accepted", False)]
    assert desk.steps(command) == ["sending", "sent", "done"]


def test_an_answer_nobody_asked_for_is_kept_apart(desk: Desk) -> None:
    fence = desk.send("pool", "reboot")
    desk.device.answer("cmd-of-another-host")
    desk.device.answer(fence["id"])
    desk.until(fence, "done")
    with desk.service.database.reading() as connection:
        rows = connection.execute(sa.select(schema.answer).order_by(schema.answer.c.id)).all()
    assert [(row.wire_id, row.command_id) for row in rows] == [
        ("cmd-of-another-host", None),
        (fence["id"], fence["id"]),
    ]


def test_commands_are_forgotten_when_their_time_is_over(desk_on_each: Desk) -> None:
    desk = desk_on_each
    over, under_way = desk.send("pool", "reboot"), desk.send("pool", "reset_config")
    desk.device.answer(over["id"])
    desk.until(over, "done")
    gone = retention.forget(desk.service.database, commands_s=60, now=time.time() + 59)
    assert (gone["command"], gone["answer"]) == (0, 0)
    gone = retention.forget(desk.service.database, commands_s=60, now=time.time() + 61)
    assert gone["command"] == 1
    left = desk.http.get("/nodes/pool/commands").json()["commands"]
    assert [command["id"] for command in left] == [under_way["id"]]


def test_an_answer_of_another_node_is_none(desk: Desk) -> None:
    command, fence = desk.send("pool", "reboot"), desk.send("pool", "reset_config")
    desk.device.answer(command["id"], node="other", success=False, error="hijacked")
    desk.device.answer(fence["id"])
    desk.until(fence, "done")
    assert desk.look(command)["state"] == "sent"


def test_an_effect_where_there_is_no_answer(desk: Desk) -> None:
    """The iot/node document: the status acknowledges. A solar machine's status shows it."""
    with desk.service.database.writing() as connection:
        nodes.register(connection, desk.service.database, LED, options={}, extras=False)
    params = {"state": "on", "brightness": 128}
    led = desk.send("iotnode:01", "set_led", params=params)
    assert desk.device.wait()[0][1] == {"command": "set_led", "params": params}
    desk.device.say("iot/node/01/status", {"led": "off"})
    clean = desk.send("m1", "start_cleaning", params={"speed": 5})
    desk.device.say("company/acme/machine/m1/status", {"status": "Running"})
    assert desk.until(clean, "done")["steps"][-1]["detail"] == "shown by status"
    assert desk.look(led)["state"] == "sent"
    desk.device.say("iot/node/01/status", {"led": "on", "brightness": 128})
    desk.until(led, "done")


def test_the_oldest_is_answered_first_where_answers_name_only_the_command(desk: Desk) -> None:
    first, second = (desk.send("iotnode:01", "set_led", params={"state": "on"}) for _ in range(2))
    desk.device.say("iot/node/01/status", {"ack": "set_led", "result": "failed", "error": "hot"})
    assert desk.until(first, "failed")["error"] == "hot"
    assert desk.look(second)["state"] == "sent"


# -- what is refused -------------------------------------------------------------------------------


@pytest.fixture
def shared(desk_on_sqlite: Desk) -> Iterator[Desk]:
    """For what leaves no command behind."""
    desk_on_sqlite.clear()
    yield desk_on_sqlite
    with desk_on_sqlite.service.database.reading() as connection:
        count = sa.select(sa.func.count()).select_from(schema.command)
        assert connection.execute(count).scalar_one() == 0


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


# -- twice is once ---------------------------------------------------------------------------------


def test_one_key_one_command(desk_on_each: Desk) -> None:
    desk = desk_on_each
    body = {"action": "pump_water", "params": {"durationMs": 3000}}
    headers = {"Idempotency-Key": "water the ferns"}
    answers = []

    def post() -> None:
        answers.append(desk.http.post("/nodes/g1/commands", json=body, headers=headers))

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = {"action": "pump_water", "params": {"durationMs": 4000}}
    refused = desk.http.post("/nodes/g1/commands", json=other, headers=headers)
    assert refused.status_code == 422 and "Idempotency-Key" in refused.text
    desk.caller = Caller("ann", None, frozenset({"read", "command"}))  # has keys of her own
    hers = desk.http.post("/nodes/g1/commands", json=body, headers=headers)
    assert hers.status_code == 201 and hers.json()["caller"] == "ann"
    assert len(desk.device.wait(2)) == 2
    assert len(desk.http.get("/nodes/g1/commands").json()["commands"]) == 2


def test_pages_of_commands(desk: Desk) -> None:
    made = [desk.send("pool", "reboot")["id"] for _ in range(5)]
    found, before = [], ""
    while True:
        page = desk.http.get(f"/nodes/pool/commands?limit=2{before}").json()
        found += [command["id"] for command in page["commands"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert found == made[::-1]
    assert desk.http.get("/nodes/pool/commands?state=done").json()["commands"] == []


# -- ended in between ------------------------------------------------------------------------------


def sending(desk: Desk, key: nodes.NodeKey, action: str, deadline: float) -> dict[str, Any]:
    """A command as a service leaves it that is killed after it stored it."""
    id, now = f"cmd-{time.monotonic_ns()}", time.time()
    row = CommandRow(
        id=id,
        node_id=desk.node(key).id,
        action=action,
        params={},
        state="sending",
        caller="local",
        idempotency=None,
        created=now - 10,
        sent=None,
        accepted=None,
        ended=None,
        deadline=now + deadline,
        timeout_s=11,
        retries=1,
        attempts=1,
        error=None,
        data=None,
    )
    with desk.service.database.writing() as connection:
        assert store.add(connection, desk.service.database, row)
    return {"id": id, "node": desk.node(key).public_id}


def test_what_was_being_sent_is_unknown_and_not_sent_where_it_has_no_id(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    made = Desk(f"sqlite:///{tmp_path}/service.db", mosquitto.port)
    with made.service.database.writing() as connection:
        nodes.register(connection, made.service.database, PLANT, options={}, extras=False)
    plain, named = sending(made, PLANT, "restart", -1), sending(made, POOL, "reboot", -1)
    with made as desk:
        found = desk.until(plain, "failed")
        assert found["error"] == "unknown: whether it was sent is not on record"
        # The other's node knows it by its id: it is waited for, then sent again under the same.
        found = desk.until(named, lambda found: found["attempts"] == 2)
        assert desk.steps(named) == ["sending", "sent", "retried"]
        ((topic, sent),) = desk.device.wait()
        assert topic == "devices/org-123/pool/commands" and sent["command_id"] == named["id"]
        desk.device.answer(named["id"])
        desk.until(named, "done")
        assert len(desk.device.got) == 1


def test_an_answer_tells_that_what_was_being_sent_went_out(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    made = Desk(f"sqlite:///{tmp_path}/service.db", mosquitto.port)
    command = sending(made, POOL, "reboot", 60)
    with made as desk:
        desk.device.answer(command["id"])
        assert desk.until(command, "done")["sent"] is not None


# -- the wind --------------------------------------------------------------------------------------


def blow(desk: Desk, wind: float | None, age_s: float = 0.0, ahead_s: float = 0.0) -> None:
    """A reading of the farm."""
    at = time.time() - age_s
    told = int(at + ahead_s) if ahead_s else None
    quantities = {"soil_moisture": 53.1} | ({} if wind is None else {"wind_speed": wind})
    row = {
        "node_id": desk.node(FARM).id,
        "boot": "b",
        "seq": time.monotonic_ns(),
        "at": moments.moment(told, at),
        "time": told,
        "received": at,
        "quality": None,
        "quantities": quantities,
        "attributes": None,
    }
    with desk.service.database.writing() as connection:
        readings.insert(connection, desk.service.database, schema.reading, [row])


def control(desk: Desk, action: str, value: bool = True) -> Any:
    body = {"farm_id": "farm_001", "action": action, "value": value, "mode": "manual"}
    return desk.http.post("/iot/control", json=body)


def test_the_wind_blocks_fertilization(desk: Desk) -> None:
    """The document: "if wind_speed > 20: raise HTTPException(status_code=403)"."""
    blow(desk, 20.6)
    blow(desk, None)  # the field is optional: the last that has it counts
    answer = control(desk, "fertilization")
    assert answer.status_code == 403
    assert answer.json()["detail"].endswith("is blocked: wind 20.6 km/h is above 20 km/h")
    # By no other way either.
    body = {"action": "fertilization", "params": {"state": 1}}
    assert desk.http.post("/nodes/farm_001/commands", json=body).status_code == 403
    refused = desk.http.get("/nodes/farm_001/commands?state=refused").json()["commands"]
    assert len(refused) == 2 and refused[0]["error"] == "wind 20.6 km/h is above 20 km/h"
    assert desk.device.got == []
    # Off, and water, are always allowed.
    assert control(desk, "fertilization", False).status_code == 201
    assert control(desk, "irrigation").status_code == 201
    blow(desk, 20.0)
    answer = control(desk, "fertilization")
    assert answer.status_code == 201
    sent = [payload for _, payload in desk.device.wait(3)]
    assert [(p["type"], p["device"], p["state"]) for p in sent] == [
        ("ACTUATE", "fertilization", 0),
        ("ACTUATE", "irrigation", 1),
        ("ACTUATE", "fertilization", 1),
    ]


def test_a_wind_nobody_knows_blocks(desk: Desk) -> None:
    answer = control(desk, "fertilization")
    assert answer.status_code == 403 and "the wind is not known" in answer.text
    blow(desk, 3.0, age_s=1000)
    answer = control(desk, "fertilization")
    assert answer.status_code == 403 and "last measured 1000 s ago" in answer.text
    assert desk.device.got == []


def test_a_farm_without_an_anemometer(mosquitto: Mosquitto, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/service.db"
    with Desk(url, mosquitto.port, wind_unknown_blocks=False) as desk:
        assert control(desk, "fertilization").status_code == 201
        blow(desk, 25.0)
        assert control(desk, "fertilization").status_code == 403


@pytest.mark.parametrize("ahead_s", [30, 600, 80 * 365 * 86400])
def test_a_clock_that_is_ahead_hides_no_wind(desk: Desk, ahead_s: float) -> None:
    blow(desk, 3.0, ahead_s=ahead_s)
    blow(desk, 40.0)
    answer = control(desk, "fertilization")
    assert answer.status_code == 403 and "wind 40 km/h" in answer.text
    assert desk.device.got == []


def test_the_wind_of_a_far_ahead_clock_alone_is_not_known(desk: Desk) -> None:
    blow(desk, 3.0, ahead_s=86400)
    answer = control(desk, "fertilization")
    assert answer.status_code == 403 and "the wind is not known" in answer.text


def test_a_reading_that_is_not_stored_blocks_too(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """README's own setting: a farm stores a reading every 30 s."""
    url = f"sqlite:///{tmp_path}/service.db"
    with Desk(url, mosquitto.port, store_every={"farm": 30}) as desk:
        for wind in (3.0, 40.0):
            values = {"moisture": 53.1, "temp": 26.1, "humidity": 41.9, "npk": 389}
            at = format_utc(int(time.time()))
            told = {"farm_id": "farm_001", "timestamp": at, **values, "wind_speed": wind}
            desk.device.say("farm/telemetry", told)
        deadline = time.monotonic() + WAIT_S
        while (last := desk.service.winds.of(desk.node(FARM))) is None or last[1] != 40.0:
            assert time.monotonic() < deadline, last
            time.sleep(0.02)
        answer = control(desk, "fertilization")
        assert answer.status_code == 403 and "wind 40 km/h" in answer.text
        path = f"/nodes/{desk.node(FARM).public_id}/readings"
        assert len(desk.http.get(path).json()["readings"]) == 1


def test_no_attempt_in_a_wind_that_has_risen(desk: Desk) -> None:
    blow(desk, 5.0)
    body = {"action": "fertilization", "params": {"state": 1}, "timeout": SOON_S, "retries": 3}
    command = desk.http.post("/nodes/farm_001/commands", json=body).json()
    blow(desk, 30.0)
    found = desk.until(command, "failed")
    assert found["error"] == "not sent again: wind 30 km/h is above 20 km/h"
    assert len(desk.device.got) == 1


# -- the documents' messages -----------------------------------------------------------------------


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


# -- registering -----------------------------------------------------------------------------------


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
