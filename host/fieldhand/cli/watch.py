"""`fieldhand watch`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import (
    NodeName,
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
    from fieldhand.brokerurl import BrokerUrl
    from fieldhand.client import Fleet
    from fieldhand.records import Event
    from fieldhand.streams import Stream

REFRESH_PER_SECOND = 4
# How often a silent watch looks whether the broker is still there.
LOOK_S = 0.5


@click.command(short_help="Show what the nodes say, live.")
@file_option
@broker_option
@click.option("--node", "name", type=NodeName(), help="Only this node.")
@seconds_option("End after so long; without it, on Ctrl-C.")
@json_option
def watch(
    file: Path | None,
    broker: BrokerUrl | None,
    name: str | None,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Show what the nodes say: a live table, or with --json one line per message.

    Where stdout is no terminal, one line of text per message.
    """
    from fieldhand.client import Fleet

    fleet_file = load_file(file, required=broker is None)
    address = broker_of(fleet_file, broker)
    deadline = None if seconds is None else time.monotonic() + seconds
    fleet = Fleet(fleet_file, broker=address)
    # Before it connects: what is retained comes with the subscription.
    with fleet.events(name) as events, fleet:
        try:
            if not as_json and sys.stdout.isatty():
                _live(fleet, events, name, deadline)
            else:
                _lines(fleet, events, deadline, as_json)
        except KeyboardInterrupt:
            note("")


def _lines(fleet: Fleet, events: Stream[Event], deadline: float | None, as_json: bool) -> None:
    from fieldhand.records import as_dict

    link = _Link(fleet)
    while deadline is None or time.monotonic() < deadline:
        event = events.get(LOOK_S if deadline is None else min(LOOK_S, deadline - time.monotonic()))
        link.tell()
        if event is None:
            continue
        if as_json:
            emit(as_dict(event))
        else:
            click.echo(_line(event))
            sys.stdout.flush()


class _Link:
    """Says on stderr when the broker is lost and when it is back."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._up = True
        self._reconnects = 0

    def tell(self) -> None:
        up, reconnects = self._fleet.connected, self._fleet.counts.reconnects
        at = f"broker {self._fleet.broker.host}:{self._fleet.broker.port}"
        if self._up and (not up or reconnects != self._reconnects):
            note(f"{at} lost, trying again")
            self._up = False
        if up and not self._up:
            note(f"{at} is back")
            self._up = True
        self._reconnects = reconnects


def _live(fleet: Fleet, events: Stream[Event], name: str | None, deadline: float | None) -> None:
    from rich.live import Live

    from fieldhand.livetable import LiveTable

    table = LiveTable(name)
    with Live(table.render(fleet), refresh_per_second=REFRESH_PER_SECOND) as live:
        while deadline is None or time.monotonic() < deadline:
            event = events.get(1 / REFRESH_PER_SECOND)
            while event is not None:
                table.add(event)
                event = events.get(0)
            live.update(table.render(fleet))


def _line(event: Event) -> str:
    from fieldhand.records import (
        Alert,
        Invalid,
        NodeEvent,
        Reading,
        Reply,
        Status,
        in_words,
        printable,
    )
    from fieldproto.quantities import UNITS

    clock = time.strftime("%H:%M:%S", time.localtime(event.received_at))
    if isinstance(event, Reading):
        parts = [f"{k}={v:g} {UNITS.get(k, '')}".strip() for k, v in event.quantities.items()]
        text = f"{event.node} reading {', '.join(parts)}"
    elif isinstance(event, Status):
        text = f"{event.node} status {event.state}{' (retained)' if event.retained else ''}"
    elif isinstance(event, Reply):
        of = event.command or event.id or ""
        text = (
            f"{event.node} reply {of} {event.state}{': ' if event.error else ''}{event.error or ''}"
        )
    elif isinstance(event, Alert):
        text = f"{event.node} alert {event.severity}: {event.message}"
    elif isinstance(event, NodeEvent):
        text = f"{event.node} event {in_words(event)}"
    else:
        assert isinstance(event, Invalid)
        text = f"refused {event.topic}: {event.reason}"
    return printable(f"{clock} {text}")
