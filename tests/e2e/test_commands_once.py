"""Commands against Mosquitto: at least once on the wire, once in effect, whatever fails between."""

import json
import time
from typing import Any

import pytest
from e2e.nodes import Backend, example, running
from mosquitto import Mosquitto

from fieldhand import Fleet
from fieldproto.timestamps import format_utc

PLANT = "devices/greenhouse/"
POOL = "devices/org-123/pool/"


def persistent(name: str, port: int) -> dict[str, Any]:
    config = example(name, port)
    config["broker"]["clean_session"] = False
    return config


def ack_of(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj.get("_fh", {}).get("ack", {})
    return found


def acks(heard: Backend, since: int = 0) -> list[dict[str, Any]]:
    return [ack_of(obj) for obj in heard.all(PLANT + "status", since) if ack_of(obj)]


def reading_after(heard: Backend, topic: str, since: int, seq: int = 3) -> None:
    heard.wait(topic, lambda obj: obj["_fh"]["seq"] >= seq, since)


@pytest.mark.parametrize("with_id", [True, False], ids=["with an id", "without"])
def test_a_restart_on_a_persistent_session_restarts_once(
    own_mosquitto: Mosquitto, heard: Backend, with_id: bool
) -> None:
    command: dict[str, Any] = {"action": "restart"}
    if with_id:
        command["_fh"] = {"id": "r-1"}
    with running(own_mosquitto.port, persistent("greenhouse", own_mosquitto.port)) as (node,):
        heard.wait(PLANT + "data")
        mark = heard.mark()
        heard.publish(PLANT + "command", command)
        answer = heard.wait(PLANT + "status", ack_of, mark)
        assert ack_of(answer)["state"] == "done" and node.restart_count == 0
        born = heard.wait(
            PLANT + "status",
            lambda obj: obj.get("_fh", {}).get("also", {}).get("reset_cause") == "restart",
            mark,
        )
        boot = born["_fh"]["boot"]
        heard.wait(PLANT + "data", lambda obj: obj["_fh"]["boot"] == boot, mark)
        mark = heard.mark()
        if with_id:  # the sender tries again: it hears the same, and nothing happens
            heard.publish(PLANT + "command", command)
            again = heard.wait(PLANT + "status", ack_of, mark)
            assert ack_of(again)["state"] == "done" and ack_of(again)["id"] == "r-1"
        time.sleep(4)  # a restart waits 3 s for its answer
        reading_after(heard, PLANT + "data", mark)
        assert node.restart_count == 1
        assert len(acks(heard)) == (2 if with_id else 1)


def test_a_run_that_a_power_cut_ended_is_not_begun_again(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    command = {"action": "pump_water", "durationMs": 60000, "_fh": {"id": "w-1"}}
    with running(own_mosquitto.port, persistent("greenhouse", own_mosquitto.port)) as (node,):
        heard.wait(PLANT + "data")
        heard.publish(PLANT + "command", command)
        node.wait_pin(26, 1, 10)
        heard.wait(PLANT + "status", lambda obj: ack_of(obj).get("state") == "accepted")
        node.power_cut()
        mark = heard.mark()
        node.power_on()
        for _ in range(2):  # by itself, then to who tries again
            told = ack_of(
                heard.wait(PLANT + "status", lambda obj: ack_of(obj).get("id") == "w-1", mark)
            )
            assert told["state"] == "failed" and "power" in told["error"]
            mark = heard.mark()
            heard.publish(PLANT + "command", command)
        heard.wait(PLANT + "status", lambda obj: ack_of(obj).get("id") == "w-1", mark)
        assert node.pins[26] == 0


def test_a_command_of_hours_ago_moves_nothing(own_mosquitto: Mosquitto, heard: Backend) -> None:
    """Dialects without a time: the broker keeps nothing, as the session is a clean one."""
    with running(own_mosquitto.port, example("greenhouse", own_mosquitto.port)) as (node,):
        heard.wait(PLANT + "data")
        node.power_cut()
        heard.publish(PLANT + "command", {"action": "pump_water", "durationMs": 60000})
        mark = heard.mark()
        node.power_on()
        reading_after(heard, PLANT + "data", mark)
        assert node.pins[26] == 0 and acks(heard) == []


def test_what_the_broker_kept_is_carried_out_while_it_is_fresh(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    """A persistent session and a dialect with a time in the command."""

    def dose(id: str, age_s: int) -> dict[str, Any]:
        when = format_utc(int(time.time()) - age_s)
        command = {"command_id": id, "device_id": "pool", "command": "set_ph_target"}
        return {**command, "parameters": {"target_ph": 7.3}, "timestamp": when}

    with running(own_mosquitto.port, persistent("pool", own_mosquitto.port)) as (node,):
        heard.wait(POOL + "telemetry")
        node.power_cut()
        heard.publish(POOL + "commands", dose("stale", 3600))
        heard.publish(POOL + "commands", dose("fresh", 5))
        mark = heard.mark()
        node.power_on()
        stale = heard.wait(
            POOL + "command_response", lambda obj: obj["command_id"] == "stale", mark
        )
        assert stale["success"] is False and "expired" in stale["error"]
        fresh = heard.wait(
            POOL + "command_response", lambda obj: obj["command_id"] == "fresh", mark
        )
        assert "expired" not in (fresh.get("error") or "")


def test_a_keepalive_told_is_tried_at_once(own_mosquitto: Mosquitto, heard: Backend) -> None:
    with running(own_mosquitto.port, example("pool", own_mosquitto.port)) as (node,):
        heard.wait(POOL + "telemetry")
        told = {"device_id": "pool", "config": {"mqtt_keepalive": 7}}
        assert "k7)" not in own_mosquitto.log
        heard.publish(POOL + "config", {**told, "timestamp": format_utc(int(time.time()))})
        node.wait(lambda: "k7)" in own_mosquitto.log, 20, "connection with the new keepalive")
        mark = heard.mark()
        birth = heard.wait(POOL + "status", since=mark)
        assert birth["status"] != "offline" and birth["_fh"]["also"]["outages"] == 0
        assert node.restart_count == 0
        kept = json.loads((node.flash / "settings.json").read_text())
        assert kept["keepalive_s"] == 7 and kept["trial"]["old"] == {"keepalive_s": None}


def test_an_answer_in_a_status_that_was_kept_is_not_heard_as_new(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    config = example("01", own_mosquitto.port, status_interval_ms=60000)
    with running(own_mosquitto.port, config):
        heard.wait("iot/node/01/telemetry")
        led = {"command": "set_led", "params": {"state": "on"}}
        heard.publish("iot/node/01/command", led)
        heard.wait("iot/node/01/status", lambda obj: obj.get("ack") == "set_led")
        fleet = Fleet(broker=("127.0.0.1", own_mosquitto.port), dialects=["iotnode"])
        statuses = fleet.statuses(timeout=20)  # before it connects: what is retained comes at once
        with fleet:
            kept = next(statuses)
            assert kept.retained and kept.values.get("led") == 1
            assert fleet.counts.replies == 0
            done = fleet.send("01", "set_led", state="off", retries=1).wait(20)
            assert done == "done" and fleet.counts.replies == 1
