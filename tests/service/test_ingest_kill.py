"""Killed at any point, the service loses nothing that was acknowledged and stores nothing twice."""

import random
import threading
import time
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from conftest import missing
from mosquitto import Mosquitto, executable
from paho.mqtt.enums import CallbackAPIVersion
from service.running import Serve

from fieldhand import dialects

KILLS = 5
NODES = 4
WAIT_S = 30.0


@pytest.fixture
def quick_mosquitto() -> Iterator[Mosquitto]:
    """It keeps sessions in memory; it is not what is killed here."""
    if executable() is None:
        missing("mosquitto is not installed: apt-get install mosquitto")
    with Mosquitto(persistent=False, log_types="error") as broker:
        yield broker


class Publisher:
    """Publishes numbered readings of a few nodes; `stop` waits until the broker has them all."""

    def __init__(self, port: int) -> None:
        self.sent: list[tuple[str, int]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(100)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._stop = threading.Event()
        self._last: paho.MQTTMessageInfo | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        dialect = dialects.load("plantnanny", {})
        while not self._stop.wait(0.002):
            number = len(self.sent) // NODES + 1
            node = f"n{len(self.sent) % NODES}"
            values = {"air_temperature": 20.0, "time": 1_795_000_000 + number}
            ext = {"boot": "1-ab", "seq": number, "q": "synced"}
            packet = dialect.encode("reading", node, values, ext)
            self._last = self._client.publish(packet.topic, packet.payload, 1)
            self.sent.append((node, number))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        # The broker acknowledges in order, so the last is acknowledged when all are.
        assert self._last is not None
        self._last.wait_for_publish(WAIT_S)
        assert self._last.is_published()
        self._client.disconnect()
        self._client.loop_stop()


def stored(serve: Serve) -> list[tuple[str, int]]:
    found = []
    for node in serve.get("/nodes")["nodes"]:
        after = ""
        while True:
            page = serve.get(f"/nodes/{node['name']}/readings?limit=10000{after}")
            found += [(node["name"], row["seq"]) for row in page["readings"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
    return found


def test_kill_9_in_a_loop_under_load(quick_mosquitto: Mosquitto, tmp_path):
    chance = random.Random(5)
    serve = Serve(tmp_path, "--broker", f"mqtt://127.0.0.1:{quick_mosquitto.port}")
    serve.start()  # once, so that the broker has the session
    publisher = Publisher(quick_mosquitto.port)
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 0.6))
            serve.kill()
            serve.start()
        publisher.stop()
        wanted = set(publisher.sent)
        assert len(wanted) > 1000
        deadline = time.monotonic() + WAIT_S
        found = stored(serve)
        while len(found) < len(wanted) and time.monotonic() < deadline:
            time.sleep(0.1)
            found = stored(serve)
        assert len(found) == len(set(found)), "a reading is there twice"
        assert set(found) == wanted
        assert serve.stop() == 0
    finally:
        serve.close()


def test_what_comes_while_it_is_away_is_there_when_it_is_back(own_mosquitto: Mosquitto, tmp_path):
    serve = Serve(tmp_path, "--broker", f"mqtt://127.0.0.1:{own_mosquitto.port}")
    try:
        serve.start()
        assert serve.stop() == 0
        publisher = Publisher(own_mosquitto.port)
        time.sleep(0.3)
        publisher.stop()
        own_mosquitto.stop()  # and the broker, which writes its sessions down then
        own_mosquitto.start()
        serve.start()
        wanted = len(publisher.sent)
        serve.until("/nodes", lambda page: len(page["nodes"]) == NODES)
        deadline = time.monotonic() + WAIT_S
        while len(stored(serve)) < wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        assert set(stored(serve)) == set(publisher.sent)
    finally:
        serve.close()
