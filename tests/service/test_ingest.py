"""The ingest on real brokers: what is refused, what floods, what is shared, what comes back."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from mosquitto import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion

from fieldhand import dialects
from fieldhand.broker import Broker
from fieldhand.connection import BrokerAddress
from fieldhand.service import settings as settings_module
from fieldhand.service.arrivals import Message
from fieldhand.service.ingest import flood, sharing, takeover
from fieldhand.service.ingest.workers import Ingest
from fieldhand.service.ingest.writer import NodeTable, Writer
from fieldhand.service.live.hub import Hub
from fieldhand.service.store import deadletters, events, nodes, readings
from fieldhand.service.store.database import Database
from fieldhand.service.store.window import Window

WAIT_S = 20.0


def until(done: Callable[[], object], timeout: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


@pytest.fixture
def store(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/service.db")
    database.open()
    yield database
    database.close()


@contextmanager
def ingesting(broker, database, hooks=(), **values):
    settings = settings_module.load(values, environment={})
    address = BrokerAddress(broker.host, broker.port)
    ingest = Ingest(address, settings, database, Hub(), hooks)
    ingest.start()
    try:
        yield ingest
    finally:
        ingest.stop()


@contextmanager
def publisher(broker):
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect(broker.host, broker.port)
    client.loop_start()

    def publish(topic, payload, retain=False):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        client.publish(topic, payload, 1, retain).wait_for_publish(WAIT_S)

    try:
        yield publish
    finally:
        client.disconnect()
        client.loop_stop()


def packet(node, seq, dialect="plantnanny", **values):
    bound = dialects.load(dialect, {})
    quantities = {"air_temperature": 20.0, "soil_moisture": 40.0, "relative_humidity": 50.0,
                  "time": 1_795_000_000 + seq, **values}  # fmt: skip
    return bound.encode(
        "reading", node, quantities, {"boot": "1-a", "seq": seq, "ms": seq, "q": "synced"}
    )[:2]


def seqs(database, name):
    with database.reading() as connection:
        (node,) = nodes.find(connection, name)
        return [row["seq"] for row in readings.history(connection, node.id, Window(limit=100_000))]


def letters(database):
    with database.reading() as connection:
        return deadletters.listing(connection)


def test_what_is_refused_is_kept_with_the_reason(mosquitto, store):
    with ingesting(mosquitto, store, client_id="refused", max_payload=1000) as ingest:
        with publisher(mosquitto) as publish:
            publish("devices/g1/data", b"\xff{")
            publish("devices/g1/data", {"temperatureC": "<b>hot</b>"})
            publish("devices/g1/data", b'{"temperatureC": ' + b"1" * 5000 + b"}")
            publish(*packet("g1", 1))
        until(lambda: ingest.counts["reading"] == 1)
        found = {letter.reason: letter for letter in letters(store)}
    assert seqs(store, "g1") == [1]
    (long,) = [letter for letter in found.values() if not letter.whole]
    assert (long.size, len(long.payload)) == (5018, 1001)
    assert "5018 bytes, more than 1000" in long.reason
    assert any("UTF-8" in reason for reason in found)
    assert any("temperatureC" in reason for reason in found)
    assert all(letter.topic == "devices/g1/data" for letter in found.values())


def test_a_flood_is_cut_and_told_and_delays_nobody(mosquitto, store, caplog, monkeypatch):
    monkeypatch.setattr(flood, "OVER_S", 0.5)
    with ingesting(mosquitto, store, client_id="flood", node_rate=5, node_burst=20) as ingest:
        with publisher(mosquitto) as publish:
            for seq in range(1, 101):
                publish(*packet("loud", seq))
                if seq % 10 == 0:
                    publish(*packet("quiet", seq // 10))
        until(lambda: ingest.counts["messages"] == 110)
        until(lambda: ingest.counts["reading"] + ingest.counts["flooded"] == 110)
        flooded = ingest.counts["flooded"]
        until(lambda: "is over" in caplog.text)
    assert f"flood of plantnanny:loud is over: {flooded} messages were dropped" in caplog.text
    assert seqs(store, "quiet") == list(range(1, 11))
    kept = seqs(store, "loud")
    assert kept[:20] == list(range(1, 21)) and len(kept) == 100 - flooded < 100
    told = sorted(letters(store), key=lambda letter: letter.id)
    assert {letter.topic for letter in told} == {"devices/loud/data"}
    # Twenty at once and five a second: of a hundred in a moment more than ten, at most eighty.
    assert [letter.reason for letter in told] == [
        f"more than 5 messages a second: {dropped} dropped so far" for dropped in (1, 10)
    ]


def test_what_waited_at_the_broker_is_no_flood(mosquitto, store):
    limits = {"client_id": "waited", "node_rate": 5, "node_burst": 20}
    with ingesting(mosquitto, store, **limits) as ingest, publisher(mosquitto) as publish:
        publish(*packet("g1", 1))
        until(lambda: ingest.counts["reading"] == 1)
    with store.writing() as connection:  # as if that had been ten minutes ago
        (node,) = nodes.find(connection, "g1")
        nodes.heard(connection, {node.id: time.time() - 600})
    with publisher(mosquitto) as publish:
        for seq in range(2, 302):
            publish(*packet("g1", seq))
    with ingesting(mosquitto, store, **limits) as ingest:
        until(lambda: ingest.counts["messages"] == 300)
        assert ingest.counts["flooded"] == 0
    assert seqs(store, "g1") == list(range(1, 302))


def test_several_workers_share_the_load_and_those_that_leave_lose_nothing(mosquitto, store):
    with ingesting(mosquitto, store, client_id="many", workers=3, node_rate=0) as ingest:
        with publisher(mosquitto) as publish:
            for seq in range(1, 201):
                publish(*packet(f"n{seq % 5}", seq))
        until(lambda: ingest.counts["reading"] == 200)
        parts = [worker.counts["messages"] for worker in ingest._workers]
        assert sum(parts) == 200 and min(parts) > 20
    with publisher(mosquitto) as publish:  # to the sessions of all three
        for seq in range(201, 261):
            publish(*packet(f"n{seq % 5}", seq))
    with ingesting(mosquitto, store, client_id="many", workers=1, node_rate=0) as ingest:
        until(lambda: ingest.counts["reading"] == 60)
        until(lambda: all(worker.gone for worker in ingest._leaving))
        assert len(ingest._leaving) == 2
        with publisher(mosquitto) as publish:
            publish(*packet("n0", 300))
        until(lambda: ingest.counts["reading"] == 61)
    stored = sorted(seq for n in range(5) for seq in seqs(store, f"n{n}"))
    assert stored == [*range(1, 261), 300]
    with ingesting(mosquitto, store, client_id="many", workers=1) as ingest:
        assert ingest._leaving == []


def test_a_broker_that_grants_and_delivers_nothing_is_named(store):
    with Broker() as broker:
        with pytest.raises(sharing.NotShared, match="delivers nothing"):
            sharing.check(BrokerAddress(broker.host, broker.port), "g")
        with pytest.raises(sharing.NotShared, match="--workers 1"):
            with ingesting(broker, store, workers=2):
                pass
        with ingesting(broker, store, workers=1) as ingest, publisher(broker) as publish:
            publish(*packet("g1", 1))
            until(lambda: ingest.counts["reading"] == 1)


def test_the_broker_restarts(own_mosquitto: Mosquitto, store, caplog):
    with ingesting(own_mosquitto, store) as ingest:
        with publisher(own_mosquitto) as publish:
            publish(*packet("g1", 1))
        until(lambda: ingest.counts["reading"] == 1)
        own_mosquitto.stop()
        until(lambda: ingest.trouble is not None)
        assert not ingest.connected
        own_mosquitto.start()
        until(lambda: ingest.connected)
        with publisher(own_mosquitto) as publish:
            publish(*packet("g1", 2))
        until(lambda: ingest.counts["reading"] == 2)
        assert ingest.trouble is None
    said = [record.message for record in caplog.records if "fieldhand-service" in record.message]
    assert len(said) == 2 and "trying again" in said[0] and "connected again" in said[1]


def test_two_services_with_one_id_are_told_so_and_come_to_rest(
    mosquitto, store, tmp_path, caplog, monkeypatch
):
    name = "both-of-us"
    other = Database(f"sqlite:///{tmp_path}/other.db")
    other.open()
    with ingesting(mosquitto, store, client_id=name) as ingest:
        with ingesting(mosquitto, other, client_id=name) as second:
            until(lambda: "another client probably" in (ingest.trouble or ""))
            until(lambda: "another client probably" in (second.trouble or ""))
            assert f"uses the id '{name}': give each service its own client_id" in ingest.trouble
        with publisher(mosquitto) as publish:
            publish(*packet("g1", 1))
        until(lambda: ingest.counts["reading"] == 1)
        # A session that has lasted long enough is ours alone; here at once.
        monkeypatch.setattr(takeover, "STEADY_S", 0.0)
        until(lambda: ingest.connected and ingest.trouble is None)
    other.close()
    said = [record.message for record in caplog.records if record.message.startswith(name)]
    assert sum("another client probably" in line for line in said) == 2, said
    assert sum("nobody else takes the session any more" in line for line in said) == 1
    # Two tries each before it is suspected, told when they begin and end; the third tells why.
    assert len(said) <= 2 * (2 * takeover.TIMES) + 1, said


def test_what_is_and_is_no_takeover():
    found = takeover.Takeovers()
    for at in (0.0, 14.0, 31.0):  # never three within 30 s
        found.ended(1.0, True, at)
        assert not found.suspected
    found.ended(1.0, True, 43.9)
    assert found.suspected
    found.ended(takeover.STEADY_S, True, 80.0)
    assert not found.suspected
    for lasted, by_broker in ((None, False), (1.0, False), (takeover.STEADY_S, True)):
        found.ended(1.0, True, 100.0)
        found.ended(1.0, True, 101.0)
        found.ended(lasted, by_broker, 102.0)  # refused; silent; a day
        found.ended(1.0, True, 103.0)
        assert not found.suspected
        found.forget()


class Unwilling:
    """A hook whose transaction fails for a while, as a full disk makes it."""

    def __init__(self) -> None:
        self.broken = threading.Event()
        self.tries = 0

    def store(self, connection, arrivals):
        self.tries += 1
        if self.broken.is_set():
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            for number in range(2000):
                connection.exec_driver_sql(
                    "INSERT INTO progress VALUES (?, 1)", (f"{number}" + "x" * 4000,)
                )

    def committed(self, arrivals):
        pass


def test_a_full_disk_loses_nothing_and_is_said_once(mosquitto, store, caplog):
    hook = Unwilling()
    with ingesting(mosquitto, store, [hook], client_id="full") as ingest:
        with publisher(mosquitto) as publish:
            publish(*packet("g1", 1))
            until(lambda: ingest.counts["reading"] == 1)
            hook.broken.set()
            publish(*packet("g1", 2))
            publish(*packet("g1", 3))
            until(lambda: ingest.trouble is not None and hook.tries > 4)
            assert "full" in ingest.trouble
            assert seqs(store, "g1") == [1]
            hook.broken.clear()
            with store.reading() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
            store.engine.dispose()
            until(lambda: ingest.counts["reading"] == 3)
        assert ingest.trouble is None
    assert seqs(store, "g1") == [1, 2, 3]
    said = [r.message for r in caplog.records if r.message.startswith("full: ")]
    assert len(said) == 2 and "trying again" in said[0] and "stores again" in said[1]


def test_the_database_is_away_for_a_while(own_postgres, mosquitto, caplog):
    database = Database(own_postgres.url())
    database.open()
    with (
        ingesting(mosquitto, database, client_id="away") as ingest,
        publisher(mosquitto) as publish,
    ):
        publish(*packet("g1", 1))
        until(lambda: ingest.counts["reading"] == 1)
        own_postgres.stop()
        for seq in range(2, 60):
            publish(*packet("g1", seq))
        until(lambda: ingest.trouble is not None)
        own_postgres.start()
        until(lambda: ingest.counts["reading"] == 59)
        assert ingest.trouble is None
        assert seqs(database, "g1") == list(range(1, 60))
    said = [r.message for r in caplog.records if r.message.startswith("away: ")]
    assert len(said) == 2
    database.close()


def test_one_message_that_cannot_be_stored_harms_none_beside_it(database, mosquitto):
    """A NUL is text to SQLite, and none to PostgreSQL."""
    name = f"nul-{database.url.get_backend_name()}"
    with ingesting(mosquitto, database, client_id=name) as ingest:
        with publisher(mosquitto) as publish:
            publish(*packet(f"{name}-a", 1))
            topic, payload = packet(f"{name}-b", 1)
            publish(topic, payload.replace(b'"1-a"', b'"1\\u0000a"'))
            publish(*packet(f"{name}-c", 1))
        until(lambda: ingest.counts["messages"] == 3)
        until(lambda: ingest.counts["reading"] + ingest.counts["invalid"] == 3)
        assert seqs(database, f"{name}-a") == seqs(database, f"{name}-c") == [1]
        if not database.sqlite:
            (letter,) = letters(database)
            assert "could not be stored" in letter.reason


def test_a_reading_without_time_or_number_comes_again(store):
    """A device of somebody else's: what it repeats counts, what the broker repeats does not."""
    settings = settings_module.load({}, environment={})
    writer = Writer(store, settings, NodeTable(store, 10), Hub(), ())

    def came(at, mid=None, dup=False, retained=False):
        payload = b'{"temperatureC": 21.5}'
        delivery = None if mid is None else ("service", mid)
        message = Message("devices/g1/data", payload, len(payload), retained, dup, at, delivery)
        writer.write(writer.prepare([message]))
        with store.reading() as connection:
            return readings.count(connection)

    assert [came(1000.0, 1), came(1010.0, 2), came(1010.000001, 3), came(1011.0)] == [1, 2, 3, 4]
    # Delivered again: 1 to 3 are there. 4 is marked so too, but was never stored.
    assert [came(1020.0, mid, dup=True) for mid in (1, 2, 3, 4)] == [4, 4, 4, 5]
    assert came(1030.0, 4, dup=True) == 5
    # An identifier is given again, after a day at the latest.
    assert came(1040.0, 1) == 6
    assert came(1e6, 1, dup=True) == 7
    assert came(1e6 + 1, retained=True) == 7


