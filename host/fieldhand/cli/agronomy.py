"""`fieldhand agronomy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import (
    NodeName,
    database_option,
    emit,
    file_option,
    json_option,
    load_file,
)
from fieldhand.cli.serve import open_database

if TYPE_CHECKING:
    import sqlalchemy as sa

    from fieldhand.fleetfile import FleetFile
    from fieldhand.service.agronomy.forecast import Model
    from fieldhand.service.settings import ServiceSettings
    from fieldhand.service.store.database import Database
    from fieldhand.service.store.nodes import NodeRow

# Names among which a mistyped one is looked for.
MAX_KNOWN = 1_000
MAX_LISTED = 10
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
@file_option
@database_option
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
    with open_database(file, database, existing=True) as opened:
        from fieldhand.service.agronomy import forecast, observing

        fleet_file = load_file(file, required=False)
        settings = _settings(fleet_file, database)
        with opened.reading() as connection:
            row = _farm(connection, node)
            model = _train(connection, opened, settings, row, hours, days)
        path = forecast.path_of(
            observing.models_folder(settings, opened, fleet_file.path if fleet_file else None),
            row.public_id,
        )
        forecast.save(model, path)
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


def _farm(connection: sa.Connection, word: str) -> NodeRow:
    """The farm that `word` names. Raises UnknownNode."""
    from fieldhand.errors import UnknownNode, did_you_mean
    from fieldhand.service.agronomy.observing import DIALECT
    from fieldhand.service.store import nodes

    found = nodes.find(connection, word)
    farms = [row for row in found if row.dialect == DIALECT]
    if len(farms) == 1:
        return farms[0]
    known = [row.public_id for row in farms]
    if farms:
        reason = f"several farms are called so: {', '.join(known)}"
    elif found:
        others = " and ".join(sorted({row.dialect for row in found}))
        reason = f"its dialect is {others}; only a {DIALECT}'s soil is forecast"
    else:
        rows = nodes.listing(connection, limit=MAX_KNOWN)
        known = [row.name for row in rows if row.dialect == DIALECT]
        reason = f"not in the database{did_you_mean(word, known)}"
        if not known:
            reason += ", which has no farm yet"
        elif len(known) <= MAX_LISTED:
            reason += f"; its farms: {', '.join(known)}"
    raise UnknownNode(word, known, reason)


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
    if not any(weather.MOISTURE in spans for spans in found.values()):
        raise click.ClickException(
            f"nothing to forecast: '{row.public_id}' told no plausible soil moisture in the"
            f" {days} d before its last reading"
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
    used = f"{model.chosen} is used"
    if model.chosen == "physical" and "physical" not in model.errors:
        used = "naive is used until ET0 is known, then physical"
    click.echo(f"{used}: {model.why}")
    span = f", {model.first} to {model.last}" if model.first is not None else ""
    click.echo(f"{path}: {model.samples} hours{span}")
