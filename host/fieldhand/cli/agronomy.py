"""`fieldhand agronomy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import NodeName, emit, file_option, json_option, load_file
from fieldhand.cli.serve import need_service

if TYPE_CHECKING:
    import sqlalchemy as sa

    from fieldhand.fleetfile import FleetFile
    from fieldhand.service.agronomy.forecast import Model
    from fieldhand.service.settings import ServiceSettings
    from fieldhand.service.store.database import Database
    from fieldhand.service.store.nodes import NodeRow

INSTALL = "pip install 'fieldhand[agronomy]'"
WAYS = {
    "naive": "stays as it is",
    "physical": "FAO-56 water balance",
    "ridge": "trained on this node",
}


@click.group(short_help="Learn a farm's soil from its own history.")
def agronomy() -> None:
    """What the host service makes of a farm's readings."""


@agronomy.command(short_help="Train the forecast of a node's soil moisture.")
@click.argument("node", type=NodeName())
@click.option(
    "--hours",
    type=click.IntRange(1, 72),
    default=6,
    show_default=True,
    help="How far ahead to forecast.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 366),
    default=120,
    show_default=True,
    help="How much of its history to learn from, back from its last reading.",
)
@click.option("--database", metavar="URL", help="As for serve.  [default: .fieldhand/service.db]")
@file_option
@json_option
def train(
    node: str, hours: int, days: int, database: str | None, file: Path | None, as_json: bool
) -> None:
    """Train on the readings the service has stored, and keep what does best.

    Three ways are tried on the same hours, each on hours after those it was trained on: the soil
    stays as it is, FAO-56's water balance, and a linear model of this node's history. With too
    little history, or where it is no better, the linear model is not used. Hours in which the soil
    was watered are left out: the forecast says how it dries.
    """
    need_service()
    from fieldhand.service.agronomy import forecast, observing
    from fieldhand.service.store.database import Database

    fleet_file = load_file(file, required=False)
    settings = _settings(fleet_file, database)
    where = _existing(settings, fleet_file)
    opened = Database(where)
    opened.open()
    try:
        with opened.reading() as connection:
            row = _node(connection, node)
            model = _train(connection, opened, settings, row, hours, days)
        path = forecast.path_of(
            observing.models_folder(settings, opened, fleet_file.path if fleet_file else None),
            row.public_id,
        )
        forecast.save(model, path)
    finally:
        opened.close()
    if as_json:
        emit({**model.model_dump(), "file": str(path)})
        return
    _show(model, path)


def _settings(file: FleetFile | None, database: str | None) -> ServiceSettings:
    from fieldhand.service import settings

    return settings.load(
        file.service if file is not None else None,
        {"database": database},
        path=file.path if file is not None else None,
    )


def _existing(settings: ServiceSettings, file: FleetFile | None) -> str:
    """The database's URL; a SQLite file that is not there is not made."""
    import sqlalchemy as sa

    from fieldhand.service.settings import default_database

    url = settings.database or default_database(file.path if file is not None else None)
    try:
        made = sa.make_url(url)
    except sa.exc.ArgumentError:
        return url  # refused when it is opened
    if made.get_backend_name() == "sqlite" and made.database and not Path(made.database).exists():
        raise click.ClickException(f"{made.database} is not there: fieldhand serve makes it")
    return url


def _node(connection: sa.Connection, word: str) -> NodeRow:
    from fieldhand.service.store import nodes

    found = nodes.find(connection, word)
    if not found:
        raise click.ClickException(f"no node '{word}' in the database")
    if len(found) > 1:
        ids = ", ".join(row.public_id for row in found)
        raise click.ClickException(f"several nodes are called '{word}': {ids}")
    return found[0]


def _train(
    connection: sa.Connection,
    database: Database,
    settings: ServiceSettings,
    row: NodeRow,
    hours: int,
    days: int,
) -> Model:
    import time

    from fieldhand.service.agronomy import observing, training, weather
    from fieldhand.service.store import agronomy as store
    from fieldhand.service.store import readings

    last = readings.latest(connection, [row.id]).get(row.id)
    if last is None:
        raise click.ClickException(f"no reading of '{row.public_id}' in the database")
    until = last["at"]
    place = observing.place_of(settings, row)
    found = store.hours(
        connection, database, row.id, weather.QUANTITIES, until - days * 86_400, until
    )
    try:
        return training.train(found, place, row.public_id, hours, time.time())
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not installed: {INSTALL}") from None


def _show(model: Model, path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("model", "RMSE", "mean error", "hours", ""):
        table.add_column(
            name, justify="right" if name in ("RMSE", "mean error", "hours") else "left"
        )
    for way, error in sorted(model.errors.items()):
        used = "used" if way == model.chosen else ""
        numbers = (f"{error.rmse:.3f}", f"{error.mae:.3f}", str(error.samples))
        table.add_row(f"{way}: {WAYS[way]}", *numbers, used)
    if model.errors:
        folds = max(error.folds for error in model.errors.values())
        how = f"{folds}-fold time-series cross-validation" if folds else "on all hours there are"
        click.echo(f"soil moisture of {model.node} in {model.horizon_h} h, points of %, {how}:")
        Console().print(table)
    click.echo(f"{model.chosen} is used: {model.why}")
    click.echo(f"{path}: {model.samples} hours, {model.first} to {model.last}")
