"""`fieldhand deploy`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import (
    NodeName,
    emit,
    file_option,
    json_option,
    need_file,
    note,
    port_option,
)

if TYPE_CHECKING:
    from fieldhand.device.deploy import Report

LISTED = 12  # names; more are counted


@click.command(short_help="Send a node what changed, and restart it.")
@click.argument("name", type=NodeName())
@file_option
@port_option
@click.option("--dry-run", is_flag=True, help="Say what would be sent; the node is restarted.")
@click.option("--reset/--no-reset", default=True, help="Leave the board at its REPL, stopped.")
@click.option("--source", is_flag=True, help="Send the firmware as .py, not compiled.")
@click.option("--yes", is_flag=True, help="Even if the board was another node's or program's.")
@json_option
def deploy(
    name: str,
    file: Path | None,
    port: str | None,
    dry_run: bool,
    reset: bool,
    source: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Send the node on a cable the files that changed, and restart it.

    The node is stopped for it, its outputs off. Firmware, node.json and credentials become those
    of this machine; what the node keeps (settings, readings, budgets) stays.
    """
    from fieldhand import boards
    from fieldhand.building import build
    from fieldhand.device import ports
    from fieldhand.device.deploy import deploy as bring
    from fieldhand.device.deploy import frozen
    from fieldhand.device.serial import Device
    from fieldhand.errors import UnknownNode

    fleet = need_file(file)
    if name not in fleet.nodes:
        raise UnknownNode(name, list(fleet.nodes))
    config = fleet.nodes[name]
    files = build.files(fleet, config, source=source)
    secrets = build.secrets(fleet, config)
    chosen = ports.choose(port)
    with Device(chosen) as device, _progress() as progress:
        version = frozen(device)
        if version is not None:
            note(
                f"{chosen}: firmware {version} is frozen into its image: only the rest is deployed"
            )
            files = build.files(fleet, config, frozen=True)
        report = bring(
            device,
            name,
            files,
            secrets,
            chip=boards.load(config.board).chip,
            replace=yes,
            dry_run=dry_run,
            reset=reset,
            progress=progress,
            tell=note,
        )
    if as_json:
        emit(report.as_dict())
    else:
        _tell(report)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    bar = Progress(
        BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True)
    )
    with bar:
        task = None

        def show(done: int, whole: int) -> None:
            nonlocal task
            task = bar.add_task("", total=whole) if task is None else task
            bar.update(task, completed=done)

        yield show


def _tell(report: Report) -> None:
    plan = report.plan
    would = "would be " if report.dry_run else ""
    for verb, names in (("sent", plan.send), ("removed", plan.remove)):
        for path in names[:LISTED]:
            click.echo(f"{would}{verb}: {path}")
        if len(names) > LISTED:
            click.echo(f"{would}{verb}: {len(names) - LISTED} more")
    if plan.credentials:
        click.echo(f"{would}set in NVS: {', '.join(plan.credentials)}")
    sent = f"{len(plan.send)} of {len(plan.send) + plan.unchanged} files {would}sent"
    speed = f" in {report.seconds:.1f} s ({report.bytes_per_s / 1024:.1f} kB/s)"
    click.echo(
        f"{report.node}: {sent}, {plan.bytes / 1024:.1f} kB"
        + (speed if plan.send and not report.dry_run else "")
    )
    if report.first_line is not None:
        click.echo(f"{report.node} runs: {report.first_line}")
    elif not report.dry_run:
        note(f"{report.node} is stopped; its watchdog starts it again within 10 minutes")
