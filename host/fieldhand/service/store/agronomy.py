"""Hours of a node's quantities, out of its readings or, where those are gone, their rollups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from fieldhand.service.store import schema
from fieldhand.service.store.database import Database

HOUR_S = 3600
# A year of hours; what one question may bring back.
MAX_HOURS = 24 * 366


class Span(NamedTuple):
    """What was measured of one quantity in one hour."""

    n: int
    mean: float
    low: float
    high: float


def hours(
    connection: sa.Connection,
    database: Database,
    node_id: int,
    quantities: Mapping[str, tuple[float, float]],
    since: float,
    until: float,
) -> dict[int, dict[str, Span]]:
    """Hour (Unix time / 3600) -> quantity -> what was measured, of the hours that begin in
    [since, until); an hour in which nothing was measured is not there.

    `quantities` gives for each the lowest and highest value that can be: a reading that goes beyond
    in one of them is left out. Raw readings count before the rollups of the same hour.
    """
    first = -(-int(since) // HOUR_S)
    last = min(-(-int(until) // HOUR_S), first + MAX_HOURS)
    found = _rolled_up(connection, node_id, quantities, first, last)
    table = schema.reading
    if database.sqlite:
        hour = sa.cast(table.c.at / float(HOUR_S), sa.Integer)
    else:
        hour = sa.cast(sa.func.floor(table.c.at / float(HOUR_S)), sa.BigInteger)
    columns = [hour.label("hour")]
    plausible = []
    for number, (name, (low, high)) in enumerate(quantities.items()):
        value = table.c.quantities[name].as_float()
        plausible.append(sa.or_(value.is_(None), value.between(low, high)))
        columns += [
            sa.func.count(value).label(f"n{number}"),
            sa.func.avg(value).label(f"mean{number}"),
            sa.func.min(value).label(f"low{number}"),
            sa.func.max(value).label(f"high{number}"),
        ]
    query = (
        sa.select(*columns)
        .where(
            table.c.node_id == node_id,
            table.c.at >= float(first * HOUR_S),
            table.c.at < float(last * HOUR_S),
            *plausible,
        )
        .group_by(hour)
    )
    for row in connection.execute(query):
        values = row._mapping
        spans = found.setdefault(int(values["hour"]), {})
        for number, name in enumerate(quantities):
            if values[f"n{number}"]:
                spans[name] = Span(*(values[f"{what}{number}"] for what in Span._fields))
    return found


def _rolled_up(
    connection: sa.Connection,
    node_id: int,
    quantities: Mapping[str, tuple[float, float]],
    first: int,
    last: int,
) -> dict[int, dict[str, Span]]:
    table = schema.rollup_hour
    query = sa.select(table).where(
        table.c.node_id == node_id,
        table.c.quantity.in_(quantities),
        table.c.start >= first * HOUR_S,
        table.c.start < last * HOUR_S,
    )
    found: dict[int, dict[str, Span]] = {}
    for row in connection.execute(query):
        low, high = quantities[row.quantity]
        if low <= row.min and row.max <= high:
            spans = found.setdefault(row.start // HOUR_S, {})
            spans[row.quantity] = Span(row.n, row.mean, row.min, row.max)
    return found
