"""One relay, clicked because somebody asked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieldhand.doctor.findings import Finding, fail, ok

PULSE_MS = 300


def judge(result: Mapping[str, Any], name: str) -> Iterator[Finding]:
    check = f"relay {name}"
    fault = result.get("fault") or result.get("error")
    if fault:
        known = f"; there are: {', '.join(result['known'])}" if result.get("known") else ""
        yield fail(check, f"{fault}{known}", "Name an actuator of node.json")
        return
    before, during, after = result["levels"]
    text = f"GPIO{result['pin']} was {before}, {during} for {result['ran_ms']} ms, then {after}"
    data = {key: result[key] for key in ("pin", "levels", "ran_ms", "by_timer")}
    if not result["by_timer"]:
        yield fail(
            check, f"{text}: the timer did not end it", "Report this: it must not be", **data
        )
    elif during == before or after != before:
        advice = "Something else holds the pin: take the relay board off and repeat"
        yield fail(check, text, advice, **data)
    else:
        yield ok(
            check, f"{text}. Did it click, and is it off now? That nobody here can know", **data
        )
