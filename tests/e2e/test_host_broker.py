"""The in-process broker, with real MQTT clients."""

import json
import socket
import threading
import time

import paho.mqtt.client as paho
import pytest

from fieldhand.broker import Broker
from fieldhand.broker.stats import BrokerStats
from fieldhand.errors import BrokerUnavailable
from fieldhand.pytest_plugin import fieldhand_broker  # noqa: F401 - also without the entry point


class Client:
    """A connected paho client that collects what it gets."""

    def __init__(self, broker, client_id, clean=True, user=None, topics=()):
        self.got = []
        self.refused = None
        self._ready = threading.Event()
        self.mqtt = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean
        )
        if user:
            self.mqtt.username_pw_set(*user)
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_subscribe = lambda *_: self._ready.set()
        self.mqtt.on_message = lambda c, u, m: self.got.append((m.topic, m.payload, m.retain))
        self._topics = [(topic, 1) for topic in topics]
        self.mqtt.connect(broker.host, broker.port)
        self.mqtt.loop_start()
        assert self._ready.wait(5)

    def _on_connect(self, client, userdata, flags, code, properties):
        if code.is_failure:
            self.refused = str(code)
        if self._topics and not code.is_failure:
            client.subscribe(self._topics)
        else:
            self._ready.set()

    def publish(self, *arguments, **options):
        self.mqtt.publish(*arguments, **options).wait_for_publish(5)

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def wait(self, count, timeout=5.0):
        deadline = time.monotonic() + timeout
        while len(self.got) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.got


def raw_client(broker, client_id, keepalive):
    """A connected socket with a will on will/<id>, of which no more is heard."""
    sock = socket.create_connection((broker.host, broker.port), timeout=5)
    head = b"\x00\x04MQTT\x04" + bytes([0x04 | 0x02 | 0x08]) + keepalive.to_bytes(2, "big")
    parts = (client_id, b"will/" + client_id, b"gone")
    body = head + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    sock.sendall(bytes([0x10, len(body)]) + body)
    assert sock.recv(4) == b"\x20\x02\x00\x00"
    return sock


@pytest.fixture
def clients():
    made = []

    def make(*arguments, **options):
        made.append(Client(*arguments, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def broker(fieldhand_broker):  # noqa: F811
    return fieldhand_broker


def test_passes_messages_on(broker, clients):
    reader = clients(broker, "r", topics=["a/#"])
    writer = clients(broker, "w")
    for number in range(50):
        writer.publish("a/b", str(number), qos=1)
    assert [payload for _, payload, _ in reader.wait(50)] == [b"%d" % n for n in range(50)]
    deadline = time.monotonic() + 10
    while (counters := broker.counters()).messages_sent < 50:  # counted after it is written
        assert time.monotonic() < deadline, counters
    assert counters.messages_received == 50 and counters.messages_sent == 50
    assert counters.clients_connected == 2 and counters.subscriptions == 1


def test_port_in_use_is_one_clear_error(broker):
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{broker.port}: the port is in use"):
        Broker(port=broker.port).start()


def test_an_address_of_another_machine_is_one_clear_error():
    with pytest.raises(BrokerUnavailable, match="this machine has no such address"):
        Broker("192.0.2.1", allow_anonymous=True).start()


def test_open_to_the_network_only_on_request():
    with pytest.raises(BrokerUnavailable, match="give users, or allow_anonymous"):
        Broker("0.0.0.0")


def test_start_and_stop_again_on_the_same_port():
    before = set(threading.enumerate())
    broker = Broker()
    broker.start()
    port = broker.port
    broker.stop()
    broker.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = broker.port
    with Broker(port=port) as again:
        assert again.port == port
    assert set(threading.enumerate()) <= before


def test_stops_with_clients_connected(clients):
    broker = Broker()
    broker.start()
    clients(broker, "r", topics=["#"])
    begin = time.monotonic()
    broker.stop()
    assert time.monotonic() - begin < 5


def test_users(clients):
    with Broker(users={"ann": "pässword"}) as broker:
        assert clients(broker, "a", user=("ann", "pässword")).refused is None
        assert clients(broker, "b", user=("ann", "wrong")).refused == "Not authorized"
        assert clients(broker, "c", user=("bob", "pässword")).refused == "Not authorized"
        assert clients(broker, "d").refused == "Not authorized"


def test_a_silent_client_loses_its_connection_and_its_will_is_published(broker, clients):
    reader = clients(broker, "r", topics=["will/#"])
    begin = time.monotonic()
    with raw_client(broker, b"q", keepalive=1):
        assert reader.wait(1) == [("will/q", b"gone", False)]
        assert 1.4 < time.monotonic() - begin < 3.5


def test_a_second_connection_ends_the_first_and_its_will_comes_at_once(broker, clients):
    reader = clients(broker, "r", topics=["will/#"])
    with raw_client(broker, b"q", 60) as first, raw_client(broker, b"q", 60) as second:
        assert reader.wait(1) == [("will/q", b"gone", False)]
        first.settimeout(5)
        assert first.recv(1) == b""
        second.sendall(b"\xc0\x00")
        assert second.recv(2) == b"\xd0\x00"
        time.sleep(0.3)
        assert len(reader.got) == 1


def test_a_kept_session_gets_what_came_while_it_was_away_and_nothing_else(broker, clients):
    clients(broker, "all", topics=["#"])
    writer = clients(broker, "w")
    writer.publish("other/state", b"kept", qos=1, retain=True)
    clients(broker, "s", clean=False, topics=["mine/#"]).close()
    time.sleep(0.2)
    writer.publish("mine/1", b"x", qos=1)
    back = clients(broker, "s", clean=False)
    back.wait(1)
    time.sleep(0.3)
    assert [(topic, payload) for topic, payload, _ in back.got] == [("mine/1", b"x")]


def test_retained_messages_come_on_subscribe(broker, clients):
    broker.publish("a/state", b"on", retain=True)
    assert clients(broker, "r", topics=["a/+"]).wait(1) == [("a/state", b"on", True)]


def test_rubbish_on_the_port_does_not_hurt(broker, clients):
    for rubbish in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x10\xff\xff\xff\x7f", b"\x00" * 100):
        with socket.create_connection((broker.host, broker.port), timeout=5) as sock:
            sock.sendall(rubbish)
    reader = clients(broker, "r", topics=["a"])
    clients(broker, "w").publish("a", b"1", qos=1)
    assert reader.wait(1)


def test_statistics_in_the_iotnode_dialect(broker, clients):
    reader = clients(broker, "r", topics=["iot/broker/#"])
    with BrokerStats(broker, interval=0.5):
        got = reader.wait(4)
    latest = {topic: json.loads(payload) for topic, payload, _ in got}
    assert latest["iot/broker/status"]["status"] == "online"
    assert latest["iot/broker/stats"]["connections"] == 1
    last = json.loads(clients(broker, "r2", topics=["iot/broker/status"]).wait(1)[-1][1])
    assert last["status"] == "offline"
