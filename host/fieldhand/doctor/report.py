"""What a node says of itself in its status, judged. See fieldnode/reports.py and health.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieldhand.doctor import radio
from fieldhand.doctor.findings import Finding, fail, ok, skipped, warn

# Bytes of the node's heap while it runs: below, a large message may find no room.
LEAST_FREE = 10_000
LEAST_BLOCK = 20_000  # in one piece for TLS, see system.py
# ms of the longest turn of the loop. A write to flash is 100, a time server that is silent 1,000.
LONG_LOOP = 3_000
MAX_QUEUED = 20  # readings waiting while it is connected: they come faster than they leave
_CAUSES = {
    "power": "power-on",
    "hard": "a reset",
    "soft": "a restart of MicroPython",
    "restart": "a restart that was ordered",
    "deepsleep": "the end of a deep sleep",
}
_BAD_CAUSES = {
    "watchdog": "The loop hung: look at `fieldhand logs` with the node on a cable",
    "crash": "Look at the traceback: `fieldhand watch` shows the event, `fieldhand logs` the rest",
    "brownout": "Its supply broke down: a shorter cable, a stronger supply, pumps on their own",
}


def judge(values: Mapping[str, Any], host_version: str) -> Iterator[Finding]:
    yield _version(values, host_version)
    yield _running(values)
    yield _starts(values)
    yield _memory(values)
    if "signal_strength" in values:
        yield _radio(values["signal_strength"])
    yield _sensors(values)
    yield _queue(values)
    yield _outages(values)


def _version(values: Mapping[str, Any], host: str) -> Finding:
    found = values.get("firmware")
    if found is None:
        return skipped("firmware", "not told in this dialect")
    if found != host:
        text = f"{found}, this host has {host}"
        return warn("firmware", text, "Bring both to one version: `fieldhand deploy NODE`")
    return ok("firmware", f"{found}, as on this host", version=found)


def _running(values: Mapping[str, Any]) -> Finding:
    if values.get("config_error"):
        advice = "Correct fleet.toml and send it again: `fieldhand deploy NODE`"
        return fail("node.json", str(values["config_error"]), advice)
    if values.get("safe_mode"):
        advice = "It moves nothing until it is restarted: look at the crash first, then `restart`"
        return fail("crashes", f"safe mode after {values.get('crashes', '?')} crashes", advice)
    if values.get("crashes"):
        return warn("crashes", f"{values['crashes']} in a row", _BAD_CAUSES["crash"])
    return ok("crashes", "none in a row")


def _starts(values: Mapping[str, Any]) -> Finding:
    cause, uptime = values.get("reset_cause"), values.get("uptime")
    if cause is None:
        return skipped("last start", "not told in this dialect")
    up = f", {_span(uptime)} ago" if isinstance(uptime, int) else ""
    text = f"by {_CAUSES.get(str(cause), cause)}{up}"
    if cause in _BAD_CAUSES:
        return warn("last start", text, _BAD_CAUSES[str(cause)], cause=cause, uptime_s=uptime)
    return ok("last start", text, cause=cause, uptime_s=uptime)


def _memory(values: Mapping[str, Any]) -> Finding:
    free, block, loop = (values.get(key) for key in ("free_memory", "largest_block", "loop_ms"))
    if free is None:
        return skipped("memory", "not told in this dialect")
    parts = [f"{free / 1000:.0f} kB free"]
    parts += [f"ESP-IDF's largest block {block / 1000:.0f} kB"] if block is not None else []
    parts += [f"longest turn {loop} ms"] if loop is not None else []
    data = {"free": free, "largest_block": block, "loop_ms": loop}
    if free < LEAST_FREE or block is not None and block < LEAST_BLOCK:
        advice = "Give it fewer sensors and schedules, or freeze the firmware (README)"
        return warn("memory", ", ".join(parts), advice, **data)
    if loop is not None and loop > LONG_LOOP:
        advice = "Something holds it up: a slow flash, or a time server that does not answer"
        return warn("memory", ", ".join(parts), advice, **data)
    return ok("memory", ", ".join(parts), **data)


def _radio(dbm: float) -> Finding:
    text = f"{dbm:g} dBm ({radio.judged(dbm)})"
    if dbm < radio.WEAK:
        return warn("Wi-Fi", text, radio.NEARER, rssi=dbm)
    return ok("Wi-Fi", text, rssi=dbm)


def _sensors(values: Mapping[str, Any]) -> Finding:
    failing = [text for text in str(values.get("sensor_error") or "").split("; ") if text]
    # The first reading is taken before Wi-Fi is up; whoever says so is connected by now.
    failing = [text for text in failing if not text.startswith("rssi: ")]
    if failing:
        advice = "Check its wires; with the node on a cable: `fieldhand doctor NODE --port PORT`"
        return fail("sensors", "; ".join(failing), advice)
    return ok("sensors", "none fails")


def _queue(values: Mapping[str, Any]) -> Finding:
    if "queued" not in values:
        return skipped("queue", "not told in this dialect")
    queued, dropped = values["queued"], values.get("dropped", 0)
    lost = {
        name: values[name]
        for name in ("dropped", "unsendable", "corrupt", "refused", "notices_dropped")
        if values.get(name)
    }
    text = "1 reading waits" if queued == 1 else f"{queued} readings wait"
    text += "".join(f", {count} {name.replace('_', ' ')}" for name, count in lost.items())
    data = {"queued": queued, "dropped": dropped, **lost}
    if values.get("outbox_error"):
        text += f"; its flash fails: {values['outbox_error']}"
        advice = "Free some of its flash, or put the file system in order: `fieldhand flash`"
        return fail("queue", text, advice, **data)
    if dropped or lost.get("corrupt"):
        return warn("queue", text, "Readings were lost: `fieldhand gaps NODE` names them", **data)
    if queued > MAX_QUEUED:
        advice = "They drain, or come faster than they leave: look again in a minute"
        return warn("queue", text, advice, **data)
    return ok("queue", text, **data)


def _outages(values: Mapping[str, Any]) -> Finding:
    count, uptime = values.get("outages"), values.get("uptime")
    if count is None:
        return skipped("outages", "not told in this dialect")
    text = f"{count} since it started"
    if isinstance(uptime, int) and count > 2 and count * 3600 > uptime * 2:
        text += f" {_span(uptime)} ago"
        advice = "More than two an hour: look at the signal, and at the causes in `fieldhand watch`"
        return warn("outages", text, advice, outages=count)
    return ok("outages", text, outages=count)


def _span(seconds: int) -> str:
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
