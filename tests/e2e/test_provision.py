"""Credentials made by `fieldhand provision`: a real Mosquitto takes them, and nodes change to new
ones, or back by themselves."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from conftest import missing
from e2e import certificates
from e2e.nodes import WAIT_S, Backend, backend, example, running
from mosquitto import Mosquitto, executable
from paho.mqtt.enums import CallbackAPIVersion

from fieldhand import fleetfile
from fieldhand.broker import Broker
from fieldhand.cli import main
from fieldhand.client import Fleet
from fieldhand.connection import BrokerAddress
from fieldhand.device import slot
from fieldhand.fleetfile import template
from fieldhand.provisioning import brokerfiles, credentials

HOST, HOST_PASSWORD = "house", "only for the tests"
STATUS = "devices/greenhouse/status"
DATA = "devices/greenhouse/data"
# The firmware with its limits shortened: a minute and ten are too long for a test.
QUICK = """
from fieldnode import trial
trial.CONFIRM_MS = 1000
trial.REVERT_MS = 3000
from fieldnode import start
start.main()
"""


@dataclass
class Site:
    """A fleet file with credentials for all its nodes, and a Mosquitto that demands them."""

    file: fleetfile.FleetFile
    broker: Mosquitto

    @property
    def port(self) -> int:
        return self.broker.port

    def of(self, node: str) -> credentials.Credentials:
        return credentials.load(credentials.path_for(self.file.path))[node]

    def nvs(self, node: str, **more: str) -> dict[str, dict[str, str]]:
        own = self.of(node)
        return {"fieldhand": {"mqtt_user": own.user, "mqtt_pass": own.password, **more}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if executable() is None:
        missing("mosquitto is not installed: apt-get install mosquitto")
    folder = tmp_path_factory.mktemp("site")
    named = f'[broker]\nuser = "{HOST}"\npassword = "${{MQTT_PASSWORD}}"\n'
    (folder / "fleet.toml").write_text(template.FLEET_TOML.replace("[broker]\n", named))
    (folder / ".env").write_text(f"MQTT_PASSWORD={HOST_PASSWORD}\n")
    arguments = ["provision", "--all", "--broker-file", "mosquitto"]
    assert main([*arguments, "-f", str(folder / "fleet.toml")]) == 0
    conf = (folder / ".fieldhand" / "mosquitto" / "fieldhand.conf").read_text()
    with Mosquitto(persistent=False, extra=tuple(conf.splitlines())) as broker:
        yield Site(fleetfile.load(folder / "fleet.toml"), broker)


@pytest.fixture
def house(site: Site) -> Iterator[Backend]:
    with backend(site.port, HOST, HOST_PASSWORD) as heard:
        yield heard


def says(word: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: word in json.dumps(message)


def connack(port: int, user: str | None, password: str | None) -> str:
    """What a broker answers to CONNECT."""
    answers: list[str] = []
    done = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(user, password)

    def answered(*arguments: Any) -> None:
        answers.append(str(arguments[3]))
        done.set()

    client.on_connect = answered
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert done.wait(WAIT_S)
    client.disconnect()
    client.loop_stop()
    return answers[0]


@contextmanager
def client(port: int, own: credentials.Credentials) -> Iterator[paho.Client]:
    made = paho.Client(CallbackAPIVersion.VERSION2)
    made.username_pw_set(own.user, own.password)
    connected = threading.Event()
    refused: list[str] = []

    def answered(*arguments: Any) -> None:
        if arguments[3].is_failure:
            refused.append(str(arguments[3]))
        connected.set()

    made.on_connect = answered
    made.connect("127.0.0.1", port)
    made.loop_start()
    assert connected.wait(WAIT_S)
    assert not refused, refused
    try:
        yield made
    finally:
        made.disconnect()
        made.loop_stop()


def test_mosquitto_lets_in_who_has_the_password_and_nobody_else(site: Site) -> None:
    pool, panel = site.of("pool"), site.of("panel-7")
    assert connack(site.port, HOST, HOST_PASSWORD) == "Success"
    assert connack(site.port, pool.user, pool.password) == "Success"
    for user, password in (
        (pool.user, pool.password[:-1]),
        (pool.user, panel.password),
        (pool.user, pool.code),
        (pool.user, None),
        ("nobody", pool.password),
        (None, None),
    ):
        assert connack(site.port, user, password) == "Not authorized", user


def test_mosquitto_keeps_a_node_to_its_own_topics(site: Site, house: Backend) -> None:
    """A 3.1.1 broker acknowledges what it denies: only who listens can tell."""
    others = "devices/org-123/pool/telemetry"
    own = "company/acme/machine/panel-7/telemetry"
    with client(site.port, site.of("panel-7")) as panel:
        for topic in (others, "company/acme/machine/panel-7/command", "farm/telemetry", own):
            panel.publish(topic, b"{}", 1)
        house.wait(own)
        assert [topic for topic, _, _ in house.messages] == [own]
        heard: list[str] = []
        panel.on_message = lambda _client, _data, message: heard.append(message.topic)
        subscribed = threading.Event()
        panel.on_subscribe = lambda *_: subscribed.set()
        panel.subscribe("#", 1)
        assert subscribed.wait(WAIT_S)
        mine = "company/acme/machine/panel-7/command"
        for topic in ("devices/org-123/pool/commands", mine):
            house.publish(topic, {})
        deadline = threading.Event()
        for _ in range(200):
            if mine in heard:
                break
            deadline.wait(0.1)
        assert heard == [mine]


def test_a_node_does_all_it_has_to_within_its_access_list(site: Site, house: Backend) -> None:
    config = example("greenhouse", site.port)
    with running(site.port, config, nvs=site.nvs("greenhouse")):
        house.wait(DATA)
        house.wait(STATUS)
        mark = house.mark()
        house.publish("devices/greenhouse/command", {"action": "pump_water", "durationMs": 200})
        house.wait(STATUS, says('"ack"'), mark)
    # The will: it was allowed too.
    house.wait(STATUS, lambda status: status.get("status") == "offline", mark)
    assert "Denied" not in site.broker.log.split("greenhouse", 1)[-1]


def test_the_embedded_broker_asks_for_the_same_passwords(site: Site) -> None:
    pool = site.of("pool")
    with Broker(users=brokerfiles.users(site.file)) as broker:
        assert connack(broker.port, HOST, HOST_PASSWORD) == "Success"
        assert connack(broker.port, pool.user, pool.password) == "Success"
        for password in (pool.password[:-1], None):
            assert connack(broker.port, pool.user, password) in (
                "Not authorized",
                "Bad user name or password",
            )


def test_new_broker_credentials_that_work_stay(site: Site, house: Backend, by_name: str) -> None:
    """From a broker that knows nobody to the site's."""
    own = site.of("greenhouse")
    new = {"host": "127.0.0.1", "port": site.port, "user": own.user, "password": own.password}
    with Broker() as old:
        config = example("greenhouse", old.port)
        with running(old.port, config, files={"main.py": QUICK}, heap=by_name) as (node,):
            node.wait(lambda: old.counters().clients_connected == 1, 30, "connection")
            node.nvs["fieldhand"]["net_trial"] = json.dumps({"broker": new}).encode()
            mark = house.mark()
            node.press_reset()
            told = house.wait(STATUS, says('"credentials": "on trial"'), mark)
            kept = house.wait(STATUS, says('"event": "credentials"'), mark)
            assert kept["_fh"]["event"]["what"] == "kept" and told
            stored = node.nvs["fieldhand"]
            assert json.loads(stored["net"])["broker"] == new and stored["net_trial"] == b"{}"
            node.power_cut()
            mark = house.mark()
            node.start()
            house.wait(DATA, since=mark)
            assert old.counters().connects == 1  # the first time


