"""`make bench`: figures to compare on one machine in one run; do not quote them as absolutes.

Each section is a function that takes the running broker and returns its figures; they go to
build/bench.json by the section's name, and to the screen as a table.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bench_host
import bench_node
import bench_outbox
from mosquitto import Mosquitto, MosquittoError

from fieldhand import paths

ROOT = Path(__file__).resolve().parents[1]
PUBLISH = ROOT / "tools/on_micropython/publish.py"
TIMEOUT_S = 120
ROUNDS = 5  # of each client, in turn, so that a busy moment of the machine hits all alike

Figures = dict[str, dict[str, float]]


class BenchError(Exception):
    """Says in one line what could not be measured and why."""


# Client -> (name in the table, publishes per round). Stock meets Nagle and delayed ACK: 44 ms each.
CLIENTS = {
    "stock": ("umqtt.simple", 20),
    "sequential": ("session, window 1", 20000),
    "session": ("session", 20000),
    "floor": ("raw socket", 20000),
}


def run(script: Path, *arguments: object) -> dict[str, float]:
    """Run `script` under the unix MicroPython with an ESP32's heap; what it prints is JSON."""
    path = [paths.firmware(), paths.protocol(), paths.umqtt(), ".frozen"]
    result = subprocess.run(
        [str(paths.micropython()), "-X", "heapsize=160k", str(script), *map(str, arguments)],
        env=os.environ | {"MICROPYPATH": ":".join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    if result.returncode:
        raise BenchError(f"{script.name} {arguments[0]}: {result.stdout}{result.stderr}")
    figures: dict[str, float] = json.loads(result.stdout)
    return figures


def publish(broker: Mosquitto) -> Figures:
    """QoS 1 publishes of 250 B per second, and the heap each takes."""
    runs: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
    for _ in range(ROUNDS):
        for client, (_, count) in CLIENTS.items():
            runs[client].append(run(PUBLISH, client, broker.port, count))
        for client in CLIENTS:
            # Within a round, because the machine's speed changes from one to the next.
            rate = runs[client][-1]["per_second"]
            runs[client][-1]["times_stock"] = rate / runs["stock"][-1]["per_second"]
            runs[client][-1]["of_floor"] = rate / runs["floor"][-1]["per_second"]
    return {
        client: {key: statistics.median(run[key] for run in done) for key in done[0]}
        for client, done in runs.items()
    }


SECTIONS: dict[str, Callable[[Mosquitto], Figures]] = {
    "publish": publish,
    "node": bench_node.figures,
    "host": bench_host.figures,
    "outbox": bench_outbox.figures,
}


def goals(figures: dict[str, Figures]) -> list[tuple[str, float, str, float]]:
    """(what, measured, "at least" or "at most", goal) of each goal."""
    session, node = figures["publish"]["session"], figures["node"]
    return [
        ("session / umqtt.simple", session["times_stock"], "at least", 400),
        ("session / raw socket", session["of_floor"], "at least", 0.45),
        ("heap the node runs in, kB", node["smallest_heap"]["kilobytes"], "at most", 160),
        (
            "erases per offline reading",
            figures["outbox"]["wear"]["erases_per_offline_reading"],
            "at most",
            0.1,
        ),
        ("5,000 readings at 100 ms, s", figures["outbox"]["drain"]["seconds"], "at most", 60),
        ("command round trip, median ms", node["command_round_trip"]["median_ms"], "at most", 20),
    ]


def show(figures: dict[str, Figures]) -> None:
    print(f"{'QoS 1 publishes, 250 B':34}{'per second':>12}{'of floor':>10}{'heap bytes each':>18}")
    for client, row in figures["publish"].items():
        name = CLIENTS[client][0]
        print(
            f"{name:34}{row['per_second']:12,.0f}{row['of_floor']:10.4f}"
            f"{row['heap_bytes_per_publish']:18,.0f}"
        )
    node = figures["node"]
    heap = node["heap"]
    print(f"\n{'node, 64-bit MicroPython':34}{'bytes':>12}")
    print(f"{'heap in use, steady':34}{heap['bytes_in_use']:12,.0f}")
    print(f"{'heap allocated per reading':34}{heap['bytes_per_reading']:12,.0f}")
    print(f"\n{'host':34}{'median ms':>12}{'99th ms':>12}{'count':>8}")
    for name in ("reading_to_callback", "command_round_trip"):
        row = node[name]
        print(
            f"{name.replace('_', ' '):34}{row['median_ms']:12.2f}{row['p99_ms']:12.2f}"
            f"{row['count']:8.0f}"
        )
    wear, drain = figures["outbox"]["wear"], figures["outbox"]["drain"]
    print(f"\n{'outbox, real littlefs':34}{'a reading':>12}")
    for key, value in wear.items():
        print(f"{key.replace('_', ' '):34}{value:12.4f}")
    print(f"{drain['readings']:.0f} readings, 100 ms round trip: {drain['seconds']:.1f} s")
    print(f"\n{'host, readings':34}{'per second':>12}")
    for name, row in figures["host"].items():
        print(f"{name.replace('_', ' '):34}{row['per_second']:12,.0f}")
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the node and the host.")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench.json")
    parser.add_argument("--check", action="store_true", help="exit 1 when a goal is missed")
    options = parser.parse_args()
    figures = {}
    try:
        with Mosquitto(persistent=False, extra=("max_inflight_messages 0",)) as broker:
            for name, section in SECTIONS.items():
                figures[name] = section(broker)
    except (BenchError, MosquittoError, paths.MissingPart) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    show(figures)
    missed = False
    for what, measured, bound, goal in goals(figures):
        met = measured >= goal if bound == "at least" else measured <= goal
        missed = missed or not met
        print(f"{what:34}{measured:12,.2f}  goal {bound} {goal:g}: {'met' if met else 'MISSED'}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    options.json.write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
