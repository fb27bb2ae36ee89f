"""What can be wrong with a node, caused for real: the doctor names it and says what to do.

The scripts run on a simulated node, its modules compiled as on a board; the brokers are Mosquitto.
"""

import base64
import datetime
import ipaddress
import json
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mosquitto import Mosquitto

from fieldhand import fleetfile, scripts
from fieldhand.connection import BrokerAddress
from fieldhand.doctor import CHECKS, Finding, Patient, cable, checks, examine, remote
from fieldhand.fleetfile import template
from fieldhand.sim import Simulator
from fieldhand.sim.executor import SimulatedExecutor

FAKES = Path(__file__).parents[2] / "fakes"
# A board's file system of 16 blocks in the memory of the simulated node: tests/fakes/flash.py.
RAM_DISK = f"""
import os, sys, vfs
sys.path.append({str(FAKES)!r})
from flash import Flash
_ram = Flash(16).format()
vfs.mount(vfs.VfsLfs2(_ram), "/ram")
os.chdir("/ram")
"""


class Ward:
    """One simulated node, whose configuration and surroundings each test changes."""

    def __init__(self, simulator: Simulator, name: str, broker: Mosquitto) -> None:
        text = template.FLEET_TOML.replace("port = 1883", f"port = {broker.port}")
        self.file = fleetfile.check(tomllib.loads(text), Path("example.toml"))
        self.config = self.file.nodes[name]
        self.simulator = simulator
        settings = fleetfile.node_json(self.file, self.config, broker=(broker.host, broker.port))
        self.executor = SimulatedExecutor(simulator, settings)
        self.node = self.executor.node
        self.settings: dict[str, Any] = json.loads(self._file("node.json").read_text())
        self.first = self.settings | {}

    def _file(self, name: str) -> Path:
        return self.node.flash / name

    def change(self, **sections: Any) -> None:
        """node.json with other values: a dict is laid over a section."""
        settings = json.loads(json.dumps(self.first))
        for key, value in sections.items():
            over = isinstance(value, dict) and key in settings
            settings[key] = {**settings[key], **value} if over else value
        self.write("node.json", json.dumps(settings))

    def write(self, name: str, content: str) -> None:
        self._file(name).write_text(content, "utf-8")

    def well(self) -> None:
        """All as it was."""
        self.node.faults.clear()
        self.node.nvs["fieldhand"].clear()
        self.write("node.json", json.dumps(self.first))

    def patient(self, *, witness: bool = False) -> Patient:
        found = cable.patient(self.executor)  # type: ignore[arg-type]
        found.root = "."
        if witness:
            cable.describe(found, self.file, self.config)
        return found

    def findings(self, line: str, *, patient: Patient | None = None) -> dict[str, Finding]:
        """What the check that gives `line` finds, by line."""
        patient = patient or self.patient()
        check = next(check for check in CHECKS if line in check.names)
        if line in ("DNS", "TCP", "TLS", "CONNACK", "ACL"):
            patient.run("settings", 20)
        return {finding.check: finding for finding in check.run(patient)}

    def finding(self, line: str, **options: Any) -> Finding:
        return self.findings(line, **options)[line]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come back on loopback within a second does not come."""
    monkeypatch.setattr(checks, "LOOP_MS", 1000)


@pytest.fixture(scope="module")
def simulator(mosquitto: Mosquitto) -> Iterator[Simulator]:
    with Simulator(broker=(mosquitto.host, mosquitto.port)) as made:
        yield made


@pytest.fixture(scope="module")
def pool_(simulator: Simulator, mosquitto: Mosquitto) -> Ward:
    return Ward(simulator, "pool", mosquitto)


@pytest.fixture
def pool(pool_: Ward) -> Iterator[Ward]:
    """DESE, with pumps, two EZO circuits, a DS18B20, a flow meter."""
    yield pool_
    pool_.well()


@pytest.fixture
def broker_of(pool: Ward) -> Iterator[Any]:
    """Give the pool's node another broker for this test."""
    first = pool.simulator.broker

    def other(broker: Mosquitto) -> None:
        pool.simulator.broker = (broker.host, broker.port)

    yield other
    pool.simulator.broker = first


