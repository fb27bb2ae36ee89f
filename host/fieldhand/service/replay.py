"""Refused messages tried once more: after an update, or when a table has learned a field.

They tell of the past. What happened then is added; what a node is now, it has said since.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fieldhand.records import Reading, Status
from fieldhand.service import moments
from fieldhand.service.arrivals import Message
from fieldhand.service.commands.answering import Answering
from fieldhand.service.ingest.writer import NodeTable, Prepared, Writer
from fieldhand.service.live.hub import Hub
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import deadletters, nodes, schema
from fieldhand.service.store.database import Database
from fieldhand.service.store.deadletters import DeadLetter
from fieldhand.service.store.nodes import NodeRow


@dataclass(frozen=True)
class Outcome:
    """What became of a letter: stored, or `reason` why it was not."""

    letter: DeadLetter
    reason: str | None


def replay(
    database: Database, settings: ServiceSettings, letters: Sequence[DeadLetter]
) -> list[Outcome]:
    """Store what can be read by now, as of when it first came. Raises StoreError.

    Idempotent: a reading that is there already is not stored again. A letter that was stored, or
    whose readings `store_every` leaves out, is marked; one that is still refused stays as it is,
    and no new one is written. `node_rate` does not hold: the letters come as fast as they are read.
    """
    settings = settings.model_copy(update={"node_rate": 0})
    table = NodeTable(database, settings.max_nodes)
    table.load()
    writer = Writer(database, settings, table, Hub(), [Answering(database, None)])
    outcomes = []
    for letter in letters:
        reason = _one(database, writer, settings, letter)
        if reason is None:
            with database.writing() as connection:
                deadletters.mark_replayed(connection, [letter.id], time.time())
        outcomes.append(Outcome(letter, reason))
    return outcomes


def _one(
    database: Database, writer: Writer, settings: ServiceSettings, letter: DeadLetter
) -> str | None:
    if not letter.whole:
        return f"only {len(letter.payload)} of its {letter.size} bytes were kept"
    message = Message(letter.topic, letter.payload, letter.size, False, True, letter.received)
    prepared = writer.prepare([message])
    if prepared.letters:
        return str(prepared.letters[0]["reason"])
    before = writer.counts["invalid"]
    with database.reading() as connection:
        node = _node(connection, prepared)
        if node is not None:
            _without_outdated(connection, node, prepared)
            _without_surplus(connection, node, prepared, settings)
        elif prepared.found and nodes.count(connection) >= settings.max_nodes:
            return f"{settings.max_nodes} nodes are known: no more are remembered"
    writer.write(prepared)
    if node is not None and node.last_heard is not None and node.last_heard > letter.received:
        with database.writing() as connection:
            nodes.heard(connection, {node.id: node.last_heard})
    return "could not be stored" if writer.counts["invalid"] > before else None


def _node(connection: sa.Connection, prepared: Prepared) -> NodeRow | None:
    """The node that a message is of; None for one never heard of."""
    for _, found in prepared.found:
        for _, event in found:
            key = nodes.key_of(event.dialect, event.tenant, event.node)
            return nodes.by_key(connection, key)
    return None


def _without_outdated(connection: sa.Connection, node: NodeRow, prepared: Prepared) -> None:
    """Take out a status when a later one is known; what it carried stays."""
    known = nodes.statuses(connection, [node.id]).get(node.id)
    if known is None:
        return
    for message, found in prepared.found:
        if message.received_at < known["received"]:
            found[:] = [pair for pair in found if not isinstance(pair[1], Status)]


def _without_surplus(
    connection: sa.Connection, node: NodeRow, prepared: Prepared, settings: ServiceSettings
) -> None:
    """Take out a reading where `store_every` has one before or after it already."""
    every = settings.store_every.get(node.dialect)
    if not every:
        return
    at = schema.reading.c.at
    for _, found in prepared.found:
        for pair in [pair for pair in found if isinstance(pair[1], Reading)]:
            moment = moments.moment(pair[1].time, pair[1].received_at)
            near = sa.select(schema.reading.c.id).where(
                schema.reading.c.node_id == node.id, at > moment - every, at < moment + every
            )
            if connection.execute(near.limit(1)).first() is not None:
                found.remove(pair)
