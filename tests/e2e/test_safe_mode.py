"""What a node does that crashes, hangs or finds its files damaged, seen from a backend."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from e2e.nodes import Backend, example, running
from mosquitto import Mosquitto

STATUS = "devices/greenhouse/status"
COMMAND = "devices/greenhouse/command"
# The real firmware with a fault in a driver: a value that no reading can hold.
CRASHING = """
from fieldnode import crashes, start
from fieldnode.sensors import dht
def read(self):
    raise RuntimeError("injected")
dht.Dht.read = read
crashes.PAUSE_MS = 100
start.main()
"""
# And with a loop that hangs, two seconds after the start.
HANGING = """
from fieldnode import start, sampler
from time import ticks_ms, sleep_ms
begun = ticks_ms()
step = sampler.Sampler.step
def hang(self):
    while ticks_ms() - begun > 2000:
        sleep_ms(100)
    return step(self)
sampler.Sampler.step = hang
start.main()
"""


def also(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda obj: obj.get("_fh", {}).get("also", {}).get(key)


def event(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda obj: obj.get("_fh", {}).get("event", {}).get("event") == name


def answer(obj: dict[str, Any]) -> Any:
    return obj.get("_fh", {}).get("ack")


def test_after_three_crashes_the_node_is_reachable_and_moves_nothing(
    own_mosquitto: Mosquitto, heard: Backend, by_name: str
) -> None:
    port = own_mosquitto.port
    files = {"main.py": CRASHING}
    with running(port, example("greenhouse", port), files=files, heap=by_name) as (node,):
        safe = heard.wait(STATUS, also("safe_mode"), timeout=60)
        assert safe["_fh"]["also"]["crashes"] == 3 and node.restart_count == 3
        assert safe["_fh"]["also"]["reset_cause"] == "crash"
        crash = heard.wait(
            STATUS, lambda obj: event("crash")(obj) and obj["_fh"]["event"]["count"] == 3
        )
        traceback = crash["_fh"]["event"]["traceback"]
        assert "RuntimeError: injected" in traceback and "main.py" in traceback
        # It holds, though it has the same sensors in node.json.
        heard.publish(COMMAND, {"action": "pump_water", "durationMs": 2000})
        refusal = heard.wait(STATUS, answer)["_fh"]["ack"]
        assert refusal["state"] == "failed" and refusal["error"] == "safe mode"
        assert node.pins[26] == 0
        heard.publish(COMMAND, {"action": "set_interval", "intervalMs": 2000})
        heard.wait(STATUS, also("safe_mode"), heard.mark())
        assert node.restart_count == 3
        # Mended, as by an update; a restart ends safe mode.
        (node.flash / "main.py").write_text("from fieldnode import start\nstart.main()\n")
        heard.publish(COMMAND, {"action": "restart"})
        reading = heard.wait("devices/greenhouse/data", since=heard.mark())
        assert "temperatureC" in reading
        status = heard.wait(STATUS, lambda obj: not also("safe_mode")(obj), heard.mark())
        assert status["_fh"]["also"]["interval_ms"] == 2000


def test_a_hang_ends_in_the_watchdog_and_is_told(
    own_mosquitto: Mosquitto, heard: Backend, by_name: str
) -> None:
    port = own_mosquitto.port
    config = example("greenhouse", port, watchdog_ms=5000)
    with running(port, config, files={"main.py": HANGING}, heap=by_name) as (node,):
        node.wait(lambda: node.restart_count == 1, 30, "bite of the watchdog")
        (node.flash / "main.py").write_text("from fieldnode import start\nstart.main()\n")
        told = heard.wait(STATUS, event("crash"))
        assert "hung" in told["_fh"]["event"]["traceback"]
        assert told["_fh"]["event"]["count"] == 1
        status = heard.wait(STATUS, also("crashes"))
        assert status["_fh"]["also"]["reset_cause"] == "watchdog"


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff" * 700, b'{"version": 1, "node": "green', b'{"version": 1}', None],
    ids=["empty", "erased", "half", "without a broker", "gone"],
)
def test_a_damaged_node_json_leaves_a_node_that_can_be_reached(
    own_mosquitto: Mosquitto, heard: Backend, damage: bytes | None
) -> None:
    port = own_mosquitto.port
    config = example("greenhouse", port)
    config["actuators"][0]["active_low"] = True
    with running(port, config) as (node,):
        heard.wait(STATUS)
        node.wait(lambda: b"broker" in node.nvs["fieldhand"].get("backup", b""), 30, "backup")
        node.stop()
        place = node.flash / "node.json"
        if damage is None:
            place.unlink()
        else:
            place.write_bytes(damage)
        (node.flash / "settings.json.new").write_bytes(b'{"inter')  # of a write cut short
        mark = heard.mark()
        node.start()
        status = heard.wait(STATUS, also("config_error"), mark)
        assert "node.json" in status["_fh"]["also"]["config_error"]
        assert not (node.flash / "settings.json.new").exists()
        assert node.pins[26] == 1, "an active-low output is not off"
        heard.publish(COMMAND, {"action": "pump_water", "durationMs": 2000})
        assert heard.wait(STATUS, answer, mark)["_fh"]["ack"]["state"] == "failed"
        heard.publish(COMMAND, {"action": "set_interval", "intervalMs": 7000})
        heard.wait(STATUS, lambda obj: also("interval_ms")(obj) == 7000, mark)
        # Put right with a cable, it is as before.
        place.write_text(json.dumps(node.config))
        heard.publish(COMMAND, {"action": "restart"})
        heard.wait("devices/greenhouse/data", since=heard.mark())


def test_damaged_settings_are_dropped_and_the_drop_is_told(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    port = own_mosquitto.port
    files = {"settings.json": b'{"interval_ms": 20\x00\x00'}
    with running(port, example("greenhouse", port), files=files) as (node,):
        told = heard.wait(STATUS, event("repaired"))
        assert told["_fh"]["event"]["what"] == "settings.json"
        assert not (node.flash / "settings.json").exists()
        mark = heard.mark()
        node.stop()
        node.start()
        heard.wait("devices/greenhouse/data", since=mark)
        time.sleep(1)
        # At least once: a power cut right after may bring it again, by boot and number the same.
        told_again = [obj["_fh"]["event"] for obj in heard.all(STATUS) if event("repaired")(obj)]
        assert len({(e.get("boot"), e["n"]) for e in told_again}) == 1


def test_the_status_says_how_the_node_is_doing(own_mosquitto: Mosquitto, heard: Backend) -> None:
    port = own_mosquitto.port
    with running(port, example("greenhouse", port)):
        heard.wait(STATUS)
        health = heard.wait(STATUS, also("loop_ms"), heard.mark())["_fh"]["also"]
        for name in ("free_memory", "largest_block", "queued", "dropped", "uptime", "flash_bytes"):
            assert isinstance(health[name], int), name
        assert health["largest_block"] == 65536 and 0 < health["loop_ms"] < 60000
        assert health["reset_cause"] == "power"