def assert_fails(finding: Finding, *words: str) -> None:
    assert finding.state == "fail", finding
    assert finding.advice
    for word in words:
        assert word in f"{finding.text} | {finding.advice}", finding


def test_a_healthy_node_passes_every_check_in_order(pool):
    patient = pool.patient(witness=True)
    found = list(examine(patient))
    assert [f for f in found if f.state == "fail"] == []
    assert patient.words == []
    assert [f.check for f in found][:14] == [
        *("power", "crashes", "MicroPython", "firmware", "memory", "file system"),
        *("node.json", "identity", "Wi-Fi", "DNS", "TCP", "TLS", "CONNACK", "ACL"),
    ]
    by_name = {f.check: f for f in found}
    assert by_name["clock"].state == "ok"
    assert by_name["sensor ezo-ph@99"].text == "ph 7.4 pH"
    assert by_name["I2C"].data == {"found": [98, 99]}
    # This host heard the node, and the node this host.
    assert by_name["ACL"].data["heard"] is True
    assert "commands reaches the node" in by_name["ACL"].text
    assert "relay" not in by_name  # never by default
    for entry in pool.config.actuators:
        assert pool.node.pins[entry["pin"]] == entry.get("active_low", False)


def test_a_damaged_node_json_leaves_out_what_needs_it(pool):
    pool.write("node.json", '{"version": 1, ')
    found = {f.check: f for f in examine(pool.patient())}
    assert_fails(found["node.json"], "node.json", "fieldhand deploy")
    assert found["Wi-Fi"].state == found["sensors"].state == "skipped"
    assert found["power"].state == "ok"


def test_node_json_that_the_node_refuses_is_quoted(pool):
    actuators = [{**entry, "pin": 26} for entry in pool.first["actuators"]]
    pool.change(actuators=actuators)
    assert_fails(pool.finding("node.json"), "actuators[1].pin: GPIO26 is already used")


def test_a_board_without_node_json_wants_a_flash(pool):
    (pool.node.flash / "node.json").unlink()
    assert_fails(pool.finding("node.json"), "fieldhand flash NODE")


def test_another_node_s_board_is_named(pool):
    patient = pool.patient()
    patient.name = "greenhouse"
    assert_fails(pool.finding("identity", patient=patient), "this board is pool, not greenhouse")


def test_crashes_in_a_row_are_told_with_the_last_line(pool):
    pool.node.nvs["fieldhand"]["crashes"] = b"2 3 0 Traceback:\nOSError: [Errno 19] ENODEV"
    assert_fails(pool.finding("crashes"), "3 in a row", "ENODEV", "safe mode")


