"""The life of a command, with a broker, a database and a device that answers as the test says."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mosquitto import Mosquitto
from service.commands.desk import (
    LED,
    PLANT,
    POOL,
    SOON_S,
    Desk,
)

from fieldhand.service.api.deps import Caller
from fieldhand.service.store import commands as store
from fieldhand.service.store import nodes, retention, schema
from fieldhand.service.store.commands import CommandRow


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
    desk.device.wait(1)  # or the next test gets it


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
    desk.device.wait(2)
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
