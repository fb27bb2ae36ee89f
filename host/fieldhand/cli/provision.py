"""`fieldhand provision`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import (
    NodeName,
    PortName,
    emit,
    file_option,
    json_option,
    need_file,
    note,
)

if TYPE_CHECKING:
    from fieldhand.fleetfile import FleetFile

_FILE = click.Path(path_type=Path, dir_okay=False)
_TRIES = "{} tries them now: it goes back by itself unless a connection holds for a minute in ten"


@click.command(short_help="Give nodes credentials of their own.")
@click.argument("nodes", nargs=-1, type=NodeName(), metavar="[NODE]...")
@file_option
@click.option("--all", "everyone", is_flag=True, help="All nodes of the fleet file.")
@click.option("--renew", is_flag=True, help="Make new ones for nodes that have some.")
@click.option(
    "--bulk",
    type=_FILE,
    metavar="CSV",
    help="The nodes of a CSV file: id, like, dialect, board and a dialect's options.",
)
@click.option("--fleet-out", type=_FILE, help="With --bulk: file for their tables, else stdout.")
@click.option("--labels", "labels_file", type=_FILE, help="Labels as .pdf or .svg.")
@click.option(
    "--sheet",
    default="3x8",
    show_default=True,
    metavar="COLUMNSxROWS",
    help="Labels on a sheet of A4.",
)
@click.option(
    "--margins",
    nargs=2,
    type=float,
    default=(0.0, 0.0),
    metavar="X Y",
    help="Left and top margin of the sheet, mm.",
)
@click.option(
    "--gaps",
    nargs=2,
    type=float,
    default=(0.0, 0.0),
    metavar="X Y",
    help="Between two labels, across and down, mm.",
)
@click.option(
    "--broker-file",
    type=click.Choice(["mosquitto"]),
    help="Password file and access list of all nodes for this broker.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --broker-file: its folder.  [default: .fieldhand/mosquitto]",
)
@click.option(
    "-p",
    "--port",
    type=PortName(),
    metavar="PORT",
    help="Send Wi-Fi and broker to the running board on this port.",
)
@click.option(
    "--over", type=click.Choice(["mqtt"]), help="Send them over MQTT; the broker's link has TLS."
)
@click.option("--only", type=click.Choice(["wifi", "broker"]), help="Send one of the two.")
@json_option
def provision(
    nodes: tuple[str, ...],
    file: Path | None,
    everyone: bool,
    renew: bool,
    bulk: Path | None,
    fleet_out: Path | None,
    labels_file: Path | None,
    sheet: str,
    margins: tuple[float, float],
    gaps: tuple[float, float],
    broker_file: str | None,
    output: Path | None,
    port: str | None,
    over: str | None,
    only: str | None,
    as_json: bool,
) -> None:
    """Give nodes an MQTT password and a pairing code of their own.

    They are kept in .fieldhand/credentials.json, which git does not see, and never shown;
    `flash` writes them onto a board. What a node has is kept. With --port a node on a cable, with
    --over mqtt one far away gets the fleet file's Wi-Fi and broker: it tries them, and goes back
    by itself.
    """
    from fieldhand.provisioning import brokerfiles, credentials, labels
    from fieldhand.provisioning import bulk as bulk_file

    _check_usage(nodes, everyone, bulk, fleet_out, broker_file, output, port, over, only)
    fleet = need_file(file)
    tables = None
    if bulk is not None:
        read = bulk_file.read(bulk, fleet.path)
        fleet, chosen, tables = read.file, list(read.nodes), read.tables
    else:
        chosen = list(fleet.nodes) if everyone else [_known(fleet, name) for name in nodes]
    on = labels.sheet(sheet, margins, gaps)
    if labels_file is not None:
        labels.targets(labels_file, len(chosen), on)
    if fleet_out is not None and fleet_out.exists():
        raise click.UsageError(f"{fleet_out} exists; it is left as it is")
    # Nothing has been made up to here.
    place = credentials.path_for(fleet.path)
    made = credentials.provide(place, chosen, renew=renew)
    result: dict[str, Any] = {
        "file": str(place),
        "made": made,
        "kept": [name for name in chosen if name not in made],
    }
    if chosen:
        note(f"credentials: {len(made)} made, {len(result['kept'])} kept, in {place}")
    if made and renew:
        note("what runs keeps its old ones until 'fieldhand flash', or 'provision --port', and")
        note("until the broker has the new ones: 'fieldhand provision --broker-file mosquitto'")
    if tables is not None:
        result["tables"] = _tables(tables, fleet_out, as_json, fleet.path)
    if labels_file is not None:
        kept = credentials.load(place)
        wanted = [labels.Label(n, fleet.nodes[n].dialect, kept[n].code) for n in chosen]
        result["labels"] = [str(path) for path in labels.write(labels_file, wanted, on)]
        for path in result["labels"]:
            note(f"labels: {path}")
    if broker_file is not None:
        folder = output or place.parent / broker_file
        result["broker"] = [str(path) for path in brokerfiles.write_mosquitto(fleet, folder)]
        for path in result["broker"]:
            note(f"{broker_file}: {path}")
    parts = (only,) if only else ("wifi", "broker")
    if port is not None:
        result["port"] = _send(fleet, chosen[0], port, parts)
    if over is not None:
        result["answer"] = _send_over_mqtt(fleet, chosen[0], parts)
    if as_json:
        emit(result)


def _check_usage(
    nodes: tuple[str, ...],
    everyone: bool,
    bulk: Path | None,
    fleet_out: Path | None,
    broker_file: str | None,
    output: Path | None,
    port: str | None,
    over: str | None,
    only: str | None,
) -> None:
    if sum((bool(nodes), everyone, bulk is not None)) > 1:
        raise click.UsageError("NODE, --all and --bulk exclude each other")
    if not (nodes or everyone or bulk or broker_file):
        raise click.UsageError("which nodes? NODE..., --all or --bulk; or --broker-file")
    for given, needs, name, of in (
        (fleet_out, bulk, "--fleet-out", "--bulk"),
        (output, broker_file, "--output", "--broker-file"),
        (only, port or over, "--only", "--port or --over"),
    ):
        if given and not needs:
            raise click.UsageError(f"{name} needs {of}")
    if port and over:
        raise click.UsageError("--port and --over exclude each other")
    if (port or over) and len(nodes) != 1:
        raise click.UsageError(f"{'--port' if port else '--over'} needs one NODE")


def _known(fleet: FleetFile, name: str) -> str:
    from fieldhand.errors import UnknownNode

    if name not in fleet.nodes:
        raise UnknownNode(name, list(fleet.nodes))
    return name


def _tables(tables: str, out: Path | None, as_json: bool, fleet: Path) -> str | None:
    """Hand out the tables that the fleet file lacks."""
    from fieldhand.errors import FieldhandError

    if not tables:
        note(f"{fleet} has all of these nodes")
        return None
    if out is None:
        if as_json:
            return tables
        click.echo(tables, nl=False)
        note(f"append these tables to {fleet}")
        return None
    try:
        out.write_text(tables, "utf-8")
    except OSError as error:
        raise FieldhandError(f"{out}: {error.strerror or error}") from error
    note(f"tables: {out}; append them: cat {out} >> {fleet}")
    return str(out)


def _send(fleet: FleetFile, name: str, port: str, parts: tuple[str, ...]) -> str:
    from fieldhand.device import ports, slot
    from fieldhand.device.serial import Device

    chosen = ports.choose(port)
    with Device(chosen) as device:
        slot.write(device, fleet, fleet.nodes[name], parts)
    note(_TRIES.format(name))
    return chosen


def _send_over_mqtt(fleet: FleetFile, name: str, parts: tuple[str, ...]) -> dict[str, Any]:
    import json

    from fieldhand.client import Fleet
    from fieldhand.device import slot

    content = json.loads(slot.content(fleet, fleet.nodes[name], parts))
    with Fleet(broker=fleet.broker.address(), nodes=dict(fleet.nodes), received=False) as nodes:
        pending = nodes.send_credentials(name, content)
        pending.result()
    note(_TRIES.format(name))
    return pending.as_dict()
