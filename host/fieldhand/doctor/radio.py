"""Wi-Fi: in range, strong enough, let in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fieldhand.doctor.findings import Finding, fail, ok, warn

# dBm. Below the first, retransmissions begin to cost; below the second, an ESP32's 20 dBm up-link
# loses its access point when somebody walks by.
WEAK = -70
TOO_WEAK = -80
NEARER = "Move the node or the access point, or turn its antenna away from metal and water"
_REASON = re.compile(r"\((\d+)\)$")
# ESP-IDF's wifi_err_reason_t, as fieldnode/wifi.py quotes it.
_WRONG_PASSWORD = (2, 15, 202, 204)
_NOT_FOUND = (201,)
_SECURITY = (210, 211)


def judged(dbm: float) -> str:
    """A signal strength in words."""
    if dbm >= -60:
        return "very good"
    if dbm >= WEAK:
        return "good"
    return "weak" if dbm >= TOO_WEAK else "too weak"


def judge(result: Mapping[str, Any]) -> Iterator[Finding]:
    ssid = str(result.get("ssid"))
    data = {
        key: result[key]
        for key in ("ssid", "rssi", "channel", "connect_ms", "found", "ip")
        if key in result
    }
    fault = result.get("fault") or result.get("error")
    if fault:
        yield _refused(ssid, str(fault), result, data)
        return
    dbm = result["rssi"]
    channel = f", channel {result['channel']}" if "channel" in result else ""
    text = f"{ssid}: {dbm} dBm ({judged(dbm)}){channel}, connected in {result['connect_ms']} ms"
    address = (result.get("ip") or ["0.0.0.0"])[0]
    text += f", address {address}"
    if address == "0.0.0.0":
        advice = "The access point gives no address: look at its DHCP server"
        yield fail("Wi-Fi", text, advice, **data)
    elif dbm < WEAK:
        yield warn("Wi-Fi", text, NEARER, **data)
    else:
        yield ok("Wi-Fi", text, **data)


def _refused(ssid: str, fault: str, result: Mapping[str, Any], data: Mapping[str, Any]) -> Finding:
    found = result.get("found")
    match = _REASON.search(fault)
    reason = int(match[1]) if match else 0
    heard = f"{ssid} is heard with {found[0]} dBm ({judged(found[0])}), " if found else ""
    if not found and (reason in _NOT_FOUND or not reason):
        others = list(result.get("others") or ())
        near = difflib.get_close_matches(ssid, others, n=1, cutoff=0.7)
        listed = f"; in range: {', '.join(others[:5])}" if others else "; nothing else is in range"
        text = f"no access point called {ssid} is heard{listed}"
        if near:
            advice = f"Is it '{near[0]}'? The name must match to the letter: [wifi] ssid"
        elif others:
            advice = "Check [wifi] ssid; an ESP32 hears 2.4 GHz only, channels 1 to 13"
        else:
            advice = "Is the access point on, at 2.4 GHz? Is the board's antenna connected?"
        return fail("Wi-Fi", text, advice, **data)
    if reason in _WRONG_PASSWORD:
        advice = "Correct WIFI_PASSWORD in .env and send it: `fieldhand provision NODE --port PORT`"
        if found and found[0] < TOO_WEAK:
            advice = f"So weak a signal may look like it: {NEARER.lower()}"
        return fail("Wi-Fi", f"{heard}wrong password ({reason})", advice, **data)
    if reason in _SECURITY:
        advice = "Let the access point speak WPA2 as well as WPA3"
        return fail("Wi-Fi", f"{heard}but its security does not suit", advice, **data)
    if found and found[0] < TOO_WEAK:
        return fail("Wi-Fi", f"{heard}and does not let us in: {fault}", NEARER, **data)
    advice = "Does the access point take further devices, and its DHCP server give addresses?"
    return fail("Wi-Fi", f"{heard}{fault}", advice, **data)
