"""Which messages have been stored that the broker may not know to be acknowledged.

Only of those that say nothing by which they can be told from the next: no number, no time. After a
kill the broker delivers again what it has no acknowledgement of, under the same packet identifier
(MQTT 3.1.1, 4.4). What was stored under it is that message; anything else that says the same,
as a solar machine does all night, is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from fieldhand.service.store import schema
from fieldhand.service.store.database import Database

_table = schema.delivery


class Delivery(NamedTuple):
    """A message by its session and packet identifier; `received`: when it came, Unix seconds."""

    client: str
    mid: int
    digest: str
    received: float


def digest(topic: str, payload: bytes) -> str:
    """What a message says."""
    return hashlib.sha256(b"%b\0%b" % (topic.encode(), payload)).hexdigest()


def received_before(connection: sa.Connection, delivery: Delivery, within_s: float) -> float | None:
    """When it came that was stored under this identifier and says the same; None: nothing was.

    Not if that is longer ago than `within_s`: an identifier is given again.
    """
    found = connection.execute(
        sa.select(_table.c.received).where(
            _table.c.client == delivery.client,
            _table.c.mid == delivery.mid,
            _table.c.digest == delivery.digest,
            _table.c.received > delivery.received - within_s,
        )
    ).scalar()
    return None if found is None else float(found)


def note(connection: sa.Connection, database: Database, rows: Sequence[Delivery]) -> None:
    """They are stored by this transaction. One row at most for each identifier of a session."""
    if not rows:
        return
    insert = database.insert(_table)
    changed = {name: insert.excluded[name] for name in ("digest", "received")}
    connection.execute(
        insert.on_conflict_do_update(index_elements=["client", "mid"], set_=changed),
        [row._asdict() for row in rows],
    )
