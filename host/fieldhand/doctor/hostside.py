"""The way to the broker as this host sees it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator

from fieldhand.connection import BrokerAddress
from fieldhand.doctor.findings import Finding, fail, ok, skipped

DNS, TCP, TLS = "DNS", "TCP", "TLS"
CONNACK = "CONNACK"
TIMEOUT_S = 5.0


def judge(address: BrokerAddress) -> Iterator[Finding]:
    """Name, TCP and TLS, step by step; CONNACK is the client's."""
    where = f"{address.host}:{address.port}"
    began = time.monotonic()
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        advice = "Is the name right ([broker] host), and this host's network up?"
        yield fail(DNS, f"{address.host}: {why}", advice)
        yield from (skipped(name, "DNS comes first") for name in (TCP, TLS))
        return
    yield ok(DNS, f"{address.host} is {found[0][4][0]}{_since(began)}")
    began = time.monotonic()
    try:
        connection = socket.create_connection((address.host, address.port), TIMEOUT_S)
    except OSError as error:
        why = error.strerror or str(error) or "no answer"
        advice = "Is the broker running, on this port, and does its firewall let this host in?"
        yield fail(TCP, f"{where}: {why}", advice)
        yield skipped(TLS, "TCP comes first")
        return
    with connection:
        yield ok(TCP, f"port {address.port} is open{_since(began)}")
        yield _tls(connection, address)


def _tls(connection: socket.socket, address: BrokerAddress) -> Finding:
    if address.tls_ca is None:
        return skipped(TLS, "not used: what is said can be read on its way")
    began = time.monotonic()
    try:
        context = ssl.create_default_context(cafile=address.tls_ca or None)
        with context.wrap_socket(connection, server_hostname=address.host) as secured:
            certificate = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return fail(TLS, f"the certificate: {error.verify_message}", _certificate_advice(error))
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        advice = "Does the broker speak TLS on this port (8883, not 1883), and is ca a PEM file?"
        return fail(TLS, f"no TLS with {address.host}:{address.port}: {why}", advice)
    until = str(certificate.get("notAfter", ""))
    return ok(TLS, f"the certificate is good until {until}{_since(began)}", not_after=until)


def _certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    # X509_V_ERR_*: openssl, include/openssl/x509_vfy.h.
    if error.verify_code == 10:
        return "It has expired: renew it on the broker"
    if error.verify_code == 9:
        return "It is not valid yet: is the clock of this host, or of the broker, wrong?"
    if error.verify_code in (62, 64):
        return "It is for another name: use that one as [broker] host, or make it for this one"
    return "Put the broker's authority into [broker.tls] ca"


def _since(began: float) -> str:
    return f" in {(time.monotonic() - began) * 1000:.0f} ms"
