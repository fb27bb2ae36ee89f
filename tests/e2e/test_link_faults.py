"""Faults of the link on real sockets: real firmware, Mosquitto, and a wire that misbehaves between.

Those that take longer than a test may, and every deadline, are in tests/firmware/test_link_faults.
"""

import time
from typing import Any

import pytest
from e2e.nodes import Backend, example, running
from mosquitto import Mosquitto

from fieldhand.sim.node import Node

TELEMETRY = "devices/greenhouse/data"
STATUS = "devices/greenhouse/status"
COMMAND = "devices/greenhouse/command"
PUMP = 26
RUN_MS = 3000

# What the simulator does, for how long (s), and what the node says it was (None: no outage).
FAULTS: dict[str, tuple[tuple[str, str], float, str | None]] = {
    "nothing passes, nothing is reset": (("broker", "blackhole"), 4, None),
    "radio up, nothing passes": (("wifi", "zombie"), 4, None),
    "resets": (("broker", "reset"), 4, "ECONN"),
    "closed between CONNECT and CONNACK": (("broker", "hangup"), 4, "closed by the other side"),
    "refused": (("broker", "refuse"), 4, "closed by the other side"),
    "200 kB of garbage": (("broker", "garbage"), 4, "broker sent"),
    "one byte at a time": (("broker", "fragments"), 6, None),
    "Wi-Fi gone": (("wifi", "lost"), 4, "Wi-Fi lost"),
    "no access point": (("wifi", "no_ap"), 4, "Wi-Fi lost"),
    "wrong password": (("wifi", "wrong_password"), 4, "Wi-Fi lost"),
}


def strike(node: Node, kind: str, fault: str) -> None:
    getattr(node.faults, kind)(fault)


def event(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = status.get("_fh", {}).get("event", {})
    return found


def events(heard: Backend, kind: str) -> list[dict[str, Any]]:
    return [e for e in map(event, heard.all(STATUS)) if e.get("event") == kind]


@pytest.mark.parametrize("name", FAULTS)
def test_the_node_works_on_and_comes_back(
    own_mosquitto: Mosquitto,
    heard: Backend,
    name: str,
) -> None:
    (kind, fault), lasts_s, cause = FAULTS[name]
    port = own_mosquitto.port
    with running(port, example("greenhouse", port)) as (node,):
        heard.wait(TELEMETRY)
        heard.publish(COMMAND, {"action": "pump_water", "durationMs": RUN_MS})
        node.wait_pin(PUMP, 1)
        strike(node, kind, fault)
        node.wait_pin(PUMP, 0, RUN_MS / 1000 + 5)  # nobody tells it to
        time.sleep(max(0.0, lasts_s - RUN_MS / 1000))
        mark = heard.mark()
        strike(node, kind, "ok")
        healed = time.monotonic()
        heard.wait(TELEMETRY, since=mark, timeout=60)
        back_s = time.monotonic() - healed
        print(f"{name}: back after {back_s:.2f} s")
        if cause is not None:
            heard.wait(STATUS, lambda o: event(o).get("event") == "outage", mark)
        # Readings on and on, none missing, and the run took as long as it was let.
        last = heard.wait(TELEMETRY, since=heard.mark())["_fh"]["seq"]
        wanted = list(range(1, last + 1))
        deadline = time.monotonic() + 20
        while sorted({o["_fh"]["seq"] for o in heard.all(TELEMETRY)})[:last] != wanted:
            assert time.monotonic() < deadline, "a reading is missing"
            time.sleep(0.05)
        heard.wait(STATUS, lambda o: event(o).get("event") == "run")
        (run,) = events(heard, "run")
        # A lost alarm comes again within half a second (hal.OneShot).
        assert RUN_MS <= run["ran_ms"] <= RUN_MS + 500 and run["reason"] == "done"
        outages = events(heard, "outage")
        assert [outage["count"] for outage in outages] == list(range(1, len(outages) + 1))
        if cause is not None:
            assert cause in outages[0]["cause"]
        assert node.restart_count == 0
