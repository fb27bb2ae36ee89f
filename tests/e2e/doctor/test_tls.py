"""What can be wrong with a broker's certificate, seen from the node and from this host."""

import base64
import datetime
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from e2e.doctor.ward import assert_fails
from mosquitto import Mosquitto

from fieldhand.connection import BrokerAddress


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
