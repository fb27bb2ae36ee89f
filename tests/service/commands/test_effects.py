"""Commands whose effect a message shows: which message is an answer, and of which commands."""

import json
import time
from typing import Any

import pytest
from service.commands.desk import FARM, LED, PLANT, SOON_S, Desk

from fieldhand.answers import CLOCK_SKEW_S, LATE_EFFECT_S
from fieldhand.service.arrivals import Message
from fieldhand.service.commands.answering import Answering
from fieldhand.service.ingest.writer import NodeTable, Writer
from fieldhand.service.live.hub import Hub
from fieldhand.service.store import nodes
from fieldproto.timestamps import format_utc

HOUR_S = 3600


class Wire:
    """What the nodes say, stored as the ingest does, in this thread: no wait for what is not."""

    def __init__(self, desk: Desk) -> None:
        service = desk.service
        with service.database.writing() as connection:
            for key in (PLANT, LED):
                nodes.register(connection, service.database, key, options={}, extras=False)
        hooks = [Answering(service.database, service.commands)]
        table = NodeTable(service.database, 100)
        self._writer = Writer(service.database, service.settings, table, Hub(), hooks)

    def hear(
        self,
        topic: str,
        *told: dict[str, Any],
        dup: bool = False,
        received: float | None = None,
    ) -> None:
        """Messages, all in one batch."""
        batch = []
        for nth, one in enumerate(told):
            payload = json.dumps(one).encode()
            at = (time.time() if received is None else received) + nth * 1e-5
            batch.append(Message(topic, payload, len(payload), False, dup, at))
        self._writer.write(self._writer.prepare(batch))

    def status(self, at: float | None = None, received: float | None = None, **told: Any) -> None:
        """A farm's STATUS of the time `at`: whole seconds, no id."""
        self.hear("farm/telemetry", status(at, **told), received=received)


def status(at: float | None = None, **told: Any) -> dict[str, Any]:
    stamp = format_utc(int(time.time() if at is None else at))
    return {"type": "STATUS", "farm_id": "farm_001", "timestamp": stamp, **told}


def irrigate(desk: Desk, state: int, **given: Any) -> dict[str, Any]:
    return desk.send(desk.node(FARM).public_id, "irrigation", params={"state": state}, **given)


def states(desk: Desk, commands: list[dict[str, Any]]) -> list[str]:
    return [desk.look(command)["state"] for command in commands]


@pytest.mark.parametrize("wanted", [(1, 1, 1), (1, 0, 1)])
def test_equal_answers_of_one_second_count_each(
    desk_on_each: Desk, wanted: tuple[int, ...]
) -> None:
    desk = desk_on_each
    second = int(time.time())
    for nth, state in enumerate(wanted):
        command = irrigate(desk, state)
        desk.device.wait(nth + 1)
        desk.device.say("farm/telemetry", status(second, irrigation="ON" if state else "OFF"))
        found = desk.until(command, "done")
        assert [answer["data"] for answer in found["answers"]] == [{"irrigation": state}]


def test_an_answer_that_is_delivered_again_is_no_second_one(desk_on_each: Desk) -> None:
    desk = desk_on_each
    wire = Wire(desk)
    told = status(irrigation="ON")
    first = irrigate(desk, 1)
    wire.hear("farm/telemetry", told)
    second = irrigate(desk, 1)
    wire.hear("farm/telemetry", told, dup=True)
    assert states(desk, [first, second]) == ["done", "sent"]
    wire.hear("farm/telemetry", told)
    assert states(desk, [first, second]) == ["done", "done"]


def test_answers_that_were_never_stored_count_when_they_are_delivered_again(desk: Desk) -> None:
    """As after a kill between the delivery and the commit."""
    wire = Wire(desk)
    commands = [desk.send("iotnode:01", "set_led", params={"state": "on"}) for _ in range(2)]
    told = {"ack": "set_led", "result": "done"}
    wire.hear("iot/node/01/status", told, told, dup=True)
    assert states(desk, commands) == ["done", "done"]


def test_one_message_answers_all_that_wanted_what_it_shows(desk_on_each: Desk) -> None:
    desk = desk_on_each
    wire = Wire(desk)
    commands = [irrigate(desk, state) for state in (1, 1, 0, 1)]
    wire.status(irrigation="ON")
    assert states(desk, commands) == ["done", "done", "sent", "sent"]
    wire.status(irrigation="OFF")
    wire.status(irrigation="ON")
    assert states(desk, commands) == ["done"] * 4


def test_what_was_before_the_command_does_not_show_its_effect(desk: Desk) -> None:
    wire = Wire(desk)
    command = irrigate(desk, 1)
    asked = command["created"]
    wire.status(at=asked - HOUR_S, irrigation="ON")
    wire.status(received=asked - 0.5, irrigation="ON")  # it waited for the ingest
    assert states(desk, [command]) == ["sent"]
    wire.status(at=asked - CLOCK_SKEW_S + 1, irrigation="ON")
    assert states(desk, [command]) == ["done"]


@pytest.mark.parametrize("at", [None, 946_684_800], ids=["no time", "a clock at its 2000-01-01"])
def test_without_a_time_to_believe_the_arrival_counts(desk: Desk, at: int | None) -> None:
    wire = Wire(desk)
    command = irrigate(desk, 1)
    told = status(at, irrigation="ON")
    if at is None:
        del told["timestamp"]
    wire.hear("farm/telemetry", told)
    assert states(desk, [command]) == ["done"]


def test_a_backlog_does_not_answer_send_now(desk: Desk) -> None:
    wire = Wire(desk)
    command = desk.send("g1", "send_now")
    reading = {"temperatureC": 21.5}
    now = int(command["created"])
    wire.hear("devices/g1/data", {**reading, "ts": now - 2 * HOUR_S})
    assert states(desk, [command]) == ["sent"]
    wire.hear("devices/g1/data", {**reading, "ts": now})
    assert states(desk, [command]) == ["done"]


def test_an_effect_after_the_time_limit_is_a_late_answer_once(desk_on_each: Desk) -> None:
    desk = desk_on_each
    wire = Wire(desk)
    command = irrigate(desk, 1, timeout=SOON_S, retries=0)
    ended = desk.until(command, "timeout")["ended"]
    wire.status(irrigation="OFF")
    wire.status(received=ended + LATE_EFFECT_S + 1, irrigation="ON")
    assert desk.look(command)["answers"] == []
    both = [status(irrigation="ON")] * 2
    wire.hear("farm/telemetry", *both)
    wire.hear("farm/telemetry", *both)
    (answer,) = desk.look(command)["answers"]
    assert answer["late"] and answer["data"] == {"irrigation": 1}
    assert desk.look(command)["state"] == "timeout"
    assert desk.steps(command) == ["sending", "sent", "timeout", "late"]


def test_an_effect_is_no_late_answer_where_something_was_asked_since(desk: Desk) -> None:
    wire = Wire(desk)
    command = irrigate(desk, 1, timeout=SOON_S, retries=0)
    desk.until(command, "timeout")
    since = irrigate(desk, 0)
    wire.status(irrigation="ON")
    assert desk.look(command)["answers"] == desk.look(since)["answers"] == []
