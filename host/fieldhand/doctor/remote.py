"""A node examined over MQTT: the way to the broker, what the node says, and whether it obeys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fieldhand import dialects, gaps
from fieldhand.client import Fleet, NodeView
from fieldhand.doctor import hostside, report
from fieldhand.doctor.cable import host_version
from fieldhand.doctor.findings import Finding, fail, ok, skipped, warn
from fieldhand.errors import BrokerUnavailable, CommandFailed, CommandTimeout
from fieldhand.records import Reading, Status
from fieldproto.dialect import Dialect

if TYPE_CHECKING:
    from fieldhand.connection import BrokerAddress
    from fieldhand.fleetfile import FleetFile, NodeConfig

# What the node tells at once when it is asked, without moving anything (fieldnode/commands.py).
_HARMLESS = "sample"
ANSWER_S = 15.0
RETAINED_S = 3.0  # for what the broker keeps
MAX_WAIT_S = 120.0
MAX_OFFSET_S = 10  # of the node's clock: its messages take their time, too
_OWN = (
    "heard",
    *("firmware", "crashes", "last start", "memory", "sensors", "queue", "outages"),
    *("clock", "command", "gaps"),
)


def patience(config: NodeConfig) -> float:
    """Seconds in which a node that works says something by itself."""
    return min(config.interval_ms / 1000 * 1.5 + 5, MAX_WAIT_S)


def examine(
    file: FleetFile, config: NodeConfig, address: BrokerAddress, wait_s: float
) -> Iterator[Finding]:
    """Findings as they come. `wait_s` is how long the node may stay silent, in seconds."""
    for finding in hostside.judge(address):
        yield finding
        if finding.state == "fail":
            yield from (skipped(n, f"{finding.check} comes first") for n in ("CONNACK", *_OWN))
            return
    fleet = Fleet(file, broker=address, received=False)
    try:
        fleet.connect()
    except BrokerUnavailable as error:
        advice = "Check user and password of [broker], and what its ACL lets this host read"
        yield fail("CONNACK", error.reason, advice)
        yield from (skipped(name, "CONNACK comes first") for name in _OWN)
        return
    try:
        yield ok("CONNACK", "the broker lets this host in")
        yield from _node(fleet, file, config, wait_s)
    finally:
        fleet.close()


def _node(fleet: Fleet, file: FleetFile, config: NodeConfig, wait_s: float) -> Iterator[Finding]:
    live = _listen(fleet, config, wait_s)
    view = fleet.node(config.name)
    yield _heard(view, live, wait_s)
    told = view.status
    if told is not None and told.online:
        yield from report.judge(dict(told.values) | _signal(view), host_version())
    else:
        why = "no status of a running node"
        if told is None and _dialect(config).message("status") is None:
            why = f"{config.dialect} has no status"
        yield from (skipped(name, why) for name in _OWN[1:8])
    yield _clock(view)
    yield _command(fleet, config) if live else skipped("command", "the node is not heard")
    yield _gaps(config.name, file)


def _listen(fleet: Fleet, config: NodeConfig, wait_s: float) -> float | None:
    """Seconds until the node said something itself; None: nothing in `wait_s`."""
    began = time.monotonic()
    first: float | None = None
    with fleet.events(config.name) as events:
        while True:
            passed = time.monotonic() - began
            if first is not None:
                # What the broker keeps comes at once, if there is any.
                if passed > RETAINED_S or fleet.node(config.name).status is not None:
                    return first
            elif passed >= wait_s:
                return None
            event = events.get(RETAINED_S if first is not None else wait_s - passed)
            if event is not None and not (isinstance(event, Status) and event.retained):
                first = first if first is not None else time.monotonic() - began


def _heard(view: NodeView, live: float | None, wait_s: float) -> Finding:
    status = view.status
    said = f"its status is {status.state}" if status is not None else "it has no status"
    age = _age(status)
    if live is not None:
        return ok("heard", f"after {live:.0f} s; {said}", after_s=round(live, 1))
    text = f"nothing in {wait_s:.0f} s; {said}{age}"
    if status is not None and not status.online:
        advice = "Is it powered, and in reach of Wi-Fi? `fieldhand doctor NODE --port PORT` sees"
        return fail("heard", text, advice)
    if status is None:
        advice = (
            "Is [node.NAME] its name, and does it use this broker? On a cable `fieldhand doctor "
            "NODE --port PORT` sees how far it comes"
        )
        return fail("heard", text, advice)
    advice = "It may sleep or have just vanished: wait longer with --wait, else see it on a cable"
    return fail("heard", text, advice)


def _age(status: Status | None) -> str:
    if status is None or status.time is None:
        return ""
    seconds = max(0, int(time.time()) - status.time)
    return f", {seconds:,} s old"


def _signal(view: NodeView) -> dict[str, float]:
    reading = view.reading
    if reading is None or "signal_strength" not in reading.quantities:
        return {}
    return {"signal_strength": reading.quantities["signal_strength"]}


def _clock(view: NodeView) -> Finding:
    records = [r for r in (view.status, view.reading) if r is not None and not _kept(r)]
    if not records:
        return skipped("clock", "nothing with a time was heard")
    latest = max(records, key=lambda record: record.received_at)
    quality = latest.provenance.quality or (
        view.reading.provenance.quality if view.reading is not None else None
    )
    if quality == "unknown":
        advice = "Let it reach a time server: UDP port 123, or ntp_host of your own"
        return warn("clock", "the node does not know the time", advice, quality=quality)
    if latest.time is None:
        return skipped("clock", "this dialect carries no time")
    offset = round(latest.time - latest.received_at)
    data = {"offset_s": offset, "quality": quality}
    said = f" ({quality})" if quality else ""
    if abs(offset) > MAX_OFFSET_S and quality != "backfilled":
        side = "ahead" if offset > 0 else "behind"
        text = f"{abs(offset):,} s {side}{said}"
        advice = "Is this host's clock right (timedatectl), and the node's time server (ntp_host)?"
        return warn("clock", text, advice, **data)
    return ok("clock", f"{offset:+d} s from this host's{said}", **data)


def _kept(record: Status | Reading) -> bool:
    return isinstance(record, Status) and record.retained


def _command(fleet: Fleet, config: NodeConfig) -> Finding:
    command = next((c for c in _dialect(config).commands if c.action == _HARMLESS), None)
    if command is None:
        return skipped("command", f"{config.dialect} has none that is harmless")
    began = time.monotonic()
    try:
        fleet.send(config.name, command.name, timeout=ANSWER_S).result()
    except CommandTimeout as error:
        advice = "It hears nothing: let its user read its command topic in the broker's ACL"
        return fail("command", f"{command.name}: {error.reason}", advice)
    except CommandFailed as error:
        return warn("command", f"{command.name}: {error.reason}", "The node says why it refused")
    took = round((time.monotonic() - began) * 1000)
    return ok("command", f"{command.name} answered after {took} ms", ms=took)


def _dialect(config: NodeConfig) -> Dialect:
    return dialects.load(config.dialect, config.options, config.extras)


def _gaps(name: str, file: FleetFile) -> Finding:
    try:
        found = gaps.of_node(name, file)
    except gaps.NoRecord:
        return skipped("gaps", "nothing is on record: leave `fieldhand watch` running")
    if found.complete:
        return ok(
            "gaps",
            f"none in {found.received} reading{'' if found.received == 1 else 's'} on record",
        )
    what = "reading is" if found.missing == 1 else "readings are"
    return warn(
        "gaps",
        f"{found.missing} {what} missing of {found.received + found.missing}",
        "See which: `fieldhand gaps NODE`",
        missing=found.missing,
    )
