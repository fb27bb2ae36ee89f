"""What a live client is told first: the last each node said and measured, from the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from fieldhand.records import Provenance, Reading, Status
from fieldhand.service.live.hub import LiveEvent, live
from fieldhand.service.store import nodes, readings
from fieldhand.service.store.nodes import NodeRow

# Nodes that a stream of them all begins with; the list of all is /nodes.
MAX_NODES = 1_000


def events(connection: sa.Connection, rows: Sequence[NodeRow], position: str) -> list[LiveEvent]:
    """A status and a reading of each node, where there is one, as live events at `position`."""
    ids = [row.id for row in rows]
    said = nodes.statuses(connection, ids)
    measured = readings.latest(connection, ids)
    found = []
    for row in rows:
        if row.id in said:
            item = said[row.id]
            status = Status(
                node=row.name,
                dialect=row.dialect,
                state=item["state"],
                values=item["details"],
                time=item["time"],
                received_at=item["received"],
                retained=item["retained"],
                tenant=row.tenant,
            )
            found.append(live(status, row))
        if row.id in measured:
            item = measured[row.id]
            reading = Reading(
                node=row.name,
                dialect=row.dialect,
                quantities=item["quantities"],
                time=item["time"],
                received_at=item["received"],
                provenance=Provenance(item["boot"], item["seq"], None, item["quality"]),
                tenant=row.tenant,
                attributes=item["attributes"],
            )
            found.append(live(reading, row))
    return [replace(event, id=position) for event in found]
