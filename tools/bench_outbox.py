"""Outbox figures of `make bench`: flash wear, and 5,000 readings through a slow network."""

import json
import os
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path

from mosquitto import Mosquitto
from slow_wire import SlowWire

from fieldhand import Fleet, fleetfile, paths
from fieldhand.fleetfile import template
from fieldhand.sim import Simulator

TOOLS = Path(__file__).resolve().parent
FAKES = TOOLS.parent / "tests/fakes"
QUEUED = 5000
ROUND_TRIP_S = 0.1
WAIT_S = 300.0
NODE = "greenhouse"


def figures(broker: Mosquitto) -> dict[str, dict[str, float]]:
    """{"wear": erases and programs a reading, "drain": seconds}."""
    wear: dict[str, float] = json.loads(_micropython("wear.py", Path.cwd()))
    return {"wear": wear, "drain": {"readings": float(QUEUED), "seconds": drain(broker)}}


def drain(broker: Mosquitto) -> float:
    """Seconds from the first of the queued readings to the last."""
    file = fleetfile.check(tomllib.loads(template.FLEET_TOML), Path("bench.toml"))
    arrived: dict[int, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="bench-outbox-") as folder,
        SlowWire(("127.0.0.1", broker.port), ROUND_TRIP_S) as wire,
        Simulator(broker=("127.0.0.1", wire.port), workdir=folder) as simulator,
        Fleet(broker=("127.0.0.1", broker.port), nodes=file.nodes, received=False) as fleet,
        fleet.readings(NODE) as readings,
    ):
        config = fleetfile.node_json(file, file.nodes[NODE], broker=("127.0.0.1", wire.port))
        node = simulator.add(config)
        fill(node.flash, QUEUED)
        node.start()
        deadline = time.monotonic() + WAIT_S
        while len(arrived) < QUEUED and time.monotonic() < deadline:
            reading = readings.get(1.0)
            if reading and reading.provenance.boot == "1-0001":
                arrived.setdefault(reading.provenance.seq or 0, time.monotonic())
        node.close()
    if len(arrived) < QUEUED:
        raise RuntimeError(f"{len(arrived)} of {QUEUED} readings arrived in {WAIT_S:g} s")
    return max(arrived.values()) - min(arrived.values())


def fill(flash: Path, count: int) -> None:
    """Leave `count` readings on the flash of a simulated node."""
    _micropython("fill_outbox.py", flash, str(count))


def _micropython(script: str, cwd: Path, *arguments: str) -> str:
    path = [paths.firmware(), paths.protocol(), FAKES, paths.umqtt(), ".frozen"]
    done = subprocess.run(
        [
            *(str(paths.micropython()), "-X", "heapsize=4M"),
            *(str(TOOLS / "on_micropython" / script), *arguments),
        ],
        env=os.environ | {"MICROPYPATH": ":".join(map(str, path))},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    if done.returncode:
        raise RuntimeError(f"{script}: {done.stdout}{done.stderr}")
    return done.stdout
