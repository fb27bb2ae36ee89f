"""History as series of numbers: as measured, or by the minute and the hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from fieldhand.service.store import readings, schema
from fieldhand.service.store.window import FIRST_PAGE, Place, Window

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


def history(
    connection: sa.Connection,
    node_id: int,
    resolution: str,
    window: Window = FIRST_PAGE,
    quantities: Sequence[str] | None = None,
) -> tuple[dict[str, Series], Place | None]:
    """Quantity -> series, and where the next page begins (None: there is none).

    The window's limit counts readings, minutes or hours.
    """
    if resolution == "raw":
        return _raw(connection, node_id, window, quantities)
    return _rolled_up(connection, node_id, TABLES[resolution], window, quantities)


def _raw(
    connection: sa.Connection, node_id: int, window: Window, quantities: Sequence[str] | None
) -> tuple[dict[str, Series], Place | None]:
    rows = readings.history(connection, node_id, window)
    found: dict[str, Series] = {}
    for row in rows:
        for name, value in row["quantities"].items():
            if value is not None and (quantities is None or name in quantities):
                found.setdefault(name, Series()).add(row["at"], 1, value, value, value)
    return found, (rows[-1]["at"], rows[-1]["id"]) if len(rows) == window.limit else None


def _rolled_up(
    connection: sa.Connection,
    node_id: int,
    table: sa.Table,
    window: Window,
    quantities: Sequence[str] | None,
) -> tuple[dict[str, Series], Place | None]:
    start = table.c.start
    wanted = [table.c.node_id == node_id]
    if quantities is not None:
        wanted.append(table.c.quantity.in_(quantities))
    if window.since is not None:
        wanted.append(start >= window.since)
    if window.until is not None:
        wanted.append(start < window.until)
    if window.place is not None:
        wanted.append(start > window.place[0])
    starts = sa.select(start).where(*wanted).distinct().order_by(start).limit(window.limit)
    times = list(connection.execute(starts).scalars())
    if not times:
        return {}, None
    query = sa.select(table).where(*wanted, start <= times[-1]).order_by(table.c.quantity, start)
    found: dict[str, Series] = {}
    for row in connection.execute(query):
        series = found.setdefault(row.quantity, Series())
        series.add(float(row.start), row.n, row.min, row.mean, row.max)
    return found, (float(times[-1]), 0) if len(times) == window.limit else None
