"""`fieldhand sim` and `send`."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import (
    DialectName,
    NodeName,
    broker_of,
    broker_option,
    emit,
    file_option,
    json_option,
    load_file,
    need_file,
    note,
    seconds_option,
)

if TYPE_CHECKING:
    from fieldhand.brokerurl import BrokerUrl
    from fieldhand.pending import Pending

# How long `send` listens for a node that no fleet file names; a retained status comes at once.
DISCOVERY_S = 2.0


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("node", type=NodeName())
@click.argument("action")
@click.argument("parameters", nargs=-1, metavar="[NAME=VALUE]...")
@file_option
@broker_option
@click.option("--dialect", type=DialectName(), help="Of a node that the fleet file does not name.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of that dialect, such as org=org-123.",
)
@click.option(
    "--no-extras",
    is_flag=True,
    help="Keep to the dialect's document: no _fh key, for a device that refuses unknown ones.",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds an answer may take.",
)
@click.option("--retries", default=0, show_default=True, type=click.IntRange(0, 100))
@json_option
def send(
    node: str,
    action: str,
    parameters: tuple[str, ...],
    file: Path | None,
    broker: BrokerUrl | None,
    dialect: str | None,
    options: tuple[str, ...],
    no_extras: bool,
    timeout: float,
    retries: int,
    as_json: bool,
) -> int:
    """Send NODE a command and wait for its answer.

    Exit code 0: done; 1: the node failed or refused; 3: no answer in time.
    """
    from fieldhand import dialects
    from fieldhand import parameters as words
    from fieldhand.client import Fleet, NodeAddress
    from fieldhand.errors import UnknownAction

    fleet_file = load_file(file, required=broker is None)
    address = broker_of(fleet_file, broker)
    nodes: dict[str, Any] = dict(fleet_file.nodes) if fleet_file is not None else {}
    if dialect is not None:
        nodes[node] = NodeAddress(dialect, _options(options), extras=not no_extras)
    elif options or no_extras:
        raise click.UsageError(f"{'--option' if options else '--no-extras'} needs --dialect")

    def values_for(dialect: str) -> dict[str, Any]:
        speaks = dialects.unbound(dialect)
        command = speaks.command(action)
        if command is None:
            raise UnknownAction(node, speaks.name, action, [c.name for c in speaks.commands])
        return words.parse(node, command, parameters)

    # A typing mistake is told before the broker is bothered, where the node is known.
    values = values_for(nodes[node].dialect) if node in nodes else {}
    with Fleet(broker=address, nodes=nodes, received=False) as fleet:
        if node not in nodes:
            fleet.wait_known(node, DISCOVERY_S)
            values = values_for(fleet.node(node).dialect)
        pending = fleet.send_command(node, action, values, timeout=timeout, retries=retries)
        state = pending.wait(state="accepted")
        if state == "accepted" and not as_json:
            note(f"{node} {action}: accepted")
        state = pending.wait()
    if as_json:
        emit(pending.as_dict())
    else:
        _report(pending)
    return {"done": 0, "failed": 1}.get(state, 3)


def _report(pending: Pending) -> None:
    what = f"{pending.node} {pending.action}"
    seconds = (pending.ended_at or time.time()) - pending.sent_at
    if pending.state == "done":
        data = pending.reply.data if pending.reply is not None else {}
        facts = "".join(f" {key}={value}" for key, value in data.items())
        click.echo(f"{what}: done in {seconds:.2f} s{facts}")
    elif pending.state == "failed":
        note(f"error: {what}: failed: {pending.error or 'no reason given'}")
    else:
        times = f", sent {pending.attempts} times" if pending.attempts > 1 else ""
        note(f"error: {what}: no answer within {pending.timeout:g} s{times}")


def _options(words: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise click.BadParameter(f"'{word}' is not NAME=VALUE", param_hint="--option")
        found[name] = {"true": True, "false": False}.get(value, value)
    return found


@click.command(short_help="Run the fleet's nodes, simulated.")
@file_option
@broker_option
@click.option("--count", type=click.IntRange(1, 1000), help="Run so many nodes, not the file's.")
@click.option("--dialect", type=DialectName(), help="The dialect of those nodes.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Of the broker that is started when --broker is not given; else the fleet file's.",
)
@click.option(
    "--credentials",
    is_flag=True,
    help="Nodes log in with their own, which the broker started here requires.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print all the nodes say on their consoles.")
@seconds_option("Stop after so long; without it, on Ctrl-C.")
@json_option
def sim(
    file: Path | None,
    broker: BrokerUrl | None,
    count: int | None,
    dialect: str | None,
    port: int | None,
    credentials: bool,
    verbose: bool,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Run the fleet's nodes: the real firmware, one MicroPython process each.

    Without --broker a broker is started here as well, on the fleet file's port.
    """
    from fieldhand.broker import Broker
    from fieldhand.provisioning import brokerfiles
    from fieldhand.sim import fleet as simfleet

    if (count is None) != (dialect is None):
        raise click.UsageError("--count and --dialect belong together")
    if credentials and count is not None:
        raise click.UsageError("--credentials are those of the fleet file's nodes: no --count")
    if count is not None and dialect is not None:
        fleet_file = simfleet.example(dialect, count)
    else:
        fleet_file = need_file(file)
    with ExitStack() as stack:
        if broker is None:
            # On the fleet file's port, where watch and send look for it.
            users = brokerfiles.users(fleet_file) if credentials else None
            started = stack.enter_context(
                Broker(port=fleet_file.broker.port if port is None else port, users=users)
            )
            where = (started.host, started.port)
        else:
            where = (broker.host, broker.port)
        nodes = stack.enter_context(simfleet.running(fleet_file, where, note, verbose, credentials))
        if as_json:
            emit({"broker": {"host": where[0], "port": where[1]}, "nodes": nodes})
        else:
            note(f"broker on {where[0]}:{where[1]}")
            note(f"{len(nodes)} simulated nodes: {', '.join(nodes)}; Ctrl-C ends them")
        try:
            threading.Event().wait(seconds)
        except KeyboardInterrupt:
            note("")
