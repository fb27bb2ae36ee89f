"""What can be wrong on the way to the broker: Wi-Fi, name, port, login and access list."""

import socket

import pytest
from e2e.doctor.ward import assert_fails
from mosquitto import Mosquitto

from fieldhand.connection import BrokerAddress


def test_wrong_password(pool):
    pool.node.faults.wifi("wrong_password")
    assert_fails(pool.finding("Wi-Fi"), "wrong password (202)", "dBm", "WIFI_PASSWORD")


def test_no_access_point(pool):
    pool.node.faults.wifi("no_ap")
    assert_fails(pool.finding("Wi-Fi"), "no access point called field", "2.4 GHz")


def test_a_name_that_is_nearly_right_is_recognised(pool):
    pool.change(wifi={"ssid": "Field"})
    try:
        pool.node.station.ssid = "field"
        assert_fails(pool.finding("Wi-Fi"), "no access point called Field", "Is it 'field'?")
    finally:
        pool.node.station.ssid = pool.first["wifi"]["ssid"]


def test_a_weak_signal_is_a_warning(pool):
    pool.node.world.signal_strength = -84
    try:
        finding = pool.finding("Wi-Fi")
    finally:
        pool.node.world.release("signal_strength")
    assert finding.state == "warn" and "-84 dBm (too weak)" in finding.text


def test_unknown_broker_name(pool):
    pool.change(broker={"host": "no-such-broker.invalid"})
    found = pool.findings("DNS")
    assert_fails(found["DNS"], "no-such-broker.invalid", "not found", "node_host")
    assert found["TCP"].state == found["ACL"].state == "skipped"


@pytest.mark.parametrize("tls", [False, True])
def test_closed_port(pool, tls):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: refused
        broker = {"port": held.getsockname()[1]} | ({"tls": {}} if tls else {})
        pool.change(broker=broker)
        found = pool.findings("TCP")
    assert found["DNS"].state == "ok"
    assert_fails(found["TCP"], "refuses the connection", "listening")


def test_something_else_listens_there(pool):
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(64)

        thread = threading.Thread(target=answer)
        thread.start()
        pool.change(broker={"port": server.getsockname()[1]})
        found = pool.findings("CONNACK")
        thread.join()
    assert found["TCP"].state == "ok"
    assert_fails(found["CONNACK"], "says nothing of MQTT")


def host_on(strict: Mosquitto) -> BrokerAddress:
    return BrokerAddress(strict.host, strict.port, "host", "secret")


@pytest.mark.parametrize("user", [{}, {"user": "good", "password": "wrong"}])
def test_refused_connack(pool, broker_of, strict, user):
    broker_of(strict)
    pool.change(broker=user)
    found = pool.findings("CONNACK")
    assert found["TCP"].state == "ok"
    assert_fails(found["CONNACK"], "not authorised (5)", "fieldhand provision NODE")
    assert found["CONNACK"].data["code"] == 5


def test_credentials_of_nvs_are_used(pool, broker_of, strict):
    broker_of(strict)
    pool.node.nvs["fieldhand"].update(mqtt_user=b"good", mqtt_pass=b"secret")
    assert pool.finding("CONNACK").state == "ok"


@pytest.mark.parametrize(
    ("user", "state", "words"),
    [
        ("good", "ok", "arrives here"),
        ("mute", "fail", "The node may not publish there"),
        ("deaf", "fail", "commands did not reach the node"),
    ],
)
def test_what_the_acl_denies_is_proven_by_this_host(pool, broker_of, strict, user, state, words):
    broker_of(strict)
    pool.change(broker={"user": user, "password": "secret"})
    patient = pool.patient(witness=True)
    patient.address = host_on(strict)
    finding = pool.finding("ACL", patient=patient)
    assert finding.state == state and words in f"{finding.text} | {finding.advice}", finding


@pytest.mark.parametrize(("user", "state"), [("good", "ok"), ("deaf", "warn")])
def test_without_this_host_a_silent_acl_stays_a_warning(pool, broker_of, strict, user, state):
    broker_of(strict)
    pool.change(broker={"user": user, "password": "secret"})
    finding = pool.finding("ACL")
    assert finding.state == state, finding


def test_a_host_that_cannot_listen_says_so(pool):
    patient = pool.patient(witness=True)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        patient.address = BrokerAddress("127.0.0.1", held.getsockname()[1])
        assert pool.finding("ACL", patient=patient).state == "ok"  # the node heard itself
    assert "cannot listen in" in patient.words[0]
