"""`fieldhand build`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import NodeName, emit, file_option, json_option, need_file, note

if TYPE_CHECKING:
    from fieldhand.building.buildfolder import Built
    from fieldhand.building.heapestimate import Estimate


@click.command()
@click.argument("node", type=NodeName())
@file_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to.  [default: build/NODE beside the fleet file]",
)
@click.option(
    "--image",
    "image_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="MicroPython image, a .bin file.  [default: the board's, if it has been fetched before]",
)
@click.option(
    "--flash-size",
    type=click.IntRange(4, 128),
    metavar="MB",
    help="Flash of the board itself, where it is another than its kind has.",
)
@click.option("--source", is_flag=True, help="Firmware as .py, not compiled.")
@click.option("--with-secrets", is_flag=True, help="Add secrets.json to files/, for mpremote cp.")
@json_option
def build(
    node: str,
    file: Path | None,
    output: Path | None,
    image_file: Path | None,
    flash_size: int | None,
    source: bool,
    with_secrets: bool,
    as_json: bool,
) -> None:
    """Build all that a board's flash holds for NODE, ready for one call of esptool.

    nvs.bin holds the secrets: it is for nobody else to read, and git must not see it.
    """
    from fieldhand import boards
    from fieldhand.building import buildfolder, imagestore
    from fieldhand.errors import FieldhandError, UnknownNode

    fleet = need_file(file)
    config = fleet.nodes.get(node)
    if config is None:
        raise UnknownNode(node, list(fleet.nodes))
    if output is None and not node.strip("."):
        raise FieldhandError(f"node '{node}' cannot name a folder: give one with --output")
    board = boards.load(config.board)
    with_image = image_file is not None or imagestore.is_cached(board)
    built = buildfolder.make(
        fleet,
        config,
        output if output is not None else fleet.path.parent / "build" / node,
        image=imagestore.get(board, image_file) if with_image else None,
        flash_size=None if flash_size is None else flash_size << 20,
        source=source,
        with_secrets=with_secrets,
    )
    for warning in built.warnings:
        note(f"warning: {warning}")
    if built.image is None and board.image is not None:
        note(
            "This is for a board that has MicroPython already. For a bare one, fetch "
            f"{board.image.url} and build with --image {board.image.file}"
        )
    if as_json:
        emit(_facts(node, built))
        return
    click.echo(f"{node} on {board.name}, in {built.folder}")
    for part in built.usage:
        share = 100 * part.used / part.size
        click.echo(f"  {part.name:<8} {part.used:>9,} of {part.size:>9,} bytes  {share:3.0f} %")
    click.echo(f"  {'heap':<8} {_heap(built.heap)}")
    click.echo(shlex.join(built.command))


def _facts(node: str, built: Built) -> dict[str, Any]:
    heap = built.heap
    return {
        "node": node,
        "board": built.board.name,
        "chip": built.board.chip,
        "image": built.image,
        "folder": str(built.folder),
        "partitions": [asdict(part) for part in built.usage],
        "heap": heap and {"estimate": heap.heap, "error": heap.error, "free": heap.free},
        "regions": [
            {"offset": r.offset, "file": str(built.folder / r.name), "size": r.size}
            for r in built.regions
        ],
        "command": built.command,
    }


def _heap(estimate: Estimate | None) -> str:
    if estimate is None:
        return "the firmware is in the image, which leaves most of it free"
    text = f"about {estimate.heap >> 10} kB (an estimate, give or take {estimate.error >> 10} kB)"
    return text if estimate.free is None else f"{text} of the {estimate.free >> 10} kB there are"
