"""What a node's chip can do, measured on it, and the same scripts on a simulated node beside it.

The simulator runs on this machine's processor: it shows what is the firmware's doing and what is
the chip's, not how fast a chip is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fieldhand import scripts
from fieldhand.doctor.cable import host_version
from fieldproto.sensortypes import yields

if TYPE_CHECKING:
    from fieldhand.fleetfile import FleetFile, NodeConfig

PAYLOAD_BYTES = 250  # a reading of eight quantities
MESSAGES = 50  # published in a run
RUNS = 3
CONNECTS = 3
TIMES = 20  # of what is quick
FLASH_TIMES = 5
_LOCAL_S = 120.0
_LINK_S = 300.0


@dataclass(frozen=True)
class Metric:
    """What the scripts tell as `told`; a value times `scale` is in `unit`, as `key` says."""

    key: str
    title: str
    unit: str
    scale: float = 1.0

    @property
    def told(self) -> str:
        """The node counts short times in microseconds."""
        return self.key if self.scale == 1.0 else self.key.removesuffix("_ms") + "_us"


METRICS = (
    Metric("wifi_ms", "connect to Wi-Fi", "ms"),
    Metric("connect_ms", "connect to the broker", "ms"),
    Metric("window_1", "QoS 1 publishes, one at a time", "/s"),
    Metric("window_16", "QoS 1 publishes, 16 under way", "/s"),
    Metric("heap_bytes", "heap a publish takes", "B"),
    Metric("sample_ms", "read all sensors", "ms", 0.001),
    Metric("encode_ms", "encode a reading", "ms", 0.001),
    Metric("flash_write_ms", "write 32 readings to flash", "ms", 0.001),
    Metric("flash_read_ms", "read 16 readings back", "ms", 0.001),
    Metric("gc_ms", "collect garbage", "ms", 0.001),
    Metric("timer_late_ms", "timer of 50 ms is late by", "ms", 0.001),
)
# Facts that are single numbers: key, title, unit.
FACTS = (
    ("mhz", "CPU", "MHz"),
    ("heap", "heap", "B"),
    ("free", "free of it", "B"),
    ("block", "largest block", "B"),
)


@dataclass(frozen=True)
class Series:
    """Repetitions of one measurement, in `unit`."""

    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def as_dict(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "repetitions": len(self.values),
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
        }


@dataclass(frozen=True)
class Measured:
    """A node's figures. `missing` says of what was not measured why."""

    facts: Mapping[str, Any]
    series: Mapping[str, Series]
    missing: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.facts,
            "series": {key: series.as_dict() for key, series in self.series.items()},
            "missing": dict(self.missing),
        }


def measure(node: scripts.Executor, config: NodeConfig) -> Measured:
    """Measure `node`, which is at its REPL and made from `config`: half a minute to two.

    250-byte messages are published under fieldhand/bench/. Raises what `node.exec` raises, and
    ScriptError.
    """
    local = scripts.run(
        node,
        "bench_local",
        _LOCAL_S,
        times=TIMES,
        flash_times=FLASH_TIMES,
        values=_values(config),
    )
    link = scripts.run(
        node,
        "bench_link",
        _LINK_S,
        bytes=PAYLOAD_BYTES,
        connects=CONNECTS,
        runs=RUNS,
        messages=MESSAGES,
    )
    return collect(local, link)


def collect(local: Mapping[str, Any], link: Mapping[str, Any]) -> Measured:
    """What two scripts have told, in the order of METRICS."""
    told = {**local.get("series", {}), **link.get("series", {})}
    keys_of = {metric.told: metric.key for metric in METRICS}  # "flash" and the like stay
    missing = {keys_of.get(name, name): why for name, why in local.get("skipped", {}).items()}
    series = {}
    for metric in METRICS:
        values = [value * metric.scale for value in told.get(metric.told, ())]
        if values:
            series[metric.key] = Series(metric.unit, values)
        elif metric.key not in missing:
            error = local.get("error") if metric.told in _LOCAL else link.get("error")
            missing[metric.key] = str(error or "not measured")
    keys = ("machine", "release", *(key for key, _, _ in FACTS))
    facts = {key: local[key] for key in keys if key in local}
    return Measured(facts, series, missing)


_LOCAL = ("sample_us", "encode_us", "flash_write_us", "flash_read_us", "gc_us", "timer_late_us")


def measure_simulated(file: FleetFile, config: NodeConfig) -> Measured:
    """The same on a simulated node and a broker in this process. Raises MissingPart."""
    from fieldhand.broker import Broker
    from fieldhand.fleetfile import node_json
    from fieldhand.sim import Simulator
    from fieldhand.sim.executor import SimulatedExecutor

    with Broker() as broker, Simulator(broker=(broker.host, broker.port)) as simulator:
        settings = node_json(file, config, broker=(broker.host, broker.port), for_check=True)
        return measure(SimulatedExecutor(simulator, settings), config)


def _values(config: NodeConfig) -> dict[str, Any]:
    """A reading as the node would take it; 7.25 is plausible in every unit."""
    names = [name for sensor in config.sensors for name in yields(dict(sensor))]
    values: dict[str, Any] = dict.fromkeys(names, 7.25)
    return values | {"time": int(time.time()), "uptime": 1000, "firmware": host_version()}