@pytest.mark.parametrize("wrong", ["Wi-Fi password", "broker", "broker password"])
def test_wrong_ones_are_taken_back_by_the_node(
    site: Site, house: Backend, by_name: str, wrong: str
) -> None:
    with socket.socket() as nobody:  # bound and not listening: connections are refused
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        sent, reason = {
            "Wi-Fi password": ({"wifi": {"ssid": "field", "password": "no"}}, "password"),
            "broker": ({"broker": {"host": "127.0.0.1", "port": port}}, "ECONNREFUSED"),
            "broker password": ({"broker": {"password": "no"}}, "not authorised"),
        }[wrong]
        config = example("greenhouse", site.port)
        nvs = site.nvs("greenhouse", wifi_pass="right", net_trial=json.dumps(sent))
        options: dict[str, Any] = {"nvs": nvs, "files": {"main.py": QUICK}, "heap": by_name}
        with running(site.port, config, **options) as (node,):
            node.station.ssid, node.station.password = "field", "right"
            mark = house.mark()
            told = house.wait(STATUS, says("credentials taken back"), mark, timeout=60)
            assert reason in json.dumps(told), told
            house.wait(DATA, since=mark)
            assert node.nvs["fieldhand"]["net_trial"] == b"{}"
            assert "net" not in node.nvs["fieldhand"] and node.restart_count == 1


