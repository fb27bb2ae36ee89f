"""`fieldhand repl` and `fieldhand logs`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import (
    NodeName,
    PortName,
    broker_of,
    broker_option,
    emit,
    file_option,
    json_option,
    load_file,
    note,
    port_option,
    seconds_option,
)

if TYPE_CHECKING:
    from fieldhand.brokerurl import BrokerUrl
    from fieldhand.device.logs import Line
    from fieldhand.fleetfile import FleetFile
    from fieldhand.records import Event

LOGS_S = 10.0
# Ctrl-J in the REPL: a node that was stopped is not reset by its watchdog for an hour.
HOLD = "import machine; machine.WDT(timeout=3600000).feed()\r"


class Target(click.ParamType[str]):
    """A node's name or a port."""

    name = "target"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        nodes = NodeName().shell_complete(ctx, param, incomplete)
        return nodes + PortName().shell_complete(ctx, param, incomplete)


@click.command(short_help="Talk to the board's MicroPython.")
@click.argument("target", metavar="[NODE|PORT]", type=Target(), required=False)
@file_option
@port_option
def repl(target: str | None, file: Path | None, port: str | None) -> int:
    """Talk to the MicroPython on a cable, by mpremote's REPL; Ctrl-] ends it.

    Ctrl-C stops the node, its outputs off, and its watchdog restarts it a minute later; Ctrl-J
    then gives you an hour. Ctrl-D starts the node again.
    """
    from importlib.util import find_spec

    from fieldhand.device import ports
    from fieldhand.errors import FieldhandError
    from fieldhand.paths import MissingPart

    if find_spec("mpremote") is None:
        raise MissingPart("no mpremote: pip install 'fieldhand[board]'")
    # mpremote and miniterm both set the terminal up, and end in a traceback where there is none.
    if sys.stdin is None or not sys.stdin.isatty():
        raise FieldhandError(
            "repl needs a terminal to type in, and stdin is none; a script is run by "
            "`mpremote connect PORT run FILE`"
        )
    _, on_cable = _split(target, file, port)
    chosen = ports.choose(on_cable)
    ports.check(chosen)
    device = _with_descriptor(chosen)
    if device is None:
        command = ["serial.tools.miniterm", "--raw", "--eol", "CR", chosen, "115200"]
    else:
        command = ["mpremote", "connect", device, "repl", "--inject-code", HOLD]
    return subprocess.run([sys.executable, "-m", *command]).returncode and 1


def _with_descriptor(port: str) -> str | None:
    """mpremote's REPL waits for a file descriptor, which a URL has not: a virtual board's pty."""
    if "://" not in port:
        return port
    try:
        from fieldhand.virtual import runtime
    except ImportError:
        return None
    return next((board.get("pty") for board in runtime.boards() if board["port"] == port), None)


@click.command(short_help="Show what a node prints, or what it reports.")
@click.argument("target", metavar="[NODE|PORT]", type=Target(), required=False)
@file_option
@port_option
@broker_option
@click.option("--follow", is_flag=True, help="Until Ctrl-C; a board that is unplugged is awaited.")
@click.option("--reset", is_flag=True, help="Reset the board first, to see it start.")
@seconds_option(f"End after so long.  [default: {LOGS_S:g}, or never with --follow]")
@json_option
def logs(
    target: str | None,
    file: Path | None,
    port: str | None,
    broker: BrokerUrl | None,
    follow: bool,
    reset: bool,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Show what the board on a cable prints, with the time; tracebacks by source line.

    The node is not disturbed. With a NODE and no --port, show the events, alerts and crashes that
    it reports over MQTT.
    """
    if seconds is None and not follow:
        seconds = LOGS_S
    node, on_cable = _split(target, file, port)
    try:
        if node is not None and on_cable is None:
            if reset:
                raise click.UsageError("--reset needs a cable: add --port")
            _reported(node, file, broker, seconds, as_json)
        else:
            _printed(on_cable, seconds, follow, reset, as_json)
    except KeyboardInterrupt:
        note("")


def _split(
    target: str | None, file: Path | None, port: str | None
) -> tuple[str | None, str | None]:
    """(node, port) of what was asked for. Raises UnknownNode for a word that is neither."""
    from fieldhand.device import ports
    from fieldhand.errors import UnknownNode

    if target is None:
        return None, port
    if "/" in target or target == ports.VIRTUAL or target.upper().startswith("COM"):
        return None, target
    fleet = load_file(file, required=True)
    assert fleet is not None
    if target not in fleet.nodes:
        raise UnknownNode(target, list(fleet.nodes))
    return target, port


def _printed(
    port: str | None, seconds: float | None, follow: bool, reset: bool, as_json: bool
) -> None:
    from fieldhand.device import logs, ports

    chosen = ports.choose(port)
    heard = False
    for line in logs.follow(chosen, reset=reset, seconds=seconds, reconnect=follow, tell=note):
        heard = True
        if as_json:
            emit(_as_dict(line, chosen))
        else:
            clock = datetime.fromtimestamp(line.time).strftime("%H:%M:%S.%f")[:-3]
            text = line.text if line.frame is None else str(line.frame)
            for part in text.splitlines() or [""]:
                click.echo(f"{clock} {part}")
            sys.stdout.flush()
    if not heard:
        note(
            f"{chosen}: nothing was printed in {seconds:g} s: a node prints when something "
            "happens; --reset shows its start, --follow waits longer"
        )


def _as_dict(line: Line, port: str) -> dict[str, Any]:
    frame = line.frame
    return {
        "time": _iso(line.time),
        "port": port,
        "level": line.level,
        "uptime_s": line.uptime_s,
        "text": line.text,
        "frame": None
        if frame is None
        else {
            "file": frame.file,
            "line": frame.line,
            "function": frame.function,
            "source": frame.source,
            "sure": frame.sure,
        },
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


def _reported(
    node: str,
    file: Path | None,
    broker: BrokerUrl | None,
    seconds: float | None,
    as_json: bool,
) -> None:
    from fieldhand.client import Fleet
    from fieldhand.records import Alert, NodeEvent, Status, as_dict

    fleet_file: FleetFile | None = load_file(file, required=True)
    deadline = None if seconds is None else time.monotonic() + seconds
    fleet = Fleet(fleet_file, broker=broker_of(fleet_file, broker), received=False)
    with fleet.events(node) as events, fleet:
        while deadline is None or time.monotonic() < deadline:
            event = events.get(0.5 if deadline is None else deadline - time.monotonic())
            if not isinstance(event, NodeEvent | Alert | Status):
                continue
            clock = datetime.fromtimestamp(event.received_at).strftime("%H:%M:%S.%f")[:-3]
            if as_json:
                emit(as_dict(event) | _resolved(event))
                continue
            for text in _lines(event):
                click.echo(f"{clock} {text}")
            sys.stdout.flush()


def _resolved(event: Event) -> dict[str, str]:
    from fieldhand.device.tracebacks import Resolver
    from fieldhand.records import NodeEvent

    trace = event.data.get("traceback") if isinstance(event, NodeEvent) else None
    return {"resolved": Resolver().text(trace)} if isinstance(trace, str) else {}


def _lines(event: Event) -> Iterator[str]:
    from fieldhand.records import Alert, NodeEvent, Status, in_words, printable

    if isinstance(event, Status):
        yield printable(f"status {event.state}{' (retained)' if event.retained else ''}")
    elif isinstance(event, Alert):
        yield printable(f"alert {event.severity}: {event.message}")
    elif isinstance(event, NodeEvent):
        yield printable(in_words(event))
        for line in _resolved(event).get("resolved", "").splitlines():
            yield printable(line)
