"""`fieldhand build`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import NodeName, emit, file_option, json_option, need_file, note

if TYPE_CHECKING:
    from fieldhand.boards import Board
    from fieldhand.heapestimate import Estimate


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
    from fieldhand import boards, buildfolder, heapestimate
    from fieldhand import build as builder
    from fieldhand.errors import FieldhandError, UnknownNode
    from fieldhand.esp import image as esp_image
    from fieldhand.esp import littlefs, nvs

    fleet = need_file(file)
    config = fleet.nodes.get(node)
    if config is None:
        raise UnknownNode(node, list(fleet.nodes))
    if output is None and not node.strip("."):
        raise FieldhandError(f"node '{node}' cannot name a folder: give one with --output")
    folder = output if output is not None else fleet.path.parent / "build" / node
    board = boards.load(config.board)
    data, name = _image(board, image_file)
    try:
        image = None if data is None else esp_image.read(data)
        size = None if flash_size is None else flash_size << 20
        images = builder.images(fleet, config, image=image, flash_size=size, source=source)
    except esp_image.ImageError as error:
        raise esp_image.ImageError(f"{name or board.name}: {error}") from error
    for warning in builder.warnings(config):
        note(f"warning: {warning}")
    regions = buildfolder.write(
        folder,
        board.chip,
        images,
        image=None if image is None or data is None else (image, data),
        secrets=builder.secrets(fleet, config) if with_secrets else None,
    )
    frozen = image is not None and builder.is_frozen(image)
    settings = builder.node_json(fleet, config)
    psram = image is not None and image.variant == "SPIRAM"
    ram = None if frozen else heapestimate.estimate(settings, board.chip, psram=psram)
    sizes = [
        ("nvs", nvs.used(images.nvs), images.nvs_place.size),
        ("vfs", littlefs.used(images.vfs), images.vfs_place.size),
    ]
    if image is not None:
        sizes.insert(0, ("program", image.program_size, image.program.size))
    command = buildfolder.esptool_arguments(folder, board.chip, regions)
    if as_json:
        emit(
            {
                "node": node,
                "board": board.name,
                "chip": board.chip,
                "image": name,
                "folder": str(folder),
                "partitions": [
                    {"name": part, "used": used, "size": size} for part, used, size in sizes
                ],
                "heap": None
                if ram is None
                else {"estimate": ram.heap, "error": ram.error, "free": ram.free},
                "regions": [
                    {"offset": r.offset, "file": str(folder / r.name), "size": r.size}
                    for r in regions
                ],
                "command": command,
            }
        )
    else:
        click.echo(f"{node} on {board.name}, in {folder}")
        for part, used, size in sizes:
            click.echo(f"  {part:<8} {used:>9,} of {size:>9,} bytes  {100 * used / size:3.0f} %")
        click.echo(f"  {'heap':<8} {_heap(ram)}")
        click.echo(shlex.join(command))
    if ram is not None:
        _advise(ram, board, settings)
    if image is None:
        _say_where(board)


def _image(board: Board, given: Path | None) -> tuple[bytes | None, str | None]:
    """(bytes, name of the file) of the image given, or of the board's if it is in the cache."""
    from fieldhand import imagestore

    if given is None and not imagestore.is_cached(board):
        return None, None
    stored = imagestore.get(board, given)
    return stored.data, stored.name


def _heap(ram: Estimate | None) -> str:
    if ram is None:
        return "the firmware is in the image, which leaves most of it free"
    text = f"about {ram.heap >> 10} kB (an estimate, give or take {ram.error >> 10} kB)"
    return text if ram.free is None else f"{text} of the {ram.free >> 10} kB there are"


def _advise(ram: Estimate, board: Board, settings: dict[str, Any]) -> None:
    tls = "tls" in settings["broker"]
    if ram.fits and not tls:
        return
    if ram.free is None:
        if tls:
            note("warning: TLS needs memory besides what is estimated")
        return
    if tls:
        problem = "with TLS, which needs memory besides, it will hardly fit"
    elif ram.fits is None:
        problem = "it fits just so, if at all"
    else:
        problem = "it does not fit"
    note(
        f"warning: {problem}, on {board.chip} without PSRAM under a stock image: freeze the "
        "firmware into the image (firmware/manifest.py), or take a board with PSRAM"
    )


def _say_where(board: Board) -> None:
    assert board.image is not None
    note(
        "This is for a board that has MicroPython already. For a bare one, fetch "
        f"{board.image.url} and build with --image {board.image.file}"
    )
