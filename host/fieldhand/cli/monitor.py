"""`fieldhand monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import (
    broker_of,
    broker_option,
    emit,
    file_option,
    json_option,
    load_file,
    note,
    seconds_option,
)

if TYPE_CHECKING:
    from fieldhand.broker.stats import BrokerHealth
    from fieldhand.brokerurl import BrokerUrl

_COLUMNS = (
    *("uptime", "clients", "away", "received", "sent", "msg/s", "dropped", "retained"),
    "heap",
)
# How often the head of the table is printed again.
HEAD_EVERY = 20


@click.command(short_help="Show a broker's health, and publish it.")
@file_option
@broker_option
@click.option(
    "--interval",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0.5, max=86_400),
    help="Seconds between two lines.",
)
@click.option("--no-publish", is_flag=True, help="Only show it.")
@seconds_option("Stop after so long.")
@json_option
def monitor(
    file: Path | None,
    broker: BrokerUrl | None,
    interval: float,
    no_publish: bool,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Show a broker's health from its $SYS topics, a line every interval.

    It is published on iot/broker/status (retained) and iot/broker/stats too, as the iot/node
    document has it.
    """
    from fieldhand.broker.monitor import BrokerMonitor

    address = broker_of(load_file(file, required=broker is None, need_nodes=False), broker)
    printed = 0

    def show(health: BrokerHealth) -> None:
        nonlocal printed
        if as_json:
            emit(health.as_dict())
            return
        if printed == 0:
            note(f"{health.version or 'broker'} at {address.host}:{address.port}")
        if printed % HEAD_EVERY == 0:
            click.echo("".join(f"{name:>10}" for name in _COLUMNS))
        click.echo("".join(f"{word:>10}" for word in _row(health)))
        printed += 1

    try:
        with BrokerMonitor(address, publish=not no_publish) as running:
            running.watch(show, interval, seconds, away=note)
    except KeyboardInterrupt:
        note("")


def _row(health: BrokerHealth) -> list[str]:
    return [
        _duration(health.uptime_s),
        _count(health.connections),
        _count(health.sessions_away),
        _count(health.messages_received),
        _count(health.messages_sent),
        f"{health.messages_per_second:.1f}",
        _count(health.messages_dropped),
        _count(health.retained),
        _size(health.heap_bytes),
    ]


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _size(value: int | None) -> str:
    return "-" if value is None else f"{value / 1024:.0f} KB"


def _duration(seconds: int) -> str:
    """ "42 s", "3:05 h", "2 d 04 h"."""
    if seconds < 3600:
        return f"{seconds} s"
    hours, rest = divmod(seconds, 3600)
    if hours < 24:
        return f"{hours}:{rest // 60:02d} h"
    return f"{hours // 24} d {hours % 24:02d} h"
