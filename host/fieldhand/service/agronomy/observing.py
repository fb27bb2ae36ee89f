"""What is known of a farm, gathered from the database, the settings and its model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from fieldhand.errors import FieldhandError
from fieldhand.service import farm
from fieldhand.service.agronomy import forecast, weather
from fieldhand.service.agronomy.analysis import Farm
from fieldhand.service.agronomy.weather import Hours
from fieldhand.service.commands import guards
from fieldhand.service.farm import FarmSettings
from fieldhand.service.settings import ServiceSettings, default_database
from fieldhand.service.store import agronomy as store
from fieldhand.service.store.database import Database
from fieldhand.service.store.nodes import NodeRow

# An analysis looks at two days: the Hutton Criteria do.
WINDOW_H = 48
FOLDER = "agronomy"
# Only its nodes are farms.
DIALECT = "farm"


class FarmError(FieldhandError):
    """A farm's settings are wrong."""


def place_of(settings: ServiceSettings, node: NodeRow) -> FarmSettings:
    """A farm's settings. Raises FarmError for an option of its node that is wrong."""
    try:
        return farm.farm_of(settings.agronomy, node.name, node.options)
    except ValueError as error:
        raise FarmError(f"node '{node.public_id}': {error}") from None


def models_folder(settings: ServiceSettings, database: Database, fleet_file: Path | None) -> Path:
    """Where models are kept: as set, else beside the SQLite file or the fleet file."""
    if settings.agronomy_models:
        return Path(settings.agronomy_models)
    own = database.url if database.sqlite else sa.make_url(default_database(fleet_file))
    return Path(str(own.database)).absolute().parent / FOLDER


def window(
    connection: sa.Connection, database: Database, node_id: int, at: float, since: float | None
) -> Hours:
    """The hours an analysis at `at` looks at, those before `since` left out."""
    first = (int(at // store.HOUR_S) - WINDOW_H) * store.HOUR_S
    first = first if since is None else max(first, int(since // store.HOUR_S) * store.HOUR_S)
    return store.hours(connection, database, node_id, weather.QUANTITIES, first, at + store.HOUR_S)


def observe(
    connection: sa.Connection,
    settings: ServiceSettings,
    winds: guards.Winds,
    models: Path,
    node: NodeRow,
    *,
    at: float,
    values: Mapping[str, object],
    hours: Hours,
    now: float,
) -> Farm:
    """A farm at `at`, the time of its latest reading, whose quantities are `values`.

    Raises FarmError.
    """
    place = place_of(settings, node)
    model = trouble = blocked = None
    try:
        model = forecast.load(forecast.path_of(models, node.public_id))
    except forecast.ModelFileError as error:
        trouble = str(error)
    try:
        guards.check(connection, settings, winds, node, "fertilization", {"state": 1}, now)
    except guards.Blocked as error:
        blocked = error.reason
    return Farm(
        at=at,
        values=weather.plausible(values),
        hours=hours,
        place=place,
        model=model,
        model_trouble=trouble,
        fertilization_blocked=blocked,
        now=now,
    )
