"""The broker's health on the iotnode dialect's topics `iot/broker/status` and `iot/broker/stats`.

Published by the host: from the counters of the in-process broker here, from a real broker's `$SYS`
by `fieldhand.broker.monitor`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fieldhand import dialects as dialect_table
from fieldhand.broker.inprocess import Broker
from fieldproto.messages import Packet
from fieldproto.schema import FieldError, write

INTERVAL_S = 10.0
DIALECT = "iotnode"


def packet(name: str, values: Mapping[str, Any]) -> Packet:
    """The message `name` (broker_status or broker_stats) from canonical values.

    Raises RuntimeError for a value the dialect has no place for.
    """
    message = next(m for m in dialect_table.unbound(DIALECT).messages if m.name == name)
    try:
        document, _ = write(dict(values), message.fields)
    except FieldError as error:
        raise RuntimeError(f"{name}: {error}") from error
    return Packet(message.topics[0], json.dumps(document).encode(), message.qos, message.retain)


@dataclass(frozen=True)
class BrokerHealth:
    """What a broker told. Counters since its start; None for what its version does not tell.

    `messages_*` are PUBLISH packets; `messages_per_second` those received since the last time;
    `sessions_away` are kept for clients that are not connected.
    """

    time: int
    version: str
    uptime_s: int
    connections: int
    messages_received: int
    messages_sent: int
    messages_per_second: float
    messages_dropped: int | None = None
    sessions_away: int | None = None
    subscriptions: int | None = None
    retained: int | None = None
    bytes_received: int | None = None
    bytes_sent: int | None = None
    heap_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, what is not known left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def packets(health: BrokerHealth) -> list[Packet]:
    """`iot/broker/status` and `iot/broker/stats`."""
    return [
        packet(
            "broker_status",
            {
                "state": "online",
                "time": health.time,
                "uptime": health.uptime_s,
                "version": health.version,
            },
        ),
        packet(
            "broker_stats",
            {
                "time": health.time,
                "connections": health.connections,
                "messages_received": health.messages_received,
                "messages_sent": health.messages_sent,
                "messages_per_second": health.messages_per_second,
            },
        ),
    ]


class Rate:
    """Messages per second between the last two updates of a counter."""

    def __init__(self) -> None:
        self._before: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None

    def of(self, count: int, at: float) -> float:
        """`count` was told at `at`, in seconds of any clock; 0.0 at first and after a restart.

        A count told for the same time again takes the place of that before.
        """
        if self._last is not None and at < self._last[0]:
            self._last = None
        if self._last is None or at > self._last[0]:
            self._before = self._last
        self._last = (at, count)
        if self._before is None or count < self._before[1]:
            return 0.0
        return (count - self._before[1]) / (at - self._before[0])


class BrokerStats:
    """Publishes status and statistics of a running `Broker` every `interval` seconds.

    A context manager: "online" when it starts, "offline" (retained) when it ends.
    """

    def __init__(self, broker: Broker, interval: float = INTERVAL_S) -> None:
        self._broker = broker
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._rate = Rate()

    def __enter__(self) -> BrokerStats:
        self.publish()
        self._thread = threading.Thread(target=self._run, name="fieldhand-stats", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._interval)
        if self._broker.running:
            offline = packet("broker_status", {"state": "offline", "time": int(time.time())})
            self._broker.publish(*offline)

    def publish(self) -> None:
        """Publish both messages now. Raises RuntimeError while the broker does not run."""
        counters = self._broker.counters()
        rate = self._rate.of(counters.messages_received, time.monotonic())
        health = BrokerHealth(
            time=int(time.time()),
            version="amqtt " + _version(),
            uptime_s=counters.uptime_s,
            connections=counters.clients_connected,
            messages_received=counters.messages_received,
            messages_sent=counters.messages_sent,
            messages_per_second=rate,
        )
        for item in packets(health):
            self._broker.publish(*item)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.publish()
            except (RuntimeError, TimeoutError):  # the broker is stopping
                return


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("amqtt")
    except PackageNotFoundError:
        return "?"
