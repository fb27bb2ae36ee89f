"""The time, as the time server tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieldhand.doctor.findings import Finding, fail, ok, warn

# Seconds between the time server's time and this host's; NTP by MicroPython tells whole seconds.
MAX_OFFSET_S = 3


def judge(result: Mapping[str, Any], host_unix: float) -> Iterator[Finding]:
    """`host_unix` is this host's time when the answer came."""
    host = str(result.get("host"))
    if "unix" not in result:
        why = result.get("fault") or result.get("error") or "no answer"
        text = f"{host} gives no time: {_words(str(why))}"
        advice = "Let UDP port 123 through, or name a time server of your own: ntp_host"
        if result.get("needed"):  # after a power-on the chip says 2000
            text += "; without it the broker's certificate cannot be checked"
            yield fail("clock", text, advice, host=host)
            return
        # A node works without: readings are dated later, or carry none.
        yield warn("clock", text, advice, host=host)
        return
    offset = result["unix"] - int(host_unix)
    text = f"{host} answered in {result.get('ms', 0)} ms, {_off(offset)} this host"
    data = {"host": host, "offset_s": offset, "ms": result.get("ms")}
    if abs(offset) > MAX_OFFSET_S:
        advice = "One of them is wrong: is this host's clock synchronised (timedatectl)?"
        yield fail("clock", text, advice, **data)
    else:
        yield ok("clock", text, **data)


def _off(seconds: int) -> str:
    if not seconds:
        return "0 s from"
    return f"{abs(seconds):,} s {'ahead of' if seconds > 0 else 'behind'}"


def _words(error: str) -> str:
    if "116" in error or "110" in error or "ETIMEDOUT" in error:
        return "no answer"
    if error.startswith("-2") or "(-2" in error or "-202" in error:
        return "its name is not found"
    return error