@pytest.mark.parametrize(
    ("chip", "at", "rom", "cause"),
    [
        ("Generic ESP32 module with ESP32", 0x3FF48034, 1, "power"),
        ("Generic ESP32 module with ESP32", 0x3FF48034, 12, "brownout"),
        ("Generic ESP32 module with ESP32", 0x3FF48034, 15, "brownout"),
        ("Generic ESP32S3 module with ESP32S3", 0x60008038, 15, "brownout"),
        ("ESP32C3 module with ESP32C3", 0x60008038, 1, "power"),
        ("Another board with ESP32C6", 0, 15, "power"),  # its register is not known
    ],
)
def test_the_node_tells_a_brown_out_by_the_chip_s_register(pool, chip, at, rom, cause):
    code = f"""
import machine
from fieldnode import hal
class Chip:
    class implementation:
        _machine = {chip!r}
hal.sys = Chip
machine.mem32 = {{{at}: {rom} | 0x30C0}}
print({scripts.MARK!r} + '{{"cause": "%s"}}' % hal.Hal().reset_cause())
"""
    assert scripts.parse("", pool.executor.exec(code, 10)) == {"cause": cause}


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


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Mosquitto with users and an ACL: `deaf` may not read, `mute` may not write."""
    folder = tmp_path_factory.mktemp("strict")
    users, acl = folder / "users", folder / "acl"
    for name in ("good", "deaf", "mute", "host"):
        create = [] if users.exists() else ["-c"]
        command = [shutil.which("mosquitto_passwd") or "mosquitto_passwd", "-b", *create]
        subprocess.run([*command, str(users), name, "secret"], check=True, capture_output=True)
    rules = ["user host", "topic readwrite #"]
    for name, rights in (("good", "readwrite"), ("deaf", "write"), ("mute", "read")):
        rules += [f"user {name}", f"topic {rights} devices/#"]
    acl.write_text("\n".join(rules) + "\n")
    for path in (users, acl, folder):
        path.chmod(0o755)
    extra = (f"password_file {users}", f"acl_file {acl}", "allow_anonymous false")
    with Mosquitto(persistent=False, extra=extra) as broker:
        yield broker


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


def certificate(folder: Path, name: str, days: int, host: str = "127.0.0.1") -> Path:
    """An authority and a certificate by it for `host` that ends in `days`: NAME.{ca,crt,key}.

    The authority as NAME.der too: the unix MicroPython takes no PEM.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)

    issuer = f"authority {name}"
    names: list[x509.GeneralName] = [x509.DNSName(host)]
    if host[0].isdigit():
        names = [x509.IPAddress(ipaddress.ip_address(host))]

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def make(subject: str, key: Any, issuer: str, signer: Any, end: int, ca: bool) -> bytes:
        made = (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=400))
            .not_valid_after(now + datetime.timedelta(days=end))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    authority, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    pem = make(issuer, authority, issuer, authority, 400, True)
    (folder / f"{name}.ca").write_bytes(pem)
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-"))
    (folder / f"{name}.der").write_bytes(base64.b64decode(body))
    (folder / f"{name}.crt").write_bytes(make(host, key, issuer, authority, days, False))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)
    return folder / f"{name}.ca"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificate(folder, "good", 400)
    certificate(folder, "expired", -1)
    certificate(folder, "other", 400, "broker.elsewhere")
    return folder


def secured(folder: Path, name: str) -> Mosquitto:
    lines = (f"certfile {folder / name}.crt", f"keyfile {folder / name}.key")
    return Mosquitto(persistent=False, extra=lines)


@pytest.mark.parametrize(
    ("of", "trusted", "words"),
    [
        ("good", "good", ()),
        ("good", "expired", ("authority the node does not know", "[broker.tls] ca")),
        ("expired", "expired", ("has expired", "Renew")),
        ("other", "other", ("not for 127.0.0.1", "node_host")),
    ],
)
def test_certificates(pool, broker_of, certificates, of, trusted, words):
    with secured(certificates, of) as broker:
        broker_of(broker)
        pool.change(broker={"tls": {"ca": "ca.pem"}})
        (pool.node.flash / "ca.pem").write_bytes((certificates / f"{trusted}.der").read_bytes())
        found = pool.findings("TLS")
    assert found["TCP"].state == "ok"
    if words:
        assert_fails(found["TLS"], *words)
        assert found["CONNACK"].state == "skipped"
    else:
        assert found["TLS"].state == found["ACL"].state == "ok"


def test_a_certificate_and_no_time(pool, broker_of, certificates):
    with secured(certificates, "good") as broker:
        broker_of(broker)
        pool.change(broker={"tls": {"ca": "ca.pem"}})
        (pool.node.flash / "ca.pem").write_bytes((certificates / "good.der").read_bytes())
        pool.node.faults.ntp(False)
        assert_fails(pool.finding("TLS"), "the node's clock says 2000", "ntp_host")
        assert_fails(pool.finding("clock"), "gives no time", "ntp_host")
        pool.node.faults.ntp(True)
        assert pool.finding("TLS").state == "ok", "it is set as the node would set it"


def test_tls_on_a_port_without(pool, certificates):
    pool.change(broker={"tls": {"ca": "ca.pem"}})
    (pool.node.flash / "ca.pem").write_bytes((certificates / "good.der").read_bytes())
    assert_fails(pool.finding("TLS"), "8883")


def test_a_certificate_file_that_is_none(pool):
    pool.change(broker={"tls": {"ca": "ca.pem"}})
    pool.write("ca.pem", "no certificate")
    assert_fails(pool.finding("TLS"), "is no certificate")


