"""node.json and the identity in NVS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieldhand.doctor.findings import Finding, fail, ok, warn


def judge(result: Mapping[str, Any], expected: str | None) -> Iterator[Finding]:
    """`expected` is the node the user named, None where only a port was given."""
    if "invalid" in result or "error" in result:
        text = str(result.get("invalid") or result["error"])
        advice = "Correct fleet.toml and send it again: `fieldhand deploy NODE`"
        if result.get("missing"):
            advice = "This board has not been made a node: `fieldhand flash NODE`"
        elif "not found" in text or "ImportError" in text:
            advice = "The firmware is missing or damaged: `fieldhand deploy NODE`"
        yield fail("node.json", text, advice)
        return
    actuators = ", ".join(result["actuators"]) or "none"
    text = f"valid: {result['dialect']}, {result['sensors']} sensors, actuators: {actuators}"
    if result.get("ca") is False:
        advice = "Send it with the rest: `fieldhand deploy NODE`"
        yield fail("node.json", "names a certificate that is not on the node", advice)
    else:
        yield ok("node.json", text, dialect=result["dialect"])
    yield _identity(result, expected)


def _identity(result: Mapping[str, Any], expected: str | None) -> Finding:
    node, mac = result["node"], result.get("mac", "")
    has = result.get("has", {})
    data = {"node": node, "mac": mac, "has": has}
    again = "Give it its credentials: `fieldhand provision NODE --port PORT`"
    if expected is not None and node != expected:
        text = f"this board is {node}, not {expected}"
        return fail("identity", text, "Is this the port of the node you meant?", **data)
    for key, what in (("wifi.ssid", "Wi-Fi name"),):
        if not has.get(key):
            return fail("identity", f"{node}: NVS and node.json have no {what}", again, **data)
    if not (result.get("broker") or [None])[0]:
        return fail("identity", f"{node}: no broker is named", again, **data)
    names = (("wifi.password", "Wi-Fi password"), ("broker.user", "broker user"))
    there = [text for key, text in names if has.get(key)]
    without = [text for key, text in names if not has.get(key)]
    text = f"{node} (MAC {mac})"
    text += f"; has {', '.join(there)}" if there else ""
    text += f"; no {', no '.join(without)}" if without else ""
    if has.get("broker.user") and not has.get("broker.password"):
        return warn("identity", f"{text}, and no broker password", again, **data)
    if result.get("brought"):
        text += "; secrets.json is moved into NVS at the next start"
    return ok("identity", text, **data)
