"""Refused messages tried once more: after an update, or when a table has learned a field."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from fieldhand.service.arrivals import Message
from fieldhand.service.hub import Hub
from fieldhand.service.settings import load
from fieldhand.service.store import deadletters
from fieldhand.service.store.database import Database
from fieldhand.service.store.deadletters import DeadLetter
from fieldhand.service.writer import NodeTable, Writer


@dataclass(frozen=True)
class Outcome:
    """What became of a letter: stored, or `reason` why it was not."""

    letter: DeadLetter
    reason: str | None


def replay(database: Database, letters: Sequence[DeadLetter]) -> list[Outcome]:
    """Store what can be read by now, as of when it first came. Raises StoreError.

    Idempotent: a reading that is there already is not stored again. A letter that was stored is
    marked, one that is still refused stays as it is; no new one is written.
    """
    settings = load({"node_rate": 0}, environment={})
    table = NodeTable(database, settings.max_nodes)
    table.load()
    writer = Writer(database, settings, table, Hub(), ())
    outcomes = []
    for letter in letters:
        reason = _one(writer, letter)
        if reason is None:
            with database.writing() as connection:
                deadletters.mark_replayed(connection, [letter.id], time.time())
        outcomes.append(Outcome(letter, reason))
    return outcomes


def _one(writer: Writer, letter: DeadLetter) -> str | None:
    if not letter.whole:
        return f"only {len(letter.payload)} of its {letter.size} bytes were kept"
    message = Message(letter.topic, letter.payload, letter.size, False, True, letter.received)
    prepared = writer.prepare([message])
    if prepared.letters:
        return str(prepared.letters[0]["reason"])
    before = writer.counts["invalid"]
    writer.write(prepared)
    return "could not be stored" if writer.counts["invalid"] > before else None
