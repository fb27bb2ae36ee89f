"""`fieldhand board list|show`."""

from __future__ import annotations

from typing import Any

import click

from fieldhand.cli.common import BoardName, emit, json_option


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
        rows: list[dict[str, Any]] = [
            {
                "name": b.name,
                "title": b.title,
                "chip": b.chip,
                "flash_size": b.flash_size,
                "image": b.image.file if b.image is not None else None,
            }
            for b in found
        ]
        emit(rows)
        return
    wide = max(len(b.name) for b in found)
    for b in found:
        size = f"{b.flash_size >> 20} MB" if b.flash_size else ""
        click.echo(f"{b.name:<{wide}}  {b.chip:<7}  {size:<4}  {b.title}")


@board.command()
@click.argument("name", metavar="BOARD", type=BoardName())
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a board."""
    from fieldhand import boards

    b = boards.load(name)
    if as_json:
        emit({"name": b.name, "title": b.title, "chip": b.chip})
        return
    click.echo(f"{b.name}: {b.title}")
