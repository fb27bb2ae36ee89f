"""`fieldhand doctor`."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import (
    PortName,
    broker_option,
    emit,
    file_option,
    json_option,
    load_file,
    need_file,
    note,
)
from fieldhand.cli.console import Target

if TYPE_CHECKING:
    from fieldhand.brokerurl import BrokerUrl
    from fieldhand.doctor.findings import Finding
    from fieldhand.fleetfile import FleetFile, NodeConfig

EXIT_HEALTHY = 0
EXIT_FAILED = 1
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "bright_black"}
_NARROW = 60


@click.command(short_help="Say what is wrong with a node, and what to do about it.")
@click.argument("target", metavar="NODE|PORT", type=Target())
@file_option
@broker_option
@click.option(
    "-p", "--port", type=PortName(), help="Examine NODE on its cable: /dev/ttyUSB0, or virtual."
)
@click.option("--relay", metavar="NAME", help="Click this relay for 0.3 s, after asking.")
@click.option("--yes", is_flag=True, help="With --relay: do not ask.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0.1, max=3600),
    help="Seconds to wait for NODE over MQTT.  [default: its interval and a half]",
)
@json_option
def doctor(
    target: str,
    file: Path | None,
    broker: BrokerUrl | None,
    port: str | None,
    relay: str | None,
    yes: bool,
    wait: float | None,
    as_json: bool,
) -> int:
    """Examine a node and say of each failure what to do about it.

    With a PORT, or NODE and --port, on its cable: its node is stopped, its outputs are off, each
    step is checked on the board itself, and it starts again. With NODE alone over MQTT: what it
    says of itself, and whether it obeys.

    Exit code 0: all is well, warnings allowed; 1: something failed.
    """
    fleet = load_file(file, required=broker is not None)
    named = fleet is not None and target in fleet.nodes
    if port is None and not named and _is_port(target):
        port = target
    if port is not None:
        config = fleet.nodes[target] if fleet is not None and named else None
        if config is None and port != target:
            config = _find(need_file(file), target)
        return _cable(port, fleet, config, relay, yes, as_json)
    if relay is not None:
        raise click.UsageError("--relay needs the node on a cable: --port")
    fleet = need_file(file)
    return _remote(fleet, _find(fleet, target), broker, wait, as_json)


def _cable(
    port: str,
    fleet: FleetFile | None,
    config: NodeConfig | None,
    relay: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    from fieldhand import doctor as library
    from fieldhand.device import ports
    from fieldhand.device.serial import Device
    from fieldhand.doctor import cable

    port = ports.choose(port)
    if relay is not None and not yes:
        _ask(relay)
    note(f"{port}: the node is stopped for this, its outputs are off")
    # As it is: why it started is known until MicroPython is restarted.
    with Device(port, fresh=False) as device:
        found = library.patient(device, fleet, config)
        found.relay = relay
        if config is None and fleet is not None:
            name = device.node_config().get("node")
            if isinstance(name, str) and name in fleet.nodes:
                cable.describe(found, fleet, fleet.nodes[name])
        findings = _show(library.examine(found), as_json)
        ran = device.facts.node
        for words in found.words:
            note(words)
    told = found.results.get("settings", {}).get("node")
    note(
        "the node was reset and runs again" if ran else "no node ran before; the board is as it was"
    )
    return _end(findings, {"node": told or found.name, "via": "cable", "port": port}, as_json)


def _remote(
    fleet: FleetFile,
    config: NodeConfig,
    broker: BrokerUrl | None,
    wait: float | None,
    as_json: bool,
) -> int:
    from fieldhand.cli.common import broker_of
    from fieldhand.doctor import remote

    address = broker_of(fleet, broker)
    wait_s = wait if wait is not None else remote.patience(config)
    note(f"listening on {address.host}:{address.port} for {wait_s:.0f} s at most")
    findings = _show(remote.examine(fleet, config, address, wait_s), as_json)
    where = f"{address.host}:{address.port}"
    return _end(findings, {"node": config.name, "via": "mqtt", "broker": where}, as_json)


def _show(findings: Iterable[Finding], as_json: bool) -> list[Finding]:
    shown = []
    for finding in findings:
        shown.append(finding)
        if not as_json:
            click.echo(_row(finding), color=_colour())
    return shown


def _row(finding: Finding) -> str:
    from fieldhand.records import printable

    width = max(shutil.get_terminal_size((100, 24)).columns, _NARROW)
    state = click.style(f"{finding.state:<8}", fg=_COLOURS[finding.state])
    head = f"{printable(finding.check):<22} "
    text = printable(finding.text)
    lines = textwrap.wrap(text, max(width - 31, 30)) or [""]
    if finding.advice and finding.state != "ok":
        lines += [
            ("-> " if not at else "   ") + line
            for at, line in enumerate(textwrap.wrap(_sentence(finding.advice), max(width - 34, 27)))
        ]
    return f"{state}{head}" + f"\n{'':<31}".join(lines)


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _colour() -> bool | None:
    """False where nobody wants it (no-color.org), None: as the terminal is."""
    return False if os.environ.get("NO_COLOR") else None


def _end(findings: list[Finding], facts: dict[str, Any], as_json: bool) -> int:
    from fieldhand.doctor.findings import healthy

    well = healthy(findings)
    if as_json:
        rows = [finding.as_dict() for finding in findings]
        emit({**facts, "healthy": well, "findings": rows})
    else:
        counts = {state: sum(f.state == state for f in findings) for state in _COLOURS}
        note(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    return EXIT_HEALTHY if well else EXIT_FAILED


def _ask(relay: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("--relay asks before it clicks; without a terminal give --yes")
    click.confirm(
        f"Click relay {relay} for 0.3 s? What it switches runs for so long", abort=True, err=True
    )


def _is_port(target: str) -> bool:
    from fieldhand.device.ports import VIRTUAL

    return target == VIRTUAL or "/" in target


def _find(fleet: FleetFile, name: str) -> NodeConfig:
    from fieldhand.errors import UnknownNode

    if name not in fleet.nodes:
        raise UnknownNode(name, list(fleet.nodes))
    return fleet.nodes[name]
