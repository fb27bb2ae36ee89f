"""Down-sampling (one minute, one hour) and forgetting.

A minute in which something came in is reckoned anew from its readings, and its hour from the
minutes, so a late reading counts like any other and a run that is repeated changes nothing. Only
where a minute's readings, or an hour's minutes, have been forgotten already is what comes still
later added to what is known of it.
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from fieldhand.service.store import progress, schema
from fieldhand.service.store.database import Database

MINUTE_S, HOUR_S = 60, 3600
# Readings looked at in one transaction, and rows forgotten in one: SQLite has one writer, and the
# ingest is to wait no longer than for this.
STEP_ROWS = 5_000
# Younger ones may still be under way in another transaction.
SETTLED_S = 5.0
DAY_S = 86_400.0

# In the table of progress: readings received up to then are in the rollups; readings received
# before then may have been forgotten; minutes before then may.
ROLLED, FORGOTTEN = "rollup.received", "retention.received"
FORGOTTEN_MINUTES = "retention.minutes"

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

_MINUTES = """
INSERT INTO rollup_minute (node_id, quantity, start, n, min, mean, max)
SELECT r.node_id, {key}, d.start, count(*), min({value}), avg({value}), max({value})
FROM (SELECT DISTINCT r.node_id, {unit} AS start FROM reading AS r
      WHERE r.received > :after AND r.received <= :upto AND r.at >= :kept) AS d
JOIN reading AS r ON r.node_id = d.node_id AND r.at >= d.start AND r.at < d.start + 60
CROSS JOIN {each}
WHERE {number}
GROUP BY r.node_id, {key}, d.start
ON CONFLICT (node_id, quantity, start) DO UPDATE
SET n = excluded.n, min = excluded.min, mean = excluded.mean, max = excluded.max
"""

# Late readings of times whose other readings, or minutes, are gone.
_LATE = """
INSERT INTO {table} (node_id, quantity, start, n, min, mean, max)
SELECT r.node_id, {key}, {unit}, count(*), min({value}), avg({value}), max({value})
FROM reading AS r CROSS JOIN {each}
WHERE {number} AND r.received > :after AND r.received <= :upto AND r.at < :kept
GROUP BY r.node_id, {key}, {unit}
ON CONFLICT (node_id, quantity, start) DO UPDATE
SET n = {table}.n + excluded.n,
    min = CASE WHEN excluded.min < {table}.min THEN excluded.min ELSE {table}.min END,
    max = CASE WHEN excluded.max > {table}.max THEN excluded.max ELSE {table}.max END,
    mean = ({table}.mean * {table}.n + excluded.mean * excluded.n) / ({table}.n + excluded.n)
