"""`fieldhand init`, `demo` and `completion`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from fieldhand.cli.common import emit, json_option, note


@click.command(short_help="Write a commented fleet.toml.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."))
@json_option
def init(folder: Path, as_json: bool) -> None:
    """Write a commented fleet.toml with five example nodes into FOLDER."""
    from fieldhand.fleetfile import template

    written = template.write(folder)
    if as_json:
        emit({"written": [str(path) for path in written]})
        return
    for path in written:
        click.echo(path)
    note("next: fieldhand sim, and in another terminal fieldhand watch")


@click.command(short_help="Show the whole thing in a minute.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    envvar="DEMO_SECONDS",
    help="End by itself after so long; without it, on Ctrl-C.",
)
def demo(seconds: float | None) -> int:
    """Show the whole thing: broker, five nodes, a command, an outage, a live table."""
    module = importlib.import_module("fieldhand.demo")
    result = module.run(seconds)
    return result if isinstance(result, int) else 0


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL; load it with: eval "$(fieldhand completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = context.find_root().command
    click.echo(found(root, {}, "fieldhand", "_FIELDHAND_COMPLETE").source())
