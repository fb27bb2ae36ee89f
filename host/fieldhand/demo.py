"""`fieldhand demo`: one minute that shows what Fieldhand does, with nothing but this machine.

Five simulated nodes, one per dialect, each the real firmware in a MicroPython process of its own;
the in-process broker; one `Fleet`. `sequence` is the same for a person and for the e2e test.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldhand import fleetfile
from fieldhand.broker import Broker
from fieldhand.client import Fleet
from fieldhand.errors import FieldhandError
from fieldhand.fleetfile import template
from fieldhand.records import Reading, Status
from fieldhand.sim import Simulator
from fieldhand.sim.node import Node

INTERVAL_MS = 1000
STATUS_INTERVAL_MS = 10_000
# The least MQTT keepalive node.json allows: a vanished node is missed after 1.5 times that.
KEEPALIVE_S = 5
STEP_TIMEOUT_S = 30.0
WATER_MS = 4000
OUTAGE_S = 6.0
DRY_SOIL = 22.0

Tell = Callable[[str], object]


class DemoFailed(FieldhandError):
    """A step of the demo did not happen in its time."""


@dataclass(frozen=True)
class Stage:
    """What the demo plays on."""

    fleet: Fleet
    nodes: dict[str, Node]


@contextmanager
def stage() -> Iterator[Stage]:
    """Broker, five nodes (started), a fleet client. Everything ends with the block."""
    file = fleetfile.check(tomllib.loads(template.FLEET_TOML), Path("demo.toml"))
    with Broker() as broker, Simulator(broker=("127.0.0.1", broker.port)) as simulator:
        nodes = {}
        for name, declared in file.nodes.items():
            config = fleetfile.node_json(file, declared, broker=("127.0.0.1", broker.port))
            config["interval_ms"] = INTERVAL_MS
            config["status_interval_ms"] = STATUS_INTERVAL_MS
            config["broker"]["keepalive_s"] = KEEPALIVE_S
            nodes[name] = simulator.add(config)
        with Fleet(broker=broker, nodes=file.nodes) as fleet:
            for node in nodes.values():
                node.start()
            yield Stage(fleet, nodes)


def sequence(on: Stage, tell: Tell) -> dict[str, Any]:
    """Play the five acts; returns the facts that were seen. Raises DemoFailed."""
    facts: dict[str, Any] = {}
    tell("1. Five nodes start: real firmware, each in its own MicroPython, five dialects.")
    facts["readings"] = _all_report(on, tell)
    facts["water"] = _water(on, tell)
    facts["outage"] = _outage(on, tell)
    return facts


def _all_report(on: Stage, tell: Tell) -> dict[str, Reading]:
    seen: dict[str, Reading] = {}
    deadline = time.monotonic() + STEP_TIMEOUT_S
    with on.fleet.readings() as readings:
        while len(seen) < len(on.nodes):
            reading = readings.get(
                _left(deadline, f"a first reading of {set(on.nodes) - set(seen)}")
            )
            if reading is None or reading.node in seen:
                continue
            seen[reading.node] = reading
            some = ", ".join(f"{k} {v:g}" for k, v in list(reading.quantities.items())[:4])
            tell(f"   {reading.node} ({reading.dialect}) reports {some}")
    return seen


def _water(on: Stage, tell: Tell) -> dict[str, Any]:
    plant = "greenhouse"
    on.nodes[plant].world.soil_moisture = DRY_SOIL
    deadline = time.monotonic() + STEP_TIMEOUT_S

    def until(wanted: Callable[[float], bool], what: str) -> float:
        with on.fleet.readings(plant) as readings:
            while True:
                reading = readings.get(_left(deadline, what))
                if reading is not None and wanted(reading.quantities["soil_moisture"]):
                    return reading.quantities["soil_moisture"]

    before = until(lambda soil: soil < DRY_SOIL + 2, "dry soil")
    tell(
        f"2. The {plant} is dry: soil moisture {before:.1f} %. Water it for {WATER_MS / 1000:g} s."
    )
    pending = on.fleet.send(plant, "pump_water", durationMs=WATER_MS)
    accepted = pending.wait(STEP_TIMEOUT_S, state="accepted")
    tell(f"   the node answers: {accepted}")
    answer = pending.result(STEP_TIMEOUT_S)
    tell(f"   the node answers: done, {answer.get('amount_ml')} ml in {answer.get('ran_ms')} ms")
    after = until(lambda soil: soil > before + 2, "the soil to respond")
    tell(f"   the soil responds: {before:.1f} % -> {after:.1f} %")
    return {"accepted": accepted, "answer": answer, "before": before, "after": after}


def _outage(on: Stage, tell: Tell) -> dict[str, Any]:
    pool = "pool"
    deadline = time.monotonic() + 3 * STEP_TIMEOUT_S
    node = on.nodes[pool]
    with on.fleet.readings(pool) as readings, on.fleet.statuses(pool) as statuses:
        last = readings.get(_left(deadline, "a reading of the pool"))
        if last is None:
            raise DemoFailed("the pool is silent")
        tell(f"3. Wi-Fi of the {pool} is cut.")
        node.faults.wifi("lost")
        will = _status(statuses, deadline, lambda status: not status.online, "the Last Will")
        tell(f"   the broker misses it and publishes its Last Will: {will.state}")
        time.sleep(OUTAGE_S)
        tell("   it goes on measuring, into its queue. Wi-Fi is back:")
        node.faults.wifi("ok")
        birth = _status(statuses, deadline, lambda status: status.online, "its return")
        queued = int(birth.values.get("queued", 0))
        tell(f"   it is {birth.state} again with {queued} readings in its queue")
        drained = [last]
        while queued and len(drained) <= queued + 1:
            reading = readings.get(_left(deadline, "the queue to drain"))
            if reading is not None:
                drained.append(reading)
    numbers = [reading.provenance.seq for reading in drained if reading.provenance.seq is not None]
    missing = sorted(set(range(min(numbers), max(numbers))) - set(numbers))
    tell(f"   the queue drains: readings {numbers[0]} to {numbers[-1]}, {len(missing)} missing")
    return {"will": will, "birth": birth, "queued": queued, "numbers": numbers, "missing": missing}


def _status(statuses: Any, deadline: float, wanted: Callable[[Status], bool], what: str) -> Status:
    while True:
        status: Status | None = statuses.get(_left(deadline, what))
        if status is not None and not status.retained and wanted(status):
            return status


def _left(deadline: float, what: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise DemoFailed(f"the demo waited in vain for {what}")
    return left


def run(seconds: float | None = None) -> int:
    """Play the demo for a person; then a live table until Ctrl-C, or `seconds` after the start."""
    import sys

    from rich.console import Console

    console = Console(highlight=False)
    started = time.monotonic()
    try:
        with stage() as on:
            sequence(on, console.print)
            console.print("4. The fleet, live." + ("" if seconds else " Ctrl-C ends it."))
            _live(on.fleet, console, None if seconds is None else started + seconds)
    except KeyboardInterrupt:
        console.print()
    sys.stdout.flush()
    return 0


def _live(fleet: Fleet, console: Any, deadline: float | None) -> None:
    from rich.live import Live

    from fieldhand.livetable import LiveTable

    table = LiveTable()
    with fleet.events() as events, Live(table.render(fleet), console=console) as live:
        while deadline is None or time.monotonic() < deadline:
            event = events.get(0.25)
            if event is not None:
                table.add(event)
            live.update(table.render(fleet))