def test_a_certificate_file_that_is_missing(pool):
    pool.change(broker={"tls": {"ca": "gone.pem"}})
    assert_fails(pool.finding("node.json"), "certificate that is not on the node")
    assert_fails(pool.finding("TLS"), "not on the node")


def test_a_silent_time_server_is_a_warning(pool):
    pool.node.faults.ntp(False)
    finding = pool.finding("clock")
    assert finding.state == "warn" and "gives no time: no answer" in finding.text
    assert "123" in finding.advice


def test_dead_and_unplugged_sensors(pool):
    pool.node.faults.sensor(99)
    pool.node.faults.sensor("ds18b20")
    found = pool.findings("sensors")
    assert_fails(found["sensor ezo-ph@99"], "SDA")
    assert_fails(found["I2C"], "nothing at 99 (0x63, EZO-pH)", "plugged in")
    assert_fails(found["1-Wire"], "GPIO13: nobody answers", "4.7 kOhm")
    assert found["sensor ezo-orp@98"].state == "ok"


def test_what_is_there_but_not_configured(pool):
    sensors = [s for s in pool.first["sensors"] if s.get("quantity") != "orp"]
    pool.change(sensors=sensors, dosing=[], alerts={})
    found = pool.findings("sensors")["I2C"]
    assert found.state == "warn" and "not configured: 98 (0x62, EZO-ORP)" in found.text


def test_foreign_firmware(pool):
    link = pool.node.flash / "fieldnode"
    target = link.readlink()
    shutil.copytree(link, pool.node.flash / "copy")
    link.unlink()
    (pool.node.flash / "copy").rename(link)
    try:
        (link / "version.mpy").unlink()
        (link / "version.py").write_text('VERSION = "9.9.9"\n')
        finding = pool.finding("firmware")
        assert finding.state == "warn" and "9.9.9" in finding.text
        (link / "version.py").write_text("VERSION = \n")
        assert_fails(pool.finding("firmware"), "SyntaxError", "fieldhand deploy")
    finally:
        shutil.rmtree(link)
        link.symlink_to(target, target_is_directory=True)


def test_low_memory(simulator, mosquitto):
    settings = {"node": "small", "broker": {}}
    executor = SimulatedExecutor(simulator, settings, heap="200k")
    found = cable.patient(executor)  # type: ignore[arg-type]
    found.root = "."
    check = next(check for check in CHECKS if "memory" in check.names)
    finding = {f.check: f for f in check.run(found)}["memory"]
    assert_fails(finding, "kB free", "PSRAM")


def test_damaged_files_are_named(pool):
    pool.write("settings.json", '{"values": ')
    (pool.node.flash / "old.mpy").write_bytes(b"M\x05\x00\x1f")
    try:
        words = ("settings.json is no JSON", "old.mpy is compiled for mpy format 5")
        assert_fails(pool.finding("file system"), *words, "fieldhand deploy")
    finally:
        (pool.node.flash / "settings.json").unlink()
        (pool.node.flash / "old.mpy").unlink()


def on_ram_disk(pool: Ward, more: str) -> Finding:
    """The file system check on a littlefs of 64 KiB, prepared by `more`."""
    code = RAM_DISK + more + scripts.source("system", {"root": "/ram"})
    result = scripts.parse("system", pool.executor.exec(code, 20))
    from fieldhand.doctor import system

    return {f.check: f for f in system.judge(result, "0.1.0")}["file system"]


def test_a_littlefs_with_room_is_fine(pool):
    finding = on_ram_disk(pool, "with open('a', 'w') as f: f.write('x')\n")
    assert finding.state == "ok" and "of 66 kB, 1 files" in finding.text


def test_a_full_littlefs(pool):
    finding = on_ram_disk(pool, "with open('a', 'w') as f: f.write('x' * 40000)\n")
    assert_fails(finding, "outbox_bytes")


def test_a_damaged_littlefs(pool):
    more = "os.mkdir('d')\nwith open('d/a', 'w') as f: f.write('x' * 9)\n"
    more += "for i in range(8192, 65536): _ram.data[i] = 90\n"
    assert_fails(on_ram_disk(pool, more), "damaged", "fieldhand flash")


