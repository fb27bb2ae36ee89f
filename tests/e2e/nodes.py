"""Simulated nodes on a broker, and a plain MQTT client on the other side, as a backend would be."""

import json
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from fieldhand import fleetfile
from fieldhand.fleetfile import template
from fieldhand.sim import Simulator

# node of the example fleet -> its dialect
EXAMPLES = {
    "greenhouse": "plantnanny",
    "panel-7": "solar",
    "pool": "dese",
    "01": "iotnode",
    "farm_001": "farm",
}
WAIT_S = 20.0


def example(name: str, port: int, **changes: Any) -> dict[str, Any]:
    """node.json of a node of the example fleet, quick enough for a test."""
    file = fleetfile.check(tomllib.loads(template.FLEET_TOML), Path("example.toml"))
    config = fleetfile.node_json(file, file.nodes[name], broker=("127.0.0.1", port))
    config.update(interval_ms=1000, status_interval_ms=5000)
    config["broker"]["keepalive_s"] = 5
    config.update(changes)
    return config


class Backend:
    """Hears everything; `messages` are (topic, payload bytes, retained)."""

    def __init__(
        self,
        port: int,
        user: str | None = None,
        password: str | None = None,
        ca: Path | None = None,
    ) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._changed = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(user, password)
        if ca is not None:
            self._client.tls_set(str(ca))
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(WAIT_S)

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.messages.append((message.topic, message.payload, message.retain))
            self._changed.notify_all()

    def publish(self, topic: str, payload: Any, retain: bool = False) -> None:
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        self._client.publish(topic, payload, 1, retain).wait_for_publish(WAIT_S)

    def mark(self) -> int:
        with self._changed:
            return len(self.messages)

    def wait(
        self,
        topic: str,
        wanted: Callable[[dict[str, Any]], object] = lambda obj: True,
        since: int = 0,
        timeout: float = WAIT_S,
    ) -> dict[str, Any]:
        """The first message on `topic` from `since` on that is wanted, as an object."""
        deadline = time.monotonic() + timeout
        at = since
        with self._changed:
            while True:
                while at < len(self.messages):
                    name, payload, _ = self.messages[at]
                    at += 1
                    if name == topic:
                        obj = json.loads(payload)
                        if wanted(obj):
                            return obj
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    heard = [m for m in self.messages[since:] if m[0] == topic][-3:]
                    raise AssertionError(f"nothing wanted on {topic} in {timeout} s; last: {heard}")

    def all(self, topic: str, since: int = 0) -> list[dict[str, Any]]:
        with self._changed:
            return [json.loads(p) for name, p, _ in self.messages[since:] if name == topic]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def backend(port: int, user: str | None = None, password: str | None = None) -> Iterator[Backend]:
    made = Backend(port, user, password)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def running(port: int, *configs: dict[str, Any], **options: Any) -> Iterator[list[Any]]:
    """The simulated nodes of these configurations, started."""
    with Simulator(broker=("127.0.0.1", port)) as simulator:
        nodes = [simulator.add(config, **options) for config in configs]
        for node in nodes:
            node.start()
        yield nodes