def test_readings_that_say_the_same_are_all_kept(mosquitto, store):
    """A solar machine at night: no time, no number, and nothing changes."""
    night = ("company/1/machine/m1/telemetry", {"battery": 12.1, "solar_v": 0.0, "water": 80})
    with ingesting(mosquitto, store, client_id="night") as ingest, publisher(mosquitto) as publish:
        publish(*night)
        until(lambda: ingest.counts["reading"] == 1)
    with publisher(mosquitto) as publish:
        for _ in range(10):
            publish(*night)
    with ingesting(mosquitto, store, client_id="night") as ingest, publisher(mosquitto) as publish:
        until(lambda: ingest.counts["messages"] == 10)
        for _ in range(20):
            publish(*night)
        until(lambda: ingest.counts["messages"] == 30)
        until(lambda: ingest.counts["reading"] + ingest.counts["duplicate"] == 30)
    with store.reading() as connection:
        assert readings.count(connection) == 31


def test_what_is_refused_comes_again(database):
    """What a device repeats is kept, what the broker repeats is not."""
    settings = settings_module.load({}, environment={})
    writer = Writer(database, settings, NodeTable(database, 10), Hub(), ())

    def came(at, payload=b"{", dup=False, retained=False, topic="devices/g1/data"):
        message = Message(topic, payload, len(payload), retained, dup, at)
        writer.write(writer.prepare([message]))
        with database.reading() as connection:
            return deadletters.count(connection)

    assert [came(1000.0), came(1010.0)] == [1, 2]
    assert came(1020.0, dup=True) == 2
    # Another one, or one that is marked but was never kept.
    assert came(1030.0, b"{{", dup=True) == 3
    assert came(1040.0, topic="devices/g2/data", dup=True) == 4
    assert came(1050.0, b"[", retained=True) == 5
    assert came(1060.0, b"[", retained=True) == 5
    # What the broker keeps is the same after a year, what it delivers again is not.
    assert came(1e9, b"[", retained=True) == 5
    assert came(1e9, b"[", dup=True) == 6
    assert came(1e9, b"[") == 7