def test_a_relay_clicks_when_asked(pool):
    patient = pool.patient()
    patient.relay = "acid"
    acid = next(entry for entry in pool.config.actuators if entry["name"] == "acid")
    off = int(acid.get("active_low", False))
    check = CHECKS[-1]
    (finding,) = check.run(patient)
    assert finding.state == "ok", finding
    assert finding.data["levels"] == [off, 1 - off, off]
    assert finding.data["pin"] == acid["pin"] and finding.data["by_timer"] is True
    patient.relay = "acdi"
    (finding,) = check.run(patient)
    assert_fails(finding, "no actuator", "circulation")


def test_a_script_that_comes_to_no_result_is_a_failure(pool):
    class Mute:
        def exec(self, code: str, timeout: float = 10.0) -> str:
            return "Guru Meditation Error"

    found = list(examine(Patient(Mute(), "0.1.0")))
    assert_fails(found[0], "Guru Meditation")
    assert {f.state for f in found} == {"fail", "skipped"}


# -- over MQTT -----------------------------------------------------------------------------------


def test_a_node_over_mqtt(mosquitto, tmp_path):
    text = template.FLEET_TOML.replace("port = 1883", f"port = {mosquitto.port}")
    file = fleetfile.check(tomllib.loads(text), tmp_path / "fleet.toml")
    config = file.nodes["greenhouse"]
    settings = fleetfile.node_json(file, config, broker=(mosquitto.host, mosquitto.port))
    address = file.broker.address()
    with Simulator(broker=(mosquitto.host, mosquitto.port)) as simulator:
        node = simulator.add(settings | {"interval_ms": 1000, "status_interval_ms": 1000})
        node.start()
        found = {f.check: f for f in remote.examine(file, config, address, 20)}
        assert [f for f in found.values() if f.state == "fail"] == []
        assert found["heard"].state == found["command"].state == found["memory"].state == "ok"
        assert found["gaps"].state == "skipped"
        node.faults.sensor("dht")
        node.wait_console("dht22@4", 20)
        failing = {}
        for _ in range(20):  # until the status says so, each second
            failing = {f.check: f for f in remote.examine(file, config, address, 20)}
            if failing["sensors"].state == "fail":
                break
        assert_fails(failing["sensors"], "dht22@4", "--port PORT")
        node.stop()
        gone = {f.check: f for f in remote.examine(file, config, address, 1)}
        assert_fails(gone["heard"], "nothing in 1 s; its status is offline", "powered")
        assert gone["memory"].state == gone["command"].state == "skipped"


def test_a_broker_that_is_not_there_or_refuses_this_host(pool, strict):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = BrokerAddress("127.0.0.1", held.getsockname()[1])
        found = {f.check: f for f in remote.examine(pool.file, pool.config, address, 1)}
    assert_fails(found["TCP"], "refused", "running")
    assert found["heard"].state == "skipped"
    address = BrokerAddress(strict.host, strict.port, "host", "wrong")
    found = {f.check: f for f in remote.examine(pool.file, pool.config, address, 1)}
    assert_fails(found["CONNACK"], "not authorized", "[broker]")


@pytest.mark.parametrize(
    ("of", "trusted", "host", "words"),
    [
        ("good", "good", "127.0.0.1", ()),
        ("good", "good", "localhost", ("another name",)),
        ("good", "other", "127.0.0.1", ("unable to get local issuer", "[broker.tls] ca")),
        ("expired", "expired", "127.0.0.1", ("expired", "renew")),
    ],
)
def test_the_broker_s_certificate_as_this_host_sees_it(certificates, of, trusted, host, words):
    from fieldhand.doctor import hostside

    with secured(certificates, of) as broker:
        ca = str(certificates / f"{trusted}.ca")
        address = BrokerAddress(host, broker.port, tls_ca=ca)
        found = {f.check: f for f in hostside.judge(address)}
    assert found["TCP"].state == "ok"
    if words:
        assert_fails(found["TLS"], *words)
    else:
        assert found["TLS"].state == "ok" and "good until" in found["TLS"].text
