"""A board on a cable, examined: its node is stopped, the checks run on it, and it starts again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fieldhand import paths
from fieldhand.doctor import power
from fieldhand.doctor.checks import CHECKS, Check, Patient
from fieldhand.doctor.findings import Finding, fail, skipped
from fieldhand.errors import FieldhandError
from fieldhand.scripts import ScriptError

if TYPE_CHECKING:
    from fieldhand.device.serial import Device
    from fieldhand.fleetfile import FleetFile, NodeConfig

_VERSION = re.compile(r'^VERSION = "([^"]+)"', re.MULTILINE)


def host_version() -> str:
    """The version of the firmware that this host would send."""
    text = (paths.firmware() / "fieldnode" / "version.py").read_text("utf-8")
    match = _VERSION.search(text)
    return match[1] if match else "unknown"


def patient(
    node: Device, file: FleetFile | None = None, config: NodeConfig | None = None
) -> Patient:
    """The board at `node`, and what the fleet file knows of it."""
    found = Patient(node, host_version())
    if file is not None and config is not None:
        describe(found, file, config)
    return found


def describe(found: Patient, file: FleetFile, config: NodeConfig) -> None:
    """Add what the fleet file says of the node."""
    from fieldhand import boards, dialects

    found.name = config.name
    found.dialect = dialects.load(config.dialect, config.options, config.extras)
    found.kept_session = not config.clean_session
    found.address = file.broker.address()
    bus = boards.load(config.board).defaults.get("i2c")
    used = {entry.get("pin") for entry in (*config.sensors, *config.actuators)}
    if bus and not used & set(bus.values()):
        found.i2c = bus


def examine(found: Patient) -> Iterator[Finding]:
    """Findings as they come, in the order of `CHECKS`. Raises PortError when the cable is out."""
    bad: set[str] = set()
    answers = True
    for check in CHECKS:
        for finding in _one(found, check, bad, answers):
            if finding.state in ("fail", "skipped"):
                bad.add(finding.check)
            answers = answers and not finding.data.get("gone")
            yield finding
        if check is CHECKS[0]:
            _clean(found)


def _clean(found: Patient) -> None:
    """An empty heap, without main.py: the cause of the last reset has been read by now."""
    reset = getattr(found.node, "soft_reset", None)
    if reset is not None:
        reset()


def _one(found: Patient, check: Check, bad: set[str], answers: bool) -> Iterator[Finding]:
    missing = [name for name in check.needs if name in bad]
    if missing or not answers:
        why = f"{missing[0]} comes first" if missing else "the board no longer answers"
        # A relay nobody asked for has no line.
        if check.names != ("relay",) or found.relay is not None:
            yield from (skipped(name, why) for name in check.names)
        return
    try:
        yield from check.run(found)
    except ScriptError as error:
        yield fail(check.names[0], f"no result: {error.output.strip()[-120:]}", _REPEAT)
    except FieldhandError as error:
        from fieldhand.device.ports import PortError

        if isinstance(error, PortError):
            raise
        weak = power.restarted(f"{error} {_console(found)}")
        advice = f"If the board started again just now, {weak or _SUPPLY}"
        gone = not _answers(found)
        yield fail(check.names[0], str(error), advice, gone=gone)


_REPEAT = "Repeat; if it stays, send the firmware again: `fieldhand deploy NODE`"
_SUPPLY = "its supply is too weak for the radio: use a shorter cable or another USB port"


def _console(found: Patient) -> str:
    """What the board has printed since: the ROM's banner when it has started again."""
    heard = getattr(found.node, "heard", None)
    try:
        return "" if heard is None else heard(1.0).decode("utf-8", "replace")
    except FieldhandError:
        return ""


def _answers(found: Patient) -> bool:
    try:
        found.node.exec("print(1)", 5.0)
    except FieldhandError:
        return False
    return True
