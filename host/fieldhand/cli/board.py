"""`fieldhand board list|show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import (
    BoardName,
    NodeName,
    emit,
    file_option,
    json_option,
    need_file,
    note,
)

if TYPE_CHECKING:
    from fieldhand.boards import Board


@click.group()
def board() -> None:
    """The boards a node can live on."""


@board.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the boards."""
    from fieldhand import boards

    found = [boards.load(name) for name in boards.names()]
    if as_json:
        emit([_record(b) for b in found])
        return
    wide = max(len(b.name) for b in found)
    for b in found:
        size = f"{b.flash_size >> 20} MB" if b.flash_size else ""
        click.echo(f"{b.name:<{wide}}  {b.chip:<7}  {size:<4}  {b.title}")


@board.command()
@click.argument("name", metavar="BOARD", type=BoardName())
@click.option("--node", type=NodeName(), help="Draw what this node of the fleet file has on it.")
@file_option
@click.option(
    "--svg",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Draw it as SVG into this file, - for stdout.",
)
@json_option
def show(name: str, node: str | None, file: Path | None, svg: Path | None, as_json: bool) -> None:
    """Draw BOARD's headers and what is on each pin.

    With --node what that node has there, else the board's defaults. A node made for another board
    may be drawn too: what would not work here is said on stderr.
    """
    from fieldhand import boards, pinout, pinrules
    from fieldhand.errors import FieldhandError, UnknownNode

    if as_json and svg is not None:
        raise click.UsageError("--json and --svg exclude each other")
    found = boards.load(name)
    uses = None
    if node is not None:
        fleet = need_file(file)
        if node not in fleet.nodes:
            raise UnknownNode(node, list(fleet.nodes))
        config = fleet.nodes[node]
        uses = pinrules.uses(found, config.sensors, config.actuators, config.led)
        if config.board != name:
            note(f"{node} is made for {config.board}")
            for problem in pinrules.check(found, uses):
                note(f"warning: {problem.key}: {problem.text}")
    if as_json:
        emit(_record(found) | {"node": node, "pins": pinout.record(found, uses)})
    elif svg is None:
        click.echo(pinout.text(found, uses, node))
    elif str(svg) == "-":
        click.echo(pinout.svg(found, uses, node), nl=False)
    else:
        try:
            svg.write_text(pinout.svg(found, uses, node), "utf-8")
        except OSError as error:
            raise FieldhandError(f"{svg}: {error.strerror or error}") from error
        click.echo(svg)


def _record(board: Board) -> dict[str, Any]:
    image = board.image
    return {
        "name": board.name,
        "title": board.title,
        "chip": board.chip,
        "flash_size": board.flash_size,
        "timers": board.timers,
        "image": None
        if image is None
        else {
            "file": image.file,
            "url": image.url,
            "version": image.version,
            "offset": image.offset,
            "sha256": image.sha256,
        },
    }
