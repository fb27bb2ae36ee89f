"""Memory of `fieldhand serve` under a steady load: is it flat, and what do the nodes take?

python tools/bench_service.py --flat HOURS [--nodes 1000] [--rate 1000]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from typing import Any, NamedTuple

from mosquitto import Mosquitto
from service_load import BROKER_LINES, Load, Memory, Served, kept, memory, serving

SAMPLE_S = 10.0
ROW_S = 600.0
# Left out of the slope: buffers fill, code is imported, every node is heard, SQLite's cache too.
WARM_UP_S = 300.0
# Samples close to each other are not independent; the slope goes through the means of so long.
BLOCK_S = 60.0


class Sample(NamedTuple):
    at: float
    memory: Memory
    sent: int


class Slope(NamedTuple):
    """MB an hour, and its standard error."""

    per_hour: float
    error: float


def slope(points: list[tuple[float, float]]) -> Slope | None:
    """Least squares through (s, MB); None with fewer than four."""
    if len(points) < 4:
        return None
    times, values = zip(*points, strict=True)
    fit = statistics.linear_regression(times, values)
    left = sum((y - fit.intercept - fit.slope * x) ** 2 for x, y in points)
    centre = statistics.fmean(times)
    spread = sum((x - centre) ** 2 for x in times)
    return Slope(fit.slope * 3600, (left / (len(points) - 2) / spread) ** 0.5 * 3600)


def blocks(samples: list[Sample]) -> list[tuple[float, float]]:
    """(middle, mean) of each BLOCK_S after the warm-up."""
    found: dict[int, list[float]] = {}
    for sample in samples:
        if sample.at >= WARM_UP_S:
            found.setdefault(int(sample.at // BLOCK_S), []).append(sample.memory.total)
    return [((n + 0.5) * BLOCK_S, statistics.fmean(values)) for n, values in found.items()]


def measure(hours: float, nodes: int, rate: float, database: str = "") -> dict[str, Any]:
    """Ends early, with what there is, at Ctrl-C."""
    samples: list[Sample] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(persistent=False, extra=BROKER_LINES, log_types="error") as broker,
        serving(folder, broker, database) as served,
    ):
        empty = memory(served.pid)
        load = Load(broker, nodes, rate)
        started = time.monotonic()
        try:
            while (at := time.monotonic() - started) < hours * 3600:
                samples.append(Sample(at, memory(served.pid), load.sent))
                print(
                    f"{at:7.0f} s {samples[-1].memory.total:7.1f} MB {load.sent:9} sent"
                    f" {served.stored():9} stored",
                    file=sys.stderr,
                    flush=True,
                )
                time.sleep(min(SAMPLE_S, max(0.0, hours * 3600 - at)))
        except KeyboardInterrupt:
            pass
        load.stop()
        took = time.monotonic() - started
        result = kept(load, served.database)
        end = memory(served.pid)
        known = nodes_known(served)
    line = slope(blocks(samples))
    rows = [s for n, s in enumerate(samples) if n == 0 or _begins_row(samples[n - 1].at, s.at)]
    return {
        "nodes": nodes,
        "nodes_known": known,
        "seconds": round(took),
        "rate": round(load.sent / took, 1),
        "sent": load.sent,
        "accepted": load.accepted,
        **result._asdict(),
        "empty_mb": round(empty.total, 1),
        "mb": [(round(s.at), round(s.memory.total, 1)) for s in rows] + [(round(took), end.total)],
        "own_mb": (round(empty.own, 1), round(end.own, 1)),
        "mb_an_hour": line and (round(line.per_hour, 2), round(line.error, 2)),
    }


def nodes_known(served: Served) -> int:
    count, path = 0, "/nodes"
    while True:
        page = served.get(path)
        count += len(page["nodes"])
        if page["next"] is None:
            return count
        path = f"/nodes?after={page['next']}"


def _begins_row(before: float, at: float) -> bool:
    return before // ROW_S != at // ROW_S


def show(found: dict[str, Any]) -> None:
    print(
        f"{found['nodes_known']} of {found['nodes']} nodes known, "
        f"{found['rate']:g} readings a second for {found['seconds']} s: "
        f"{found['sent']} sent, {found['accepted']} accepted, {found['stored']} stored, "
        f"{found['lost']} lost, {found['doubled']} doubled"
    )
    print(f"  before the first reading {found['empty_mb']:8.1f} MB")
    for at, mb in found["mb"]:
        print(f"  after {at / 60:6.1f} min         {mb:8.1f} MB")
    if found["mb_an_hour"] is not None:
        value, error = found["mb_an_hour"]
        print(
            f"  slope {value:+.2f} MB an hour, standard error {error:.2f} (means of {BLOCK_S:g} s, "
            f"from {WARM_UP_S:g} s on)"
        )
