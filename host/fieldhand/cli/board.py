"""`fieldhand board list|show|virtual`."""

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
    seconds_option,
)

if TYPE_CHECKING:
    from fieldhand.boards import Board
    from fieldhand.virtual import VirtualBoard


_POLL_S = 3600.0


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
    from fieldhand import boards
    from fieldhand.boards import pinout, pinrules
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


@board.command(short_help="Run a board that is not there.")
@click.option(
    "--board",
    "name",
    default="esp32-devkitc",
    show_default=True,
    type=BoardName(),
    help="Whose chip and flash it has.",
)
@click.option(
    "--flash",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep its flash in this file, or go on with the one in it.",
)
@click.option(
    "--image",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Put this image of MicroPython on it first.",
)
@click.option(
    "--standin",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write an image without MicroPython's code into this file, for `flash --image`.",
)
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="Number of its network port; by default a free one.",
)
@click.option("--console", is_flag=True, help="Show what it prints.")
@seconds_option("Stop after so long.")
@json_option
def virtual(
    name: str,
    flash: Path | None,
    image: Path | None,
    standin: Path | None,
    port: int,
    console: bool,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Run a board that is not there, with a serial port for esptool, mpremote and us.

    `--port virtual` of the other commands finds it. It starts blank: `fieldhand flash NODE --port
    virtual` makes a node of it. MicroPython itself is this machine's, so that where its image is
    not at hand a stand-in does: --standin FILE here, `--image FILE` there.
    """
    from fieldhand import boards
    from fieldhand.errors import FieldhandError
    from fieldhand.esp import image as images
    from fieldhand.virtual import VirtualBoard
    from fieldhand.virtual.image import standin_image

    found = boards.load(name)
    if found.chip == "sim":
        raise click.UsageError(f"--board {name}: has no chip; see `fieldhand board list`")
    try:
        if standin is not None:
            variant = found.image.variant if found.image is not None else ""
            standin.write_bytes(standin_image(found.chip, variant=variant))
        data = image.read_bytes() if image is not None else None
    except OSError as error:
        raise FieldhandError(f"{error.filename}: {error.strerror or error}") from error
    facts = images.read(data) if data is not None else None
    if facts is not None:
        facts.check_chip(found.chip)
    with VirtualBoard(found.chip, found.flash_size, flash, port=port) as running:
        if data is not None and facts is not None:
            running.flash.write(facts.offset, data)
            running.press_reset()
        if as_json:
            emit(
                {
                    "board": name,
                    "chip": running.chip,
                    "port": running.port,
                    "pty": running.pty,
                    "flash": str(running.flash.path),
                    "mac": running.mac.hex(":"),
                }
            )
        else:
            note(f"{found.title}, not there but for its port: {running.port}")
            note(f"without reset lines: {running.pty}; its flash: {running.flash.path}")
            with_image = f" --image {standin}" if standin is not None else ""
            note(f"in another terminal: fieldhand flash NODE --port virtual{with_image}")
            note(f"or: esptool --port {running.port} flash-id; Ctrl-C ends it")
        _follow(running, console and not as_json, seconds)


def _follow(board: VirtualBoard, show: bool, seconds: float | None) -> None:
    """Until Ctrl-C, or `seconds` have passed."""
    import time

    end = None if seconds is None else time.monotonic() + seconds
    mark = 0
    try:
        while (left := _POLL_S if end is None else end - time.monotonic()) > 0:
            lines = board.console.since(mark, min(left, _POLL_S))
            mark += len(lines)
            if show and lines:
                click.echo("\n".join(lines))
    except KeyboardInterrupt:
        note("")


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
