"""The service's figures for Prometheus, read when they are asked for.

What is counted anyway is not counted twice: a collector reads the counters of the ingest, the hub,
the commands and the bridge. No label names a node, a topic or a person, so the number of series is
fixed, whatever the fleet's size.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fieldhand.service.arrivals import Arrival

if TYPE_CHECKING:
    from fieldhand.service.api.connections import Limits
    from fieldhand.service.service import Service

# Upper bounds, in seconds, of the classes of the latency.
LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

# Name in the ingest's counts -> the label `kind` of what was stored.
KINDS = {
    "reading": "reading",
    "status": "status",
    "reply": "reply",
    "alert": "alert",
    "nodeevent": "event",
}
# Name in the ingest's counts -> (metric, its help).
COUNTS = {
    "messages": ("messages", "MQTT messages that came in"),
    "duplicate": ("duplicates", "what came a second time and was there already"),
    "invalid": ("invalid_messages", "messages that were refused"),
    "flooded": ("flooded_messages", "messages over the rate of their node"),
    "batches": ("batches", "transactions that stored messages"),
    "outages": ("outages", "times the broker or the database was away"),
    "hook_errors": ("hook_errors", "failures of a part that acts on what was stored"),
}
STEPS = (
    *("sent", "accepted", "done", "failed", "timeout"),
    *("refused", "retried", "late"),
)


class Latency:
    """A hook: from a message's arrival to its commit, by classes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._classes = [0] * (len(LATENCY_BUCKETS) + 1)
        self._sum = 0.0

    def store(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        """Nothing of its own is stored."""

    def committed(self, arrivals: Sequence[Arrival]) -> None:
        # All of a batch are committed at once and came in as good as at once.
        if arrivals:
            self.add(max(0.0, time.time() - arrivals[0].event.received_at), len(arrivals))

    def add(self, seconds: float, count: int = 1) -> None:
        with self._lock:
            self._classes[bisect_left(LATENCY_BUCKETS, seconds)] += count
            self._sum += seconds * count

    def metric(self, name: str, help: str) -> HistogramMetricFamily:
        with self._lock:
            classes, total = list(self._classes), self._sum
        buckets, so_far = [], 0
        for bound, count in zip((*map(str, LATENCY_BUCKETS), "+Inf"), classes, strict=True):
            so_far += count
            buckets.append((bound, float(so_far)))
        return HistogramMetricFamily(name, help, buckets=buckets, sum_value=total)


class ServiceCollector(Collector):
    """What a running service tells; nothing of the parts it has not."""

    def __init__(self, service: Service, latency: Latency) -> None:
        self._service = service
        self._latency = latency
        self.connections: Limits | None = None

    def collect(self) -> Iterator[Metric]:
        service = self._service
        yield InfoMetricFamily("fieldhand", "what runs", {"version": version("fieldhand")})
        yield _gauge("ready", "1 while readings are being stored", service.ready is None)
        yield from self._ingest()
        yield self._latency.metric(
            "fieldhand_latency_seconds", "from the arrival of a message to its commit"
        )
        yield _by_label("commands", "steps of commands", "step", STEPS, service.commands.counts)
        hub = service.hub
        yield _gauge("live_clients", "live streams that are open", hub.clients)
        yield _counter("live_events", "events given to live streams", hub.published)
        yield _counter(
            "live_clients_dropped", "live streams ended for being slow", hub.dropped_clients
        )
        yield _counter("live_events_lost", "events no live stream was given", hub.lost_events)
        if self.connections is not None:
            yield _counter(
                "connections_refused", "HTTP connections too many", self.connections.refused
            )
        yield from self._bridge()

    def _ingest(self) -> Iterator[Metric]:
        try:
            ingest = self._service.ingest
        except RuntimeError:
            return
        counts = ingest.counts
        yield _gauge("broker_connected", "1 while connected to the broker", ingest.connected)
        # While a database hangs no batch ends, and the one in hand is what tells.
        lag = max(ingest.lag_s, ingest.behind_s)
        yield _gauge("lag_seconds", "from arrival to commit, of the last batch or by now", lag)
        for key, (name, help) in COUNTS.items():
            yield _counter(name, help, counts[key])
        yield _counter("write_seconds", "spent in the database", counts["write_us"] / 1e6)
        stored = {kind: counts[key] for key, kind in KINDS.items()}
        yield _by_label("stored", "what was stored", "kind", tuple(KINDS.values()), stored)

    def _bridge(self) -> Iterator[Metric]:
        bridge = self._service.influx
        if bridge is None:
            return
        yield _gauge("influx_waiting", "readings that wait for InfluxDB", bridge.waiting)
        for key, help in bridge.COUNTED.items():
            yield _counter(f"influx_{key}", help, bridge.counts[key])


class Metrics:
    """The figures of one service, with those of the process and of Python."""

    def __init__(self, service: Service) -> None:
        self.latency = Latency()
        self._registry = CollectorRegistry()
        self._collector = ServiceCollector(service, self.latency)
        self._registry.register(self._collector)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def of_server(self, limits: Limits) -> None:
        """Tell what the web server counts too."""
        self._collector.connections = limits

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The figures, and their content type, in the format that `accept` prefers."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"fieldhand_{name}", help, float(value))


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"fieldhand_{name}", help, float(value))


def _by_label(
    name: str, help: str, label: str, values: Sequence[str], counts: Mapping[str, float]
) -> Metric:
    metric = CounterMetricFamily(f"fieldhand_{name}", help, labels=[label])
    for value in values:
        metric.add_metric([value], float(counts.get(value, 0)))
    return metric