def test_an_alert_without_time_or_number_comes_again(database):
    settings = settings_module.load({}, environment={})
    writer = Writer(database, settings, NodeTable(database, 10), Hub(), ())

    def came(at, mid, dup=False):
        alert = b'{"severity": "info", "message": "the door is open", "state": "raised"}'
        payload = b'{"status": "online", "_fh": {"alert": %b}}' % alert
        message = Message(
            "devices/g1/status", payload, len(payload), False, dup, at, ("service", mid)
        )
        writer.write(writer.prepare([message]))
        with database.reading() as connection:
            (node,) = nodes.find(connection, "g1")
            return len(events.history(connection, node_id=node.id))

    assert [came(1000.0, 1), came(1010.0, 2), came(1020.0, 2, dup=True)] == [1, 2, 2]
    assert [came(1030.0, 3, dup=True), came(1040.0, 4)] == [3, 4]


def test_a_kept_message_that_is_refused_is_refused_once(mosquitto, store):
    """The broker sends it at each start of the service."""
    with publisher(mosquitto) as publish:
        publish("devices/kept/status", b"{", retain=True)
        try:
            for _ in range(3):
                with ingesting(mosquitto, store, client_id="kept") as ingest:
                    until(lambda ingest=ingest: ingest.counts["invalid"])
            assert [letter.payload for letter in letters(store)] == [b"{"]
        finally:
            publish("devices/kept/status", b"", retain=True)


