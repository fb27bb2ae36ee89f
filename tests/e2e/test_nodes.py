"""The real firmware against Mosquitto, seen from the other side: what a backend gets and sends."""

import json
import subprocess
import time
from typing import Any

import paho.mqtt.subscribe
import pytest
from e2e.nodes import EXAMPLES, Backend, backend, example, running
from mosquitto import Mosquitto

from fieldproto import dialects
from fieldproto.timestamps import format_utc

OPTIONS: dict[str, dict[str, Any]] = {"dese": {"org": "org-123"}, "solar": {"company": "acme"}}
TELEMETRY = {
    "greenhouse": "devices/greenhouse/data",
    "panel-7": "company/acme/machine/panel-7/telemetry",
    "pool": "devices/org-123/pool/telemetry",
    "01": "iot/node/01/telemetry",
    "farm_001": "farm/telemetry",
}
STATUS = {
    "greenhouse": "devices/greenhouse/status",
    "panel-7": "company/acme/machine/panel-7/status",
    "pool": "devices/org-123/pool/status",
    "01": "iot/node/01/status",
}


@pytest.mark.parametrize("extras", [True, False], ids=["extras", "to the letter"])
def test_every_dialect_reports_and_announces_itself(
    own_mosquitto: Mosquitto, heard: Backend, extras: bool
) -> None:
    port = own_mosquitto.port
    with running(port, *(example(name, port, extras=extras) for name in EXAMPLES)):
        for name, topic in TELEMETRY.items():
            payload = heard.wait(topic)
            assert ("_fh" in payload) is extras
            dialect = dialects.load(EXAMPLES[name], OPTIONS.get(EXAMPLES[name], {}))
            (record,) = dialect.decode(topic, json.dumps(payload).encode())
            assert record.kind == "reading" and record.node == name
        for name, topic in STATUS.items():
            heard.wait(topic)
            kept = paho.mqtt.subscribe.simple(topic, port=port, retained=True)
            assert kept.retain, f"the status of {name} is not retained"
    assert not [
        topic
        for topic, _, _ in heard.messages
        if topic not in {*TELEMETRY.values(), *STATUS.values()}
    ]


def test_a_vanished_node_gets_its_will_and_comes_back_whole(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    port = own_mosquitto.port
    with running(port, example("pool", port)) as (node,):
        heard.wait(TELEMETRY["pool"])
        mark = heard.mark()
        node.faults.wifi("lost")
        will = heard.wait(STATUS["pool"], lambda obj: obj["status"] == "offline", mark)
        assert will["firmware_version"] and will["timestamp"]
        node.faults.wifi("ok")
        birth = heard.wait(STATUS["pool"], lambda obj: obj["status"] != "offline", mark)
        assert birth["_fh"]["also"]["outages"] == 1
        queued = birth["_fh"]["also"]["queued"]
        assert queued >= 3
        heard.wait(TELEMETRY["pool"], lambda obj: obj["_fh"]["seq"] > queued + 5, mark)
    numbers = [obj["_fh"]["seq"] for obj in heard.all(TELEMETRY["pool"])]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))


def test_a_broker_that_dies_and_returns_misses_nothing(own_mosquitto: Mosquitto) -> None:
    port = own_mosquitto.port
    with running(port, example("greenhouse", port)) as (node,):
        with backend(port) as before:
            before.wait(TELEMETRY["greenhouse"])
            own_mosquitto.kill()
        time.sleep(3)
        own_mosquitto.start()
        with backend(port) as after:
            back = after.wait(
                STATUS["greenhouse"], lambda obj: obj.get("_fh", {}).get("also", {}).get("outages")
            )
            assert back["_fh"]["also"]["queued"] >= 1
            first = min(
                obj["_fh"]["seq"]
                for obj in after.all(TELEMETRY["greenhouse"])
                or [after.wait(TELEMETRY["greenhouse"])]
            )
            last = max(obj["_fh"]["seq"] for obj in before.all(TELEMETRY["greenhouse"]))
            assert first <= last + 1


