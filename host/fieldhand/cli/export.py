"""`fieldhand export grafana|telegraf`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import (
    DialectName,
    broker_of,
    broker_option,
    file_option,
    load_file,
    note,
)

if TYPE_CHECKING:
    from fieldhand.brokerurl import BrokerUrl

dialect_option = click.option(
    "--dialect", "names", multiple=True, type=DialectName(), help="Only this; may be repeated."
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write to this file.  [default: stdout]",
)


@click.group()
def export() -> None:
    """Configurations for other programs, made from the dialects."""


@export.command()
@dialect_option
@click.option("--title", default="Fieldhand", show_default=True, help="Of the dashboard.")
@output_option
def grafana(names: tuple[str, ...], title: str, output: Path | None) -> None:
    """A dashboard over InfluxDB: a row for each dialect, a panel for each quantity (JSON)."""
    from fieldhand.export import grafana as generator

    document = generator.dashboard(names, title)
    _write(json.dumps(document, indent=2, ensure_ascii=False) + "\n", output)


@export.command()
@dialect_option
@file_option
@broker_option
@click.option(
    "--influx",
    metavar="URL",
    help="Write to it: http://host:8086/?db=NAME, or /?org=ORG&bucket=BUCKET.",
)
@output_option
def telegraf(
    names: tuple[str, ...],
    file: Path | None,
    broker: BrokerUrl | None,
    influx: str | None,
    output: Path | None,
) -> None:
    """A configuration for Telegraf: readings from the broker into InfluxDB (TOML).

    Passwords are not in it: FIELDHAND_MQTT_PASSWORD, FIELDHAND_INFLUX_PASSWORD and
    FIELDHAND_SERVICE_INFLUX_TOKEN are read from Telegraf's environment.
    """
    from fieldhand.connection import BrokerAddress
    from fieldhand.export import telegraf as generator
    from fieldhand.influxurl import InfluxUrl

    fleet = load_file(file, required=False)
    known = fleet is not None or broker is not None
    address = broker_of(fleet, broker) if known else BrokerAddress()
    target = InfluxUrl.of(influx, "--influx") if influx is not None else None
    _write(generator.configuration(names, address, target), output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror}") from None
    note(f"wrote {output}")
