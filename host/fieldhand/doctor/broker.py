"""The way to the broker: name, TCP, TLS, CONNACK, and what the node may say and hear there.

Brokers acknowledge a publish that their ACL forbids, some then end the connection, and grant a
subscription that they filter (MQTT 3.1.1 has no other word for it): only a message that arrives
proves anything. So this host listens for the node's, and sends it one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieldhand.doctor.findings import Finding, fail, ok, skipped, warn

STEPS = ("DNS", "TCP", "TLS", "CONNACK", "ACL")
# What the node's Transport calls the phase in which it fell, see fieldnode/transport.py.
_PHASES = {
    "Wi-Fi": 0,
    "DNS": 0,
    "TCP connect": 1,
    "TLS handshake": 2,
    "MQTT connect": 3,
    "connection": 4,
    "done": 4,
}
_CODES = {
    1: "The broker wants another MQTT version: let it take 3.1.1",
    2: "The broker forbids this client id: allow the node's name there",
    3: "The broker is there but not ready: look at its log",
    4: "Give the node what the broker knows it by: `fieldhand provision NODE --port PORT`",
    5: "Give the node a user the broker lets in: `fieldhand provision NODE --port PORT`",
}
_NO_ROUTE = ("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ECONNABORTED", "113", "118")
_YEAR = 2024  # a node that says it is earlier has not been told the time


def judge(result: Mapping[str, Any], witness: Mapping[str, Any] | None) -> Iterator[Finding]:
    """`witness` says what this host heard and could send, None where it could not listen."""
    fault = result.get("fault") or result.get("error")
    reached = 4 if fault is None else _PHASES.get(str(result.get("phase")), 0)
    text = str(fault or "")
    if reached == 2 and any(word in text for word in _NO_ROUTE):
        reached = 1  # a TLS socket learns only by its first write that TCP failed
    passed = _passed(result)
    for step, name in enumerate(STEPS):
        if name == "TLS" and not result.get("tls"):
            yield skipped(name, "not used: what the node says can be read on its way")
        elif step < reached:
            yield ok(name, passed[name])
        elif step > reached:
            yield skipped(name, f"{STEPS[reached]} comes first")
        elif fault is not None:
            yield _FAULTS[step](result, text)
        else:
            yield _acl(result, witness)


def _passed(result: Mapping[str, Any]) -> dict[str, str]:
    took = result.get("ms", {})

    def in_ms(phase: str) -> str:
        return f" in {took[phase]} ms" if phase in took else ""

    host, port = result.get("host"), result.get("port")
    address = result.get("address", "an address")
    named = f"{host} is {address}" if address != host else f"{host}, a number"
    return {
        "DNS": named + in_ms("DNS"),
        "TCP": f"port {port} is open" + in_ms("TCP connect"),
        "TLS": "the certificate is good" + in_ms("TLS handshake"),
        "CONNACK": "the broker lets the node in" + in_ms("MQTT connect"),
    }


def _dns(result: Mapping[str, Any], text: str) -> Finding:
    host = result.get("host")
    if result.get("phase") == "Wi-Fi":
        return skipped("DNS", "Wi-Fi comes first")
    advice = "Is the name right ([broker] node_host)? Else give the broker's number, 192.168.x.y"
    if str(host).endswith(".local"):
        advice = "Names in .local often fail on an ESP32: give the broker's number, 192.168.x.y"
    why = "the name server does not answer" if "no answer" in text else "the name is not found"
    return fail("DNS", f"{host}: {why}", advice, host=host)


def _tcp(result: Mapping[str, Any], text: str) -> Finding:
    where = f"{result.get('host')}:{result.get('port')}"
    if "ECONNREFUSED" in text or "ECONNABORTED" in text or "ECONNRESET" in text:
        advice = "Is the broker running, on this port, and listening not to 127.0.0.1 alone?"
        return fail("TCP", f"{where} refuses the connection", advice)
    advice = "Is that the broker's address, in the node's network, and does its firewall let it in?"
    why = "no route to it" if any(word in text for word in _NO_ROUTE) else "no answer"
    return fail("TCP", f"{where}: {why}", advice)


def _tls(result: Mapping[str, Any], text: str) -> Finding:
    low = text.lower()
    year = result.get("year", _YEAR)
    if "starts in the future" in low or ("has expired" in low and year > 2037):
        if year < _YEAR or year > 2037:
            said = f"the node's clock says {year}, so the certificate looks not yet valid"
            advice = "The node must learn the time first: let it reach its time server (ntp_host)"
            return fail("TLS", said, advice, year=year)
        advice = "Make it anew, or correct the clock of the machine that made it"
        return fail("TLS", "the broker's certificate is not valid yet", advice)
    if "has expired" in low:
        return fail("TLS", "the broker's certificate has expired", "Renew it on the broker")
    if "not correctly signed" in low:
        advice = "Put the broker's authority into [broker.tls] ca, then `fieldhand deploy NODE`"
        return fail("TLS", "the certificate is of an authority the node does not know", advice)
    if "common name" in low or "expected cn" in low:
        text = f"the certificate is not for {result.get('host')}"
        advice = "Use the name that stands in it as [broker] node_host, or make it for this name"
        return fail("TLS", text, advice)
    if "invalid cert" in low or "invalid ca" in low or "x509" in low and "invalid" in low:
        advice = "It must be PEM or DER, whole: `fieldhand deploy NODE` sends it again"
        return fail("TLS", "the authority's file on the node is no certificate", advice)
    if "enoent" in low or "errno 2]" in low:
        advice = "Send it: `fieldhand deploy NODE`"
        return fail("TLS", "the authority's file is not on the node", advice)
    if "memory" in low or "enomem" in low or "alloc" in low:
        advice = "Use a 2,048-bit RSA or an EC certificate, a short chain, a smaller node"
        return fail("TLS", "not enough memory for the handshake", advice)
    if any(word in low for word in ("closed by", "econnreset", "invalid ssl record", "no end in")):
        advice = "Does the broker speak TLS on this port (8883, not 1883)?"
        return fail("TLS", f"the broker does not answer in TLS ({text})", advice)
    return fail("TLS", text, "Look at the broker's log: it says what it did not like")


def _connack(result: Mapping[str, Any], text: str) -> Finding:
    code = int(result.get("code") or 0)
    where = f"{result.get('host')}:{result.get('port')}"
    if code:
        advice = _CODES.get(code, "Look at the broker's log")
        return fail("CONNACK", text.removeprefix("broker "), advice, code=code)
    if "no CONNACK" in text or "closed by" in text or "ECONNRESET" in text:
        plain = "" if result.get("tls") else ", or wants TLS there ([broker.tls])"
        text = f"{where} says nothing of MQTT"
        return fail("CONNACK", text, f"Something else listens on this port{plain}")
    return fail("CONNACK", text, "Is it an MQTT broker? Look at its log")


def _cut(result: Mapping[str, Any], text: str) -> Finding:
    topic = result.get("topic", "?")
    if "refused the subscription" in text:
        advice = f"Let the node's user read {topic} in the broker's ACL"
        return fail("ACL", f"the broker refuses the subscription to {topic}", advice, topic=topic)
    if result.get("stage") == "publish":
        text = f"the broker ended the connection after a message to {topic}"
        advice = f"The node may not publish there: let its user write {topic} in the broker's ACL"
        return fail("ACL", text, advice, topic=topic)
    advice = f"Let the node's user read {topic} in the broker's ACL"
    return fail("ACL", f"the connection ended at {topic}: {text}", advice, topic=topic)


_FAULTS = (_dns, _tcp, _tls, _connack, _cut)


def _acl(result: Mapping[str, Any], witness: Mapping[str, Any] | None) -> Finding:
    topic, echo = result.get("topic", "?"), bool(result.get("echo"))
    took = result.get("puback_ms")
    data: dict[str, Any] = {"topic": topic, "puback_ms": took, "echo": echo}
    if witness is None:
        if echo:
            return ok("ACL", f"{topic} there and back, acknowledged in {took} ms", **data)
        text = f"{topic} was acknowledged but did not come back"
        advice = (
            "It may be forbidden: this broker may hide that. Name the node, so that this host "
            "can listen: `fieldhand doctor NODE --port PORT`"
        )
        return warn("ACL", text, advice, **data)
    data.update(witness)
    if not witness.get("heard"):
        if echo:
            text = f"{topic} comes back to the node, but this host does not hear it"
            advice = f"Let this host's user read {topic} in the broker's ACL"
            return warn("ACL", text, advice, **data)
        text = f"{topic} was acknowledged, yet never arrived here"
        advice = f"The node may not publish there: let its user write {topic} in the broker's ACL"
        return fail("ACL", text, advice, **data)
    if witness.get("asked") and not result.get("told"):
        asked = witness["asked"]
        text = f"{topic} arrived here, but {asked} did not reach the node"
        advice = f"Let the node's user read {asked}, and this host's write it, in the broker's ACL"
        return fail("ACL", text, advice, **data)
    also = f", {witness['asked']} reaches the node" if witness.get("asked") else ""
    return ok("ACL", f"{topic} arrives here{also}; acknowledged in {took} ms", **data)