def test_a_power_cut_drops_the_relay_and_the_run_is_not_resumed(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    port = own_mosquitto.port
    with running(port, example("greenhouse", port)) as (node,):
        heard.wait(TELEMETRY["greenhouse"])
        heard.publish("devices/greenhouse/command", {"action": "pump_water", "durationMs": 60000})
        node.wait_pin(26, 1, 10)
        node.power_cut()
        assert node.pins[26] == 0
        mark = heard.mark()
        node.power_on()
        birth = heard.wait(STATUS["greenhouse"], lambda obj: obj["status"] == "online", mark)
        assert birth["_fh"]["also"]["reset_cause"] == "power"
        assert node.pins[26] == 0


def test_bad_messages_are_refused_and_the_next_good_one_works(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    port = own_mosquitto.port
    topic = "devices/greenhouse/command"
    bad = [
        b"not json",
        b"\xff\xfe\x00",
        b"",
        b"[]",
        b"{}",
        b'{"action": 5}',
        b'{"action": "pump_water"}',
        b'{"action": "pump_water", "durationMs": "3000"}',
        b'{"action": "pump_water", "durationMs": NaN}',
        b'{"action": "pump_water", "durationMs": 3000, "colour": "red"}',
        b'{"action": "pump_water", "durationMs": 99999999}',
        b"[" * 1500,
        b'{"action": "' + b"x" * 100_000 + b'"}',
    ]
    with running(port, example("greenhouse", port)) as (node,):
        heard.wait(TELEMETRY["greenhouse"])
        for payload in bad:
            heard.publish(topic, payload)
        mark = heard.mark()
        heard.publish(topic, {"action": "pump_water", "durationMs": 200})
        done = heard.wait(
            STATUS["greenhouse"],
            lambda obj: obj.get("_fh", {}).get("ack", {}).get("state") == "done",
            mark,
        )
        assert done["_fh"]["ack"]["data"]["ran_ms"] == 200
        status = heard.wait(
            STATUS["greenhouse"], lambda obj: obj["_fh"].get("also", {}).get("refused", 0) >= 10
        )
        assert node.restart_count == 0 and status["_fh"]["also"]["outages"] == 0
        assert not [line for line in node.console.lines() if "Traceback" in line]


def test_a_retained_command_does_not_water_at_reconnect(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    port = own_mosquitto.port
    command = {"action": "pump_water", "durationMs": 30000}
    heard.publish("devices/greenhouse/command", command, retain=True)
    with running(port, example("greenhouse", port)) as (node,):
        refusal = heard.wait(STATUS["greenhouse"], lambda obj: "ack" in obj.get("_fh", {}))
        assert "retained" in refusal["_fh"]["ack"]["error"]
        assert node.pins[26] == 0


def test_a_restart_restarts_once_and_is_answered_before(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    port = own_mosquitto.port
    config = example("pool", port)
    config["broker"]["clean_session"] = False
    with running(port, config) as (node,):
        boot = heard.wait(TELEMETRY["pool"])["_fh"]["boot"]
        command = {
            "command_id": "r1",
            "device_id": "pool",
            "command": "reboot",
            "timestamp": format_utc(int(time.time())),
        }
        heard.publish("devices/org-123/pool/commands", command)
        answer = heard.wait("devices/org-123/pool/command_response")
        assert answer["command_id"] == "r1" and answer["success"] is True
        heard.wait(TELEMETRY["pool"], lambda obj: obj["_fh"]["boot"] != boot)
        heard.wait(
            TELEMETRY["pool"], lambda obj: obj["_fh"]["boot"] != boot and obj["_fh"]["seq"] > 4
        )
        assert node.restart_count == 1
        assert len(heard.all("devices/org-123/pool/command_response")) == 1


def test_a_node_json_with_a_fault_moves_nothing_and_says_why(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    port = own_mosquitto.port
    config = example("greenhouse", port)
    config["actuators"][0]["max_run_s"] = "sixty"
    with running(port, config) as (node,):
        status = heard.wait(STATUS["greenhouse"])
        error = status["_fh"]["also"]["config_error"]
        assert "actuators[0].max_run_s" in error and "string" in error
        assert node.console.lines() and any("max_run_s" in line for line in node.console.lines())
        heard.publish("devices/greenhouse/command", {"action": "pump_water", "durationMs": 2000})
        refusal = heard.wait(STATUS["greenhouse"], lambda obj: "ack" in obj["_fh"])
        assert refusal["_fh"]["ack"]["state"] == "failed"
        assert node.pins[26] == 0


@pytest.mark.parametrize(
    ("part", "entry", "word"),
    [
        ("actuators", {"name": "valve", "pin": 24, "max_run_s": 5}, "pin"),
        ("sensors", {"type": "dht22", "pin": 34}, "sensors[3]"),
    ],
)
def test_what_the_chip_cannot_do_stops_the_whole_node(
    own_mosquitto: Mosquitto, heard: Backend, part: str, entry: dict[str, Any], word: str
) -> None:
    config = example("greenhouse", own_mosquitto.port)
    if part == "sensors":
        entry = {**entry, "only": ["air_temperature"]}
        config["sensors"][0]["only"] = ["relative_humidity"]
    config[part].append(entry)
    with running(own_mosquitto.port, config) as (node,):
        status = heard.wait(STATUS["greenhouse"])
        assert word in status["_fh"]["also"]["config_error"]
        heard.publish("devices/greenhouse/command", {"action": "pump_water", "durationMs": 2000})
        refusal = heard.wait(STATUS["greenhouse"], lambda obj: "ack" in obj["_fh"])
        assert refusal["_fh"]["ack"]["state"] == "failed" and node.pins[26] == 0


def test_a_sensor_that_fails_is_named_and_recovers(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    port = own_mosquitto.port
    with running(port, example("greenhouse", port)) as (node,):
        heard.wait(TELEMETRY["greenhouse"], lambda obj: "temperatureC" in obj)
        node.faults.sensor("dht")
        mark = heard.mark()
        without = heard.wait(TELEMETRY["greenhouse"], lambda obj: "temperatureC" not in obj, mark)
        assert "luminosityPct" in without
        status = heard.wait(
            STATUS["greenhouse"], lambda obj: "sensor_error" in obj["_fh"].get("also", {}), mark
        )
        assert "dht22@4" in status["_fh"]["also"]["sensor_error"]
        node.faults.sensor("dht", fail=False)
        heard.wait(TELEMETRY["greenhouse"], lambda obj: "temperatureC" in obj, heard.mark())


def test_a_person_with_mosquitto_pub_and_sub(own_mosquitto: Mosquitto) -> None:
    """The commands of the README's "without our host", with nothing of ours on the other side."""
    port = str(own_mosquitto.port)
    with running(own_mosquitto.port, example("farm_001", own_mosquitto.port)) as (node,):
        listen = ["mosquitto_sub", "-p", port, "-t", "farm/telemetry", "-C", "1", "-W", "20"]
        reading = json.loads(subprocess.check_output(listen))
        assert {"farm_id", "timestamp", "moisture", "temp", "humidity", "npk"} <= set(reading)
        answers = subprocess.Popen(
            ["mosquitto_sub", "-p", port, "-t", "farm/telemetry", "-C", "6", "-W", "20"],
            stdout=subprocess.PIPE,
        )
        time.sleep(0.3)
        command = json.dumps(
            {
                "type": "ACTUATE",
                "device": "irrigation",
                "state": 1,
                "timestamp": format_utc(int(time.time())),
            }
        )
        topic = "farm/farm_001/commands"
        subprocess.check_call(["mosquitto_pub", "-p", port, "-t", topic, "-q", "1", "-m", command])
        output, _ = answers.communicate(timeout=30)
        said = [json.loads(line) for line in output.splitlines()]
        (status,) = [obj for obj in said if obj.get("type") == "STATUS"]
        assert status["irrigation"] == "ON" and status["farm_id"] == "farm_001"
        assert node.pins[18] == 1