def test_what_a_cable_writes_is_what_the_node_reads(site: Site, tmp_path: Path) -> None:
    """The script of `provision --port`, run by a board's MicroPython."""
    data = '{"wifi":{"ssid":"Köln \'7\'","password":"\\\\\\"x"}}'.encode()
    config = example("greenhouse", site.port)
    files: dict[str, str | bytes] = {"main.py": slot.code(data), "fieldnode/slots.py": ""}
    with running(site.port, config, files=files) as (node,):
        node.wait_console("fieldhand-slots")
        assert node.nvs["fieldhand"]["net_trial"] == data


@pytest.fixture(scope="module")
def tls_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mosquitto, Path]]:
    """A Mosquitto with TLS, and the folder with its authority: ca.pem, ca.der."""
    if executable() is None:
        missing("mosquitto is not installed: apt-get install mosquitto")
    folder = tmp_path_factory.mktemp("tls")
    certificates.authority(folder)
    lines = certificates.server(folder, "IP:127.0.0.1")
    with Mosquitto(persistent=False, extra=lines) as broker:
        yield broker, folder


def test_new_ones_go_over_mqtt_where_the_link_is_tls(
    tls_broker: tuple[Mosquitto, Path], site: Site, by_name: str
) -> None:
    broker, folder = tls_broker
    authority = (folder / "ca.der").read_bytes()
    config = example("greenhouse", broker.port)
    config["broker"]["tls"] = {"ca": "ca.pem"}
    files: dict[str, str | bytes] = {"main.py": QUICK, "ca.pem": authority}
    # The broker itself, no longer the wire that the simulator put between.
    new = {"broker": {"host": "127.0.0.1", "port": broker.port, "user": "n", "password": "new"}}
    address = BrokerAddress("127.0.0.1", broker.port, tls_ca=str(folder / "ca.pem"))
    with (
        running(broker.port, config, files=files, heap=by_name) as (node,),
        Fleet(broker=address, nodes=dict(site.file.nodes), received=False) as fleet,
    ):
        events = fleet.node_events("greenhouse", timeout=60)
        statuses = fleet.statuses("greenhouse", timeout=60)
        next(iter(statuses))
        pending = fleet.send_credentials("greenhouse", new)
        pending.result()
        kept = next(one for one in events if one.event == "credentials")
        assert kept.data["what"] == "kept" and node.restart_count == 1
        assert json.loads(node.nvs["fieldhand"]["net"])["broker"] == new["broker"]
        assert "u'n'" in broker.log  # the user it logs in as
        assert "new" not in "\n".join(node.console.lines()).replace("new credentials", "")


def test_no_secret_leaves_this_machine_without_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Broker() as broker:
        where = f'[broker]\nnode_host = "192.0.2.1"\nport = {broker.port}\n'
        text = template.FLEET_TOML.replace("[broker]\n", where).replace("port = 1883\n", "")
        (tmp_path / "fleet.toml").write_text(text)
        arguments = ["provision", "pool", "--over", "mqtt", "--only", "broker"]
        assert main([*arguments, "-f", str(tmp_path / "fleet.toml")]) == 1
        assert "TLS only" in capsys.readouterr().err
        assert broker.counters().messages_received == 0
