"""Node figures of `make bench`: heap, reading to callback, command round trip, smallest heap."""

import statistics
import time
import tomllib
from pathlib import Path
from typing import Any

from mosquitto import Mosquitto

from fieldhand import Fleet, fleetfile
from fieldhand.building import shrink
from fieldhand.fleetfile import template
from fieldhand.records import Reading
from fieldhand.sim import Simulator

MAIN = Path(__file__).resolve().parent / "on_micropython/node_main.py"
MEASURED = "greenhouse"  # heap and latency
COMMANDED = "01"  # round trip of set_led
COMMANDS = 200
WAIT_S = 60.0
HEAPS_K = range(128, 264, 8)


def figures(broker: Mosquitto) -> dict[str, dict[str, float]]:
    """{"node": ..., "command": ...}: bytes and milliseconds."""
    file = fleetfile.check(tomllib.loads(template.FLEET_TOML), Path("bench.toml"))
    at = ("127.0.0.1", broker.port)
    config = fleetfile.node_json(file, file.nodes[MEASURED], broker=at)
    config["sensors"] = [entry for entry in config["sensors"] if entry["type"] == "analog"]
    program = MAIN.read_text("utf-8")
    kept = frozenset(shrink.words(program))  # it asks for the firmware's parts by name
    with (
        Simulator(broker=at, kept=kept) as simulator,
        Fleet(broker=at, nodes=file.nodes) as fleet,
    ):
        received: dict[int, float] = {}

        def note(reading: Reading) -> None:
            if reading.provenance.seq is not None:
                received.setdefault(reading.provenance.seq, time.time())

        fleet.on_reading(note)
        node = simulator.add(config, files={"main.py": program}, heap="400k")
        node.start()
        node.wait_console("HEAP", WAIT_S)
        lines = [line.split() for line in node.console.lines()]
        taken = {int(w[1]): int(w[2]) / 1e9 for w in lines if w[0] == "READING"}
        late = sorted((received[seq] - taken[seq]) * 1e3 for seq in taken if seq in received)
        heap = next(w for w in lines if w[0] == "HEAP")
        with fleet.statuses(COMMANDED) as births:
            simulator.add(fleetfile.node_json(file, file.nodes[COMMANDED], broker=at)).start()
            births.get(WAIT_S)
        trips = [_trip(fleet, index) for index in range(COMMANDS)]
    return {
        "heap": {"bytes_in_use": float(heap[1]), "bytes_per_reading": float(heap[2])},
        "reading_to_callback": _spread(late),
        "command_round_trip": _spread(sorted(trips)),
        "smallest_heap": {"kilobytes": float(smallest_heap(at, file))},
    }


def _trip(fleet: Fleet, index: int) -> float:
    started = time.perf_counter()
    fleet.send(COMMANDED, "set_led", state="on", brightness=index % 256).result(WAIT_S)
    return (time.perf_counter() - started) * 1e3


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "count": float(len(values)),
        "median_ms": statistics.median(values),
        "p99_ms": values[int(len(values) * 0.99)],
    }


def smallest_heap(at: tuple[str, int], file: Any) -> int:
    """The smallest -X heapsize, in kB, at which the whole example node starts and keeps going."""
    config = fleetfile.node_json(file, file.nodes[MEASURED], broker=at)
    config["interval_ms"] = 1000
    for size in HEAPS_K:
        if _runs(at, config, f"{size}k"):
            return size
    raise RuntimeError(f"the node does not run in {HEAPS_K[-1]} kB")


def _runs(at: tuple[str, int], config: dict[str, Any], heap: str) -> bool:
    with Simulator(broker=at) as simulator, Fleet(broker=at) as fleet:
        node = simulator.add(config, heap=heap)
        with fleet.readings(config["node"]) as readings:
            node.start()
            deadline = time.monotonic() + 30
            seen = 0
            while seen < 5 and time.monotonic() < deadline:
                if any("MemoryError" in line for line in node.console.lines()):
                    return False
                seen += readings.get(0.2) is not None
        return seen >= 5 and not any("MemoryError" in line for line in node.console.lines())
