"""History as series of numbers: as measured, or by the minute and the hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from fieldhand.service.store import readings, schema

TABLES = {"1m": schema.rollup_minute, "1h": schema.rollup_hour}


@dataclass
class Series:
    """One quantity, oldest first: of the time from `at` on `n` values and their range."""

    at: list[float] = field(default_factory=list)
    n: list[int] = field(default_factory=list)
    min: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    max: list[float] = field(default_factory=list)

    def add(self, at: float, n: int, low: float, mean: float, high: float) -> None:
        self.at.append(at)
        self.n.append(n)
        self.min.append(low)
        self.mean.append(mean)
        self.max.append(high)


# Where a page ended: the time and, of readings, the number of its last.
Place = tuple[float, int]


def history(
    connection: sa.Connection,
    node_id: int,
    resolution: str,
    *,
    quantities: Sequence[str] | None = None,
    since: float | None = None,
    until: float | None = None,
    after: Place | None = None,
    limit: int = 1000,
) -> tuple[dict[str, Series], Place | None]:
    """Quantity -> series, and where the next page begins (None: there is none).

    `limit` counts readings, minutes or hours. `since` <= at < `until`.
    """
    if resolution == "raw":
        return _raw(connection, node_id, quantities, since, until, after, limit)
    return _rolled_up(
        connection, TABLES[resolution], node_id, quantities, since, until, after, limit
    )


def _raw(
    connection: sa.Connection,
    node_id: int,
    quantities: Sequence[str] | None,
    since: float | None,
    until: float | None,
    after: Place | None,
    limit: int,
) -> tuple[dict[str, Series], Place | None]:
    rows = readings.history(connection, node_id, since=since, until=until, after=after, limit=limit)
    found: dict[str, Series] = {}
    for row in rows:
        for name, value in row["quantities"].items():
            if value is not None and (quantities is None or name in quantities):
                found.setdefault(name, Series()).add(row["at"], 1, value, value, value)
    last = (rows[-1]["at"], rows[-1]["id"]) if len(rows) == limit else None
    return found, last


def _rolled_up(
    connection: sa.Connection,
    table: sa.Table,
    node_id: int,
    quantities: Sequence[str] | None,
    since: float | None,
    until: float | None,
    after: Place | None,
    limit: int,
) -> tuple[dict[str, Series], Place | None]:
    wanted = [table.c.node_id == node_id]
    if quantities is not None:
        wanted.append(table.c.quantity.in_(quantities))
    if since is not None:
        wanted.append(table.c.start >= since)
    if until is not None:
        wanted.append(table.c.start < until)
    if after is not None:
        wanted.append(table.c.start > after[0])
    starts = sa.select(table.c.start).where(*wanted).distinct().order_by(table.c.start).limit(limit)
    times = [row.start for row in connection.execute(starts)]
    if not times:
        return {}, None
    query = (
        sa.select(table)
        .where(*wanted, table.c.start <= times[-1])
        .order_by(table.c.quantity, table.c.start)
    )
    found: dict[str, Series] = {}
    for row in connection.execute(query):
        series = found.setdefault(row.quantity, Series())
        series.add(float(row.start), row.n, row.min, row.mean, row.max)
    return found, (float(times[-1]), 0) if len(times) == limit else None
