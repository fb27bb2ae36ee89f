"""A real broker's health from its `$SYS` topics, as Mosquitto publishes them.

`BrokerMonitor` listens to them and publishes what they say as the iotnode dialect's
`iot/broker/status` and `iot/broker/stats`, so that a dashboard needs no right to read `$SYS`.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping

import paho.mqtt.client as paho

from fieldhand.broker.stats import INTERVAL_S, BrokerHealth, Rate, packets
from fieldhand.connection import BrokerAddress, Connection, HasAddress
from fieldhand.errors import FieldhandError

ROOT = "$SYS/broker/"
CONNECT_TIMEOUT_S = 10.0
# Mosquitto publishes every `sys_interval`, 10 s unless set, and keeps the latest for who comes.
FIRST_S = 15.0
# What one update may take to come in whole.
UPDATE_S = 0.2

# Topic below ROOT -> name here. Those of one name are spellings of different versions.
_NUMBERS = {
    "uptime": "uptime_s",
    "clients/connected": "connections",
    "clients/disconnected": "sessions_away",
    "clients/inactive": "sessions_away",
    "publish/messages/received": "messages_received",
    "publish/messages/sent": "messages_sent",
    "publish/messages/dropped": "messages_dropped",
    "bytes/received": "bytes_received",
    "bytes/sent": "bytes_sent",
    "subscriptions/count": "subscriptions",
    "retained messages/count": "retained",
    "heap/current": "heap_bytes",
}
_NEEDED = ("uptime_s", "connections", "messages_received", "messages_sent")


class NoStatistics(FieldhandError):
    """The broker tells nothing on `$SYS/broker`, or does not let us read it."""


class BrokerMonitor:
    """Reads a broker's `$SYS`; a context manager. With `publish`, tells the result on its topics.

    Raises BrokerUnavailable on entry; it reconnects by itself after that.
    """

    def __init__(self, broker: HasAddress | tuple[str, int], publish: bool = True) -> None:
        self._publish = publish
        self._values: dict[str, str] = {}
        self._changed = threading.Condition()
        self._rate = Rate()
        self._per_second = 0.0
        self._told_at = -UPDATE_S
        self._connection = Connection(BrokerAddress.of(broker), {f"{ROOT}#": 0}, self._heard)

    def __enter__(self) -> BrokerMonitor:
        self._connection.connect(CONNECT_TIMEOUT_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def look(self, timeout: float = FIRST_S) -> BrokerHealth:
        """What the broker told last, and published. Raises NoStatistics, BrokerUnavailable."""
        with self._changed:
            told = self._changed.wait_for(lambda: _numbers(self._values) is not None, timeout)
            # The other figures of an update are on their way when its first is there.
            self._changed.wait_for(lambda: False, self._told_at + UPDATE_S - time.monotonic())
            values, rate = dict(self._values), self._per_second
        numbers = _numbers(values)
        if not self._connection.up:
            raise self._connection.unavailable("not connected")
        if not told or numbers is None:
            where = self._connection.address
            raise NoStatistics(
                f"broker {where.host}:{where.port}: tells nothing on {ROOT}# within {timeout:g} s: "
                "sys_interval is 0, or the access list does not let this user read it"
            )
        health = BrokerHealth(
            time=int(time.time()),
            version=_version(values.get("version", "")),
            messages_per_second=rate,
            **numbers,
        )
        if self._publish:
            for item in packets(health):
                self._connection.publish(item)
        return health

    def watch(
        self,
        show: Callable[[BrokerHealth], object],
        interval: float = INTERVAL_S,
        seconds: float | None = None,
        away: Callable[[str], object] = lambda reason: None,
    ) -> None:
        """`look` every `interval` s, for `seconds` or for ever; `away` gets why once it fails.

        Raises NoStatistics when there are none at first.
        """
        end = None if seconds is None else time.monotonic() + seconds
        show(self.look())
        failed = False
        while True:
            pause = interval if end is None else min(interval, end - time.monotonic())
            if pause <= 0:
                return
            time.sleep(pause)
            if end is not None and time.monotonic() >= end and pause < interval:
                return
            try:
                health = self.look()
            except FieldhandError as error:
                if not failed:
                    away(str(error))
                failed = True
            else:
                failed = False
                show(health)

    def _heard(self, message: paho.MQTTMessage) -> None:
        name = message.topic.removeprefix(ROOT)
        if name in _NUMBERS or name == "version":
            with self._changed:
                self._values[name] = message.payload.decode("utf-8", "replace")
                if name == "uptime":
                    self._told_at = time.monotonic()
                    if message.retain:  # of an update that was before we came
                        self._rate = Rate()
                numbers = _numbers(self._values)
                if numbers is not None:
                    # Each update begins with the uptime, and tells a counter only if it changed.
                    count, at = numbers["messages_received"], numbers["uptime_s"]
                    self._per_second = self._rate.of(count, at)
                self._changed.notify_all()


def _numbers(values: Mapping[str, str]) -> dict[str, int] | None:
    """The figures there are; None while one that is needed is missing."""
    found: dict[str, int] = {}
    for topic, name in _NUMBERS.items():
        # "1234 seconds" for the uptime.
        number = re.match(r"\d+", values.get(topic, ""))
        if number:
            found[name] = int(number[0])
    return found if all(name in found for name in _NEEDED) else None


def _version(text: str) -> str:
    """ "mosquitto version 2.0.11" -> "mosquitto 2.0.11"."""
    return text.replace(" version ", " ")[:100]