def test_farm_stores_every_30_s_and_shows_every_3(mosquitto, store):
    """Smart Farming's document: a reading every 3 s, stored every 30 s."""
    with ingesting(mosquitto, store, client_id="farm", store_every={"farm": 30}) as ingest:
        with publisher(mosquitto) as publish:
            for number in range(21):
                publish(
                    *packet("farm_1", number + 1, "farm", time=1_795_000_000 + 3 * number, npk=400)
                )
        until(lambda: ingest.counts["messages"] == 21)
        until(lambda: ingest.counts["reading"] == 21)
    assert seqs(store, "farm_1") == [1, 11, 21]


def test_a_backlog_among_what_is_measured_now_is_thinned_out_too(mosquitto, store):
    with ingesting(mosquitto, store, client_id="thin", store_every={"farm": 30}) as ingest:
        with publisher(mosquitto) as publish:
            for number in range(20):
                for nth, start in enumerate((1_795_000_000, 1_795_005_000)):
                    told = {"time": start + 3 * number, "npk": 400}
                    publish(*packet("farm_1", 2 * number + nth, "farm", **told))
        until(lambda: ingest.counts["reading"] == 40)
    # Each 30 s of each: the first and the eleventh.
    assert seqs(store, "farm_1") == [0, 20, 1, 21]


def test_the_garbage_of_one_farm_leaves_room_for_the_mistakes_of_another(mosquitto, store):
    limits = {"client_id": "shared", "node_rate": 1, "node_burst": 5}
    with ingesting(mosquitto, store, **limits) as ingest, publisher(mosquitto) as publish:
        publish(*packet("innocent", 1, "farm", time=1_795_000_000, npk=400))
        until(lambda: ingest.counts["reading"] == 1)
        for number in range(100):
            publish("farm/telemetry", {"farm_id": f"bad_{number % 7}", "npk": "?"})
        for number in range(3):
            publish("farm/telemetry", {"farm_id": "innocent", "npk": 1, "odd": number})
        until(lambda: ingest.counts["messages"] == 104)
        until(lambda: ingest.counts["invalid"] + ingest.counts["flooded"] >= 103)
    assert sum(b"innocent" in letter.payload for letter in letters(store)) == 3
    assert len(letters(store)) < 50


def test_a_wrong_broker_is_one_line(store):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = settings_module.load({}, environment={})
    ingest = Ingest(BrokerAddress("127.0.0.1", port), settings, store, Hub())
    with pytest.raises(Exception, match="Connection refused"):
        ingest.start()
