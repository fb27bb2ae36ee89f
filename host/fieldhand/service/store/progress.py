"""What background jobs have done so far: one number for each, by its name."""

from __future__ import annotations

import sqlalchemy as sa

from fieldhand.service.store import schema
from fieldhand.service.store.database import Database


def get(connection: sa.Connection, job: str) -> float | None:
    """The number, None before the first."""
    table = schema.progress
    found = connection.execute(sa.select(table.c.value).where(table.c.job == job)).scalar()
    return None if found is None else float(found)


def put(connection: sa.Connection, database: Database, job: str, value: float) -> None:
    """Note a number."""
    insert = database.insert(schema.progress).values(job=job, value=value)
    connection.execute(
        insert.on_conflict_do_update(index_elements=["job"], set_={"value": insert.excluded.value})
    )