"""


def roll_up(database: Database, now: float | None = None) -> int:
    """Bring the rollups up to date; returns how many readings were new. Raises StoreError."""
    upto = (time.time() if now is None else now) - SETTLED_S
    total = 0
    while True:
        with database.writing() as connection:
            found = _step(connection, database, upto)
        total += found
        if found < STEP_ROWS:
            return total


def _step(connection: sa.Connection, database: Database, upto: float) -> int:
    table = schema.reading
    after = progress.get(connection, ROLLED) or 0.0
    window = (table.c.received > after) & (table.c.received <= upto)
    times = connection.execute(
        sa.select(table.c.received).where(window).order_by(table.c.received).limit(STEP_ROWS)
    ).scalars()
    received = list(times)
    if not received:
        return 0
    # All of one moment, or the next step would miss the rest of it.
    window_of = {"after": after, "upto": received[-1]}
    minutes = window_of | {"kept": _border(connection, FORGOTTEN, MINUTE_S)}
    hours = window_of | {"kept": _border(connection, FORGOTTEN_MINUTES, HOUR_S)}
    each, key, value, number, unit = _EACH[database.url.get_backend_name()]
    names = {"each": each, "key": key, "value": value, "number": number}
    a_minute = names | {"unit": unit.format(unit=MINUTE_S), "table": "rollup_minute"}
    an_hour = names | {"unit": unit.format(unit=HOUR_S), "table": "rollup_hour"}
    connection.execute(sa.text(_MINUTES.format(**a_minute)), minutes)
    connection.execute(sa.text(_LATE.format(**a_minute)), minutes)
    connection.execute(sa.text(_LATE.format(**an_hour)), hours)
    _hours(connection, database, after, received[-1], hours["kept"])
    progress.put(connection, database, ROLLED, received[-1])
    return len(received)


def _border(connection: sa.Connection, job: str, unit: int) -> float:
    """From this time on nothing of a minute, or hour, has been forgotten.

    Readings are forgotten by when they were received, which is not before they were measured.
    """
    border = progress.get(connection, job)
    return -1e12 if border is None else -(-border // unit) * unit


def _hours(
    connection: sa.Connection, database: Database, after: float, upto: float, kept: float
) -> None:
    """The hours, from `kept` on, in which a reading of this window lies, from their minutes."""
    minute, hour, reading = schema.rollup_minute, schema.rollup_hour, schema.reading
    start = sa.cast(sa.func.floor(reading.c.at / HOUR_S), sa.BigInteger) * HOUR_S
    if database.sqlite:
        start = sa.cast(reading.c.at / HOUR_S, sa.Integer) * HOUR_S
    touched = (
        sa.select(reading.c.node_id, start.label("start"))
        .where(reading.c.received > after, reading.c.received <= upto, reading.c.at >= kept)
        .distinct()
        .subquery()
    )
    total = sa.func.sum(minute.c.n)
    rows = (
        sa.select(
            minute.c.node_id,
            minute.c.quantity,
            touched.c.start,
            total,
            sa.func.min(minute.c.min),
            sa.func.sum(minute.c.mean * minute.c.n) / total,
            sa.func.max(minute.c.max),
        )
        .join(
            touched,
            (minute.c.node_id == touched.c.node_id)
            & (minute.c.start >= touched.c.start)
            & (minute.c.start < touched.c.start + HOUR_S),
        )
        .group_by(minute.c.node_id, minute.c.quantity, touched.c.start)
    )
    names = ["node_id", "quantity", "start", "n", "min", "mean", "max"]
    insert = database.insert(hour).from_select(names, rows)
    new = insert.excluded
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=names[:3],
            set_={"n": new.n, "min": new.min, "mean": new.mean, "max": new.max},
        )
    )


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
        with database.writing() as connection:
            border = min(at - readings_s, progress.get(connection, ROLLED) or 0.0)
            _advance(connection, database, FORGOTTEN, border)
        gone["reading"] = _delete(database, schema.reading, "received", border)
    if minutes_s:
        # Whole hours, so that an hour has all of its minutes or is not reckoned from them.
        border = (at - minutes_s) // HOUR_S * HOUR_S
        with database.writing() as connection:
            _advance(connection, database, FORGOTTEN_MINUTES, border)
        gone["rollup_minute"] = _delete(database, schema.rollup_minute, "start", border)
    for table, column, keep_s in (
        (schema.rollup_hour, "start", hours_s),
        (schema.event, "received", events_s),
        (schema.dead_letter, "received", dead_letters_s),
        (schema.command, "ended", commands_s),
        (schema.answer, "received", commands_s),
    ):
        if keep_s:
            gone[table.name] = _delete(database, table, column, at - keep_s)
    return gone


def _advance(connection: sa.Connection, database: Database, job: str, value: float) -> None:
    before = progress.get(connection, job)
    if before is None or value > before:
        progress.put(connection, database, job, value)


def _delete(database: Database, table: sa.Table, column: str, before: float) -> int:
    total = 0
    keys = list(table.primary_key.columns)
    while True:
        old = sa.select(*keys).where(table.c[column] < before).limit(STEP_ROWS)
        with database.writing() as connection:
            found = connection.execute(
                table.delete().where(sa.tuple_(*keys).in_(old))
                if len(keys) > 1
                else table.delete().where(keys[0].in_(old))
            ).rowcount
        total += found
        if found < STEP_ROWS:
            return total
