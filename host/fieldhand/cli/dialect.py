"""`fieldhand dialect list|show|asyncapi`."""

from __future__ import annotations

from typing import Any

import click

from fieldhand.cli.common import DialectName, emit, json_option


@click.group()
def dialect() -> None:
    """The wire dialects: topics, messages, commands."""


@dialect.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the dialects."""
    from fieldhand import dialects

    rows = []
    for name in dialects.names():
        found = dialects.unbound(name)
        rows.append(
            {
                "name": name,
                "options": [field.name for field in found.option_fields],
                "messages": [message.name for message in found.messages],
                "commands": [command.name for command in found.commands],
            }
        )
    if as_json:
        emit(rows)
        return
    for row in rows:
        options = f" (options: {', '.join(row['options'])})" if row["options"] else ""
        click.echo(f"{row['name']}{options}")
        click.echo(f"  messages: {', '.join(row['messages'])}")
        click.echo(f"  commands: {', '.join(row['commands'])}")


@dialect.command()
@click.argument("name", type=DialectName())
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a dialect's topics, fields and commands."""
    from fieldhand import dialectdoc, dialects

    found = dialects.unbound(name)
    document = dialectdoc.describe(found)
    if as_json:
        emit(document)
        return
    _print(document)


@dialect.command()
@click.argument("name", type=DialectName())
def asyncapi(name: str) -> None:
    """Print a dialect's AsyncAPI 3.0 document (JSON)."""
    import json

    from fieldhand import asyncapi as generator

    click.echo(json.dumps(generator.document(name), indent=2, ensure_ascii=False))


def _print(document: dict[str, Any]) -> None:
    click.echo(f"{document['name']}: {document['summary']}")
    if document["options"]:
        click.echo("\noptions")
        _print_fields(document["options"])
    for message in document["messages"]:
        arrow = "node -> host" if message["sender"] == "node" else "host -> node"
        retained = ", retained" if message["retain"] else ""
        several = f", up to {message['batch']} in a list" if message["batch"] else ""
        click.echo(
            f"\n{message['name']} ({message['kind']}, {arrow},"
            f" QoS {message['qos']}{retained}{several})"
        )
        for topic in message["topics"]:
            click.echo(f"  topic {topic}")
        _print_fields(message["fields"])
    for command in document["commands"]:
        doc = f": {command['doc']}" if command["doc"] else ""
        click.echo(f"\ncommand {command['name']}{doc}")
        _print_fields(command["params"])


def _print_fields(fields: list[dict[str, Any]]) -> None:
    width = max((len(field["name"]) for field in fields), default=0)
    for field in fields:
        need = "required" if field["required"] else "optional"
        facts = "  ".join(part for part in (field["facts"], field["doc"]) if part)
        click.echo(f"  {field['name']:<{width}}  {field['type']:<7} {need:<9} {facts}".rstrip())
