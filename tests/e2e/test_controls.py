"""Nodes that act by themselves: a simulated pool is dosed, a simulated plant watered, offline."""

from datetime import UTC, datetime

from e2e.nodes import Backend, example, running
from mosquitto import Mosquitto

ACID_PIN, PUMP_PIN = 18, 26


def test_a_pool_is_dosed_down_to_the_target_a_command_sets(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    config = example("pool", own_mosquitto.port, alerts={}, interval_ms=2000)
    for actuator in config["actuators"]:
        if actuator["name"] == "acid":
            actuator["flow_ml_per_s"] = 60.0  # the world's pool: 400 ml for a pH of 1
    for loop in config["dosing"]:
        loop.update(dose_s=1, mix_s=4)
    with running(own_mosquitto.port, config) as (node,):
        node.world.ph = 7.8
        heard.wait("devices/org-123/pool/telemetry")
        assert node.pins[ACID_PIN] == 0
        command = {
            "command_id": "t-1",
            "device_id": "pool",
            "command": "set_ph_target",
            "parameters": {"target_ph": 7.4},
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        mark = heard.mark()
        heard.publish("devices/org-123/pool/commands", command)
        answer = heard.wait("devices/org-123/pool/command_response", since=mark)
        assert answer["success"] is True and answer["response"] == {"target_ph": 7.4}
        node.wait_pin(ACID_PIN, 1)
        node.wait_pin(ACID_PIN, 0)
        heard.wait(
            "devices/org-123/pool/telemetry",
            lambda obj: obj["sensors"]["ph"] <= 7.5,
            mark,
            timeout=60,
        )
        # 60 ml a dose are 0.15: three doses take 7.8 within 0.1 of the target, a fourth is too many
        at = heard.mark()
        heard.wait("devices/org-123/pool/telemetry", since=at)
        assert 7.25 <= node.world.ph < 7.55


def test_dry_soil_is_watered_while_the_broker_is_away(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    config = example("greenhouse", own_mosquitto.port)
    config["schedules"][0].update(below=30, run_s=2, every_s=60)
    with running(own_mosquitto.port, config) as (node,):
        heard.wait("devices/greenhouse/data")
        node.faults.wifi("lost")
        node.world.soil_moisture = 20.0
        node.wait_pin(PUMP_PIN, 1)
        node.wait_pin(PUMP_PIN, 0)
        mark = heard.mark()
        node.faults.wifi("ok")
        run = heard.wait(
            "devices/greenhouse/status",
            lambda obj: obj.get("_fh", {}).get("event", {}).get("event") == "run",
            mark,
            timeout=60,
        )["_fh"]["event"]
        assert (run["actuator"], run["by"], run["reason"]) == ("pump", "schedule", "done")
        assert 1900 <= run["ran_ms"] <= 2100
        assert node.world.soil_moisture > 20.5  # 2 s of 25 ml/s into 2000 ml
