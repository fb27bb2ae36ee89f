"""Down-sampling (one minute, one hour) and forgetting.

Every reading is added to its minute and its hour once, in the order in which they were stored: how
far that has come is noted in the same transaction. So a late reading counts like any other, also
where the others of its time have been forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from fieldhand.service.store import progress, readings, schema
from fieldhand.service.store.database import Database

MINUTE_S, HOUR_S = 60, 3600
# Readings added in one transaction, and rows forgotten in one: SQLite has one writer, and the
# ingest is to wait no longer than for this.
STEP_ROWS = 5_000
DAY_S = 86_400.0

# In the table of progress: the number of the last reading that is in the rollups.
ROLLED = "rollup.reading"

_EACH = {
    "sqlite": (
        "json_each(r.quantities) AS q",
        "q.key",
        "q.value",
        "q.type IN ('integer', 'real')",
        "CAST(r.at / {unit} AS INTEGER) * {unit}",
    ),
    "postgresql": (
        "jsonb_each(r.quantities) AS q (key, value)",
        "q.key",
        "CAST(q.value #>> '{}' AS double precision)",
        "jsonb_typeof(q.value) = 'number'",
        "CAST(floor(r.at / {unit}) * {unit} AS bigint)",
    ),
}

_ADD = """
INSERT INTO {table} (node_id, quantity, start, n, min, mean, max)
SELECT r.node_id, {key}, {unit}, count(*), min({value}), avg({value}), max({value})
FROM reading AS r CROSS JOIN {each}
WHERE {number} AND r.id > :after AND r.id <= :upto
GROUP BY r.node_id, {key}, {unit}
ON CONFLICT (node_id, quantity, start) DO UPDATE
SET n = {table}.n + excluded.n,
    min = CASE WHEN excluded.min < {table}.min THEN excluded.min ELSE {table}.min END,
    max = CASE WHEN excluded.max > {table}.max THEN excluded.max ELSE {table}.max END,
    mean = ({table}.mean * {table}.n + excluded.mean * excluded.n) / ({table}.n + excluded.n)
"""


def roll_up(database: Database, rest: Callable[[float], bool] = lambda took: False) -> int:
    """Bring the rollups up to date; returns how many readings were new. Raises StoreError.

    `rest` is called between steps with the seconds the last one took, and ends this by True.
    """
    with database.writing() as connection:
        upto = readings.last_stored(connection, database)
    total = 0
    while True:
        began = time.monotonic()
        with database.writing() as connection:
            found = _step(connection, database, upto)
        total += found
        if found < STEP_ROWS or rest(time.monotonic() - began):
            return total


def _step(connection: sa.Connection, database: Database, upto: int) -> int:
    id = schema.reading.c.id
    after = int(progress.get(connection, ROLLED) or 0)
    step = sa.select(id).where(id > after, id <= upto).order_by(id).limit(STEP_ROWS).subquery()
    found, last = connection.execute(sa.select(sa.func.count(), sa.func.max(step.c.id))).one()
    if not found:
        return 0
    each, key, value, number, unit = _EACH[database.url.get_backend_name()]
    for table, seconds in ((schema.rollup_minute, MINUTE_S), (schema.rollup_hour, HOUR_S)):
        add = _ADD.format(
            table=table.name,
            each=each,
            key=key,
            value=value,
            number=number,
            unit=unit.format(unit=seconds),
        )
        connection.execute(sa.text(add), {"after": after, "upto": last})
    progress.put(connection, database, ROLLED, last)
    return int(found)


def forget(
    database: Database,
    *,
    readings_s: float = 0,
    minutes_s: float = 0,
    hours_s: float = 0,
    events_s: float = 0,
    dead_letters_s: float = 0,
    commands_s: float = 0,
    now: float | None = None,
) -> dict[str, int]:
    """Delete what is older than so many seconds, 0: nothing; returns how many rows of each table.

    A reading goes when it is in the rollups, not before. Raises StoreError.
    """
    at = time.time() if now is None else now
    gone: dict[str, int] = {}
    if readings_s:
        with database.reading() as connection:
            rolled = int(progress.get(connection, ROLLED) or 0)
        table = schema.reading
        gone[table.name] = _delete(
            database, table, (table.c.received < at - readings_s) & (table.c.id <= rolled)
        )
    for column, keep_s in (
        (schema.rollup_minute.c.start, minutes_s),
        (schema.rollup_hour.c.start, hours_s),
        (schema.event.c.received, events_s),
        (schema.dead_letter.c.received, dead_letters_s),
        (schema.command.c.ended, commands_s),
        (schema.answer.c.received, commands_s),
    ):
        if keep_s:
            gone[column.table.name] = _delete(database, column.table, column < at - keep_s)
    return gone


def _delete(database: Database, table: sa.Table, old: sa.ColumnElement[bool]) -> int:
    total = 0
    keys = list(table.primary_key.columns)
    while True:
        some = sa.select(*keys).where(old).limit(STEP_ROWS)
        with database.writing() as connection:
            found = connection.execute(
                table.delete().where(sa.tuple_(*keys).in_(some))
                if len(keys) > 1
                else table.delete().where(keys[0].in_(some))
            ).rowcount
        total += found
        if found < STEP_ROWS:
            return total
