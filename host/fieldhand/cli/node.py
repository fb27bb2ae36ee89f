"""`fieldhand node list|show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fieldhand.cli.common import NodeName, emit, file_option, json_option, need_file


@click.group()
def node() -> None:
    """The nodes of the fleet file."""


@node.command("list")
@file_option
@json_option
def list_(file: Path | None, as_json: bool) -> None:
    """List the nodes."""
    fleet = need_file(file)
    rows: list[dict[str, Any]] = [
        {"name": n.name, "dialect": n.dialect, "board": n.board, "options": dict(n.options)}
        for n in fleet.nodes.values()
    ]
    if as_json:
        emit(rows)
        return
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        options = " ".join(f"{key}={value}" for key, value in row["options"].items())
        click.echo(
            f"{row['name']:<{width}}  {row['dialect']:<10}  {row['board']}  {options}".rstrip()
        )


@node.command()
@click.argument("name", type=NodeName())
@file_option
@json_option
def show(name: str, file: Path | None, as_json: bool) -> None:
    """Show a node: sensors, actuators, topics and commands."""
    from fieldhand import dialects, fleetfile, parameters

    fleet = need_file(file)
    config = _find(fleet, name)
    settings = fleetfile.node_json(fleet, config, for_check=True)
    dialect = dialects.load(config.dialect, config.options)
    topics = {m.name: dialect.topic(m, name) for m in dialect.messages if m.kind != "broker"}
    commands = {c.name: [parameters.describe(f) for f in c.params] for c in dialect.commands}
    if as_json:
        emit({"node": settings, "board": config.board, "topics": topics, "commands": commands})
        return
    click.echo(f"{name}: {config.dialect} on {config.board}")
    for key in ("sensors", "actuators"):
        for item in settings[key]:
            facts = " ".join(f"{k}={_plain(v)}" for k, v in item.items())
            click.echo(f"  {key.removesuffix('s')}: {facts}")
    for message, topic in topics.items():
        click.echo(f"  {message}: {topic}")
    for command, params in commands.items():
        click.echo(f"  command {command}{': ' if params else ''}{', '.join(params)}")


def _find(fleet: Any, name: str) -> Any:
    from fieldhand.errors import UnknownNode

    if name not in fleet.nodes:
        raise UnknownNode(name, list(fleet.nodes))
    return fleet.nodes[name]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
