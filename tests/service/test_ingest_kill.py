"""Killed at any point, the service loses nothing that was acknowledged and stores nothing twice.

Neither readings nor what it refuses.
"""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from conftest import missing
from mosquitto import Mosquitto, executable
from paho.mqtt import publish
from paho.mqtt.enums import CallbackAPIVersion
from service.running import Serve
from service.test_ingest import ingesting, until

from fieldhand import dialects
from fieldhand.connection import BrokerAddress
from fieldhand.service.store import deadletters, readings
from fieldhand.service.store.database import Database

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
    """Publishes numbered readings of a few nodes; `stop` waits until the broker has them all.

    One in so many is followed by one that no dialect can read, where `spoilt` is not 0.
    """

    def __init__(self, port: int, spoilt: int = 0) -> None:
        self.sent: list[tuple[str, int]] = []
        self.refused: list[bytes] = []
        self._spoilt = spoilt
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(100)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = self._acknowledged
        self._published = 0
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._stop = threading.Event()
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
            self._client.publish(packet.topic, packet.payload, 1)
            self.sent.append((node, number))
            if self._spoilt and len(self.sent) % self._spoilt == 0:
                refused = b'{"number": %d' % len(self.sent)
                self._client.publish(packet.topic, refused, 1)
                self.refused.append(refused)

    def _acknowledged(self, *_: object) -> None:
        self._published += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        until(lambda: self._published == len(self.sent) + len(self.refused))
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


def refused(database: Database) -> list[bytes]:
    """The payloads of all dead letters."""
    found: list[bytes] = []
    before = None
    with database.reading() as connection:
        while page := deadletters.listing(connection, before=before, limit=1000):
            found += [letter.payload for letter in page]
            before = page[-1].id
    return found


def test_kill_9_in_a_loop_under_load(quick_mosquitto: Mosquitto, tmp_path):
    chance = random.Random(5)
    serve = Serve(tmp_path, "--broker", f"mqtt://127.0.0.1:{quick_mosquitto.port}")
    serve.start()  # once, so that the broker has the session
    publisher = Publisher(quick_mosquitto.port, spoilt=3)
    database = Database(f"sqlite:///{tmp_path}/.fieldhand/service.db")
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
        # They came among the readings, so they have been stored too.
        assert serve.stop() == 0
        letters = refused(database)
        assert len(letters) == len(set(letters)), "a dead letter is there twice"
        assert set(letters) == set(publisher.refused) and len(letters) > 300
    finally:
        database.close()
        serve.close()


# An ingest with a hook that is the last thing it sees: after the commit, before the PUBACK.
DIES = """
import os, signal, sys, time
from fieldhand.connection import BrokerAddress
from fieldhand.service import settings
from fieldhand.service.live.hub import Hub
from fieldhand.service.ingest.workers import Ingest
from fieldhand.service.store.database import Database

class Dies:
    def store(self, connection, arrivals):
        pass

    def committed(self, arrivals):
        os.kill(os.getpid(), signal.SIGKILL)

database = Database(sys.argv[1])
database.open()
chosen = settings.load({"client_id": "dies"}, environment={})
Ingest(BrokerAddress("127.0.0.1", int(sys.argv[2])), chosen, database, Hub(), [Dies()]).start()
time.sleep(30)
"""


def test_killed_between_the_commit_and_the_acknowledgement(quick_mosquitto: Mosquitto, tmp_path):
    address = BrokerAddress("127.0.0.1", quick_mosquitto.port)
    database = Database(f"sqlite:///{tmp_path}/service.db")
    database.open()
    with ingesting(address, database, client_id="dies"):
        pass  # so that the broker has the session
    publisher = Publisher(quick_mosquitto.port, spoilt=3)
    while len(publisher.refused) < 20:
        time.sleep(0.01)
    publisher.stop()
    # Nothing in these tells one from the next.
    night = [("company/1/machine/m1/telemetry", b'{"solar_v": 0.0, "battery": 12.1}', 1, False)]
    for _ in range(2):
        publish.multiple(night * 15, port=quick_mosquitto.port)
        command = [sys.executable, "-c", DIES, str(database.url), str(quick_mosquitto.port)]
        assert subprocess.run(command, timeout=WAIT_S).returncode == -signal.SIGKILL
    before = len(refused(database))
    assert before > 0
    wanted = len(publisher.sent) + 2 * 15
    with ingesting(address, database, client_id="dies") as ingest:
        until(lambda: ingest.counts["reading"] + ingest.counts["duplicate"] >= wanted)
        until(lambda: ingest.counts["invalid"] >= len(publisher.refused))
        # What had been stored came once more.
        assert ingest.counts["duplicate"] > 0
    assert sorted(refused(database)) == sorted(publisher.refused)
    with database.reading() as connection:
        assert readings.count(connection) == wanted
    database.close()


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
