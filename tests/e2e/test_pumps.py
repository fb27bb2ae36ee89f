"""Pumps of the real firmware: what ends a run, and that the backend is told."""

from typing import Any

from e2e.nodes import Backend, example, running
from mosquitto import Mosquitto

PIN = 26
STATUS = "devices/greenhouse/status"
COMMAND = "devices/greenhouse/command"
HEAP = "300k"  # room for a meter beside all the example has; these tests are not of the heap
METER = {"type": "pulse", "quantity": "flow_rate", "pin": 25, "pulses_per_litre": 450}


def greenhouse(port: int, metered: bool = False, **pump: Any) -> dict[str, Any]:
    config = example("greenhouse", port, schedules=[], alerts={})
    config["actuators"][0].update(pump)
    if metered:
        config["sensors"].append(dict(METER))
        config["actuators"][0]["flow_meter"] = METER["pin"]
    return config


def extra(heard: Backend, key: str, since: int, **wanted: Any) -> dict[str, Any]:
    """The first `_fh.<key>` from `since` on that has these values."""

    def found(obj: dict[str, Any]) -> bool:
        part = obj.get("_fh", {}).get(key, {})
        return bool(part) and all(part.get(name) == value for name, value in wanted.items())

    part: dict[str, Any] = heard.wait(STATUS, found, since, timeout=40)["_fh"][key]
    return part


def water(heard: Backend, **amount: int) -> int:
    """Command a run; where in the messages to look for what comes of it."""
    heard.wait("devices/greenhouse/data")
    mark = heard.mark()
    heard.publish(COMMAND, {"action": "pump_water", **amount})
    return mark


def test_an_amount_ends_when_the_flow_meter_has_seen_it(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    config = greenhouse(own_mosquitto.port, True, flow_ml_per_s=15.0)
    with running(own_mosquitto.port, config, heap=HEAP) as (node,):
        node.wiring.outputs[PIN].rate = 25.0
        node.board.world.attach((id(node.board), PIN), "water", 25.0)  # a third over calibration
        mark = water(heard, amountMl=100)
        run = extra(heard, "event", mark, event="run")
        assert run["reason"] == "done" and run["by"] == "command"
        assert 100 <= run["amount_ml"] <= 130  # a pulse is 2.2 ml; the loop looks every 50 ms
        assert abs(node.world.pumped_ml - run["amount_ml"]) < 40


def test_a_dry_pump_is_off_and_tells(own_mosquitto: Mosquitto, heard: Backend) -> None:
    config = greenhouse(own_mosquitto.port, True, dry_run_s=1)
    with running(own_mosquitto.port, config, heap=HEAP) as (node,):
        node.world.tank_ml = 0
        mark = water(heard, durationMs=60000)
        node.wait_pin(PIN, 1)
        node.wait_pin(PIN, 0)
        assert extra(heard, "event", mark, event="run")["reason"] == "dry run"
        assert extra(heard, "alert", mark, severity="critical")["message"] == (
            "pump ran dry: no flow"
        )
        assert extra(heard, "ack", mark, state="failed")["error"] == "dry run"


def test_a_stuck_relay_is_reported(own_mosquitto: Mosquitto, heard: Backend) -> None:
    config = greenhouse(own_mosquitto.port, True, leak_ml=20)
    with running(own_mosquitto.port, config, heap=HEAP) as (node,):
        heard.wait("devices/greenhouse/data")
        mark = heard.mark()
        node.faults.relay("pump", "stuck")
        message = extra(heard, "alert", mark, severity="critical", state="raised")["message"]
        assert "stuck" in message and node.pins[PIN] == 0


def test_a_lost_link_ends_a_commanded_run(own_mosquitto: Mosquitto, heard: Backend) -> None:
    config = greenhouse(own_mosquitto.port, link_grace_s=1)
    with running(own_mosquitto.port, config, heap=HEAP) as (node,):
        mark = water(heard, durationMs=60000)
        node.wait_pin(PIN, 1)
        node.faults.wifi("lost")
        node.wait_pin(PIN, 0, timeout=30)
        node.faults.wifi("ok")
        run = extra(heard, "event", mark, event="run")
        assert run["reason"] == "link lost" and run["ran_ms"] < 40000


def test_a_power_cut_in_a_run_is_told_and_charged(own_mosquitto: Mosquitto, heard: Backend) -> None:
    config = greenhouse(own_mosquitto.port, daily_run_s=70)
    with running(own_mosquitto.port, config, heap=HEAP) as (node,):
        mark = water(heard, durationMs=60000)
        node.wait_pin(PIN, 1)
        node.power_cut()
        node.power_on()
        run = extra(heard, "event", mark, event="run")
        assert (run["reason"], run["by"], run["lease_ms"]) == ("power", "command", 60000)
        # All of its 60 s are charged: 10 are left of the 70.
        mark = water(heard, durationMs=60000)
        run = extra(heard, "event", mark, event="run")
        assert run["reason"] == "budget" and 9900 <= run["ran_ms"] <= 10100
