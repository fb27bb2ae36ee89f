"""What arrived, on disk: ranges of reading numbers per node and boot, in SQLite.

Any number of processes may write the same file; each adds what it heard, and the file holds the
union. `Recorder` is the way in for a `Fleet`, `fieldhand.gaps` reads it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fieldhand.errors import FieldhandError
from fieldhand.ranges import Ranges, Span

FOLDER = ".fieldhand"
NAME = "received.db"
VERSION = 1
# Boots remembered of a node; then the one first heard longest ago is forgotten.
KEPT_BOOTS = 500
BUSY_TIMEOUT_S = 5.0

_SCHEMA = """
CREATE TABLE boot (
    id INTEGER PRIMARY KEY,
    dialect TEXT NOT NULL,
    tenant TEXT NOT NULL,
    node TEXT NOT NULL,
    boot TEXT NOT NULL,
    first_heard REAL NOT NULL,
    last_heard REAL NOT NULL,
    taken INTEGER,
    queued INTEGER,
    dropped INTEGER,
    unsendable INTEGER,
    corrupt INTEGER,
    said_at REAL,
    waiting_from INTEGER,
    UNIQUE (dialect, node, tenant, boot)
);
CREATE TABLE arrived (
    boot INTEGER NOT NULL REFERENCES boot (id) ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    first_time INTEGER,
    last_time INTEGER,
    PRIMARY KEY (boot, first)
) WITHOUT ROWID;
"""


class StoreError(FieldhandError):
    """The record of what arrived cannot be opened, read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class NodeKey(NamedTuple):
    """A node in the record; `tenant` as `tenant_text` writes it."""

    dialect: str
    tenant: str
    node: str


class Said(NamedTuple):
    """What a status said: readings taken in this boot, waiting on the node, lost there.

    `retained`: it was kept by the broker, so what it says of the queue may be long over.
    """

    taken: int
    queued: int
    dropped: int | None
    unsendable: int | None
    corrupt: int | None
    at: float
    retained: bool


@dataclass
class News:
    """What was heard of one boot since the last write."""

    first_heard: float
    last_heard: float
    arrived: Ranges = field(default_factory=Ranges)
    said: Said | None = None


@dataclass(frozen=True)
class BootRecord:
    """All that is on record of one boot. `waiting_from`: from this number to `taken`, what has
    not arrived was in the node's queue when it last spoke."""

    boot: str
    first_heard: float
    last_heard: float
    arrived: Ranges
    taken: int | None = None
    queued: int | None = None
    dropped: int | None = None
    unsendable: int | None = None
    corrupt: int | None = None
    said_at: float | None = None
    waiting_from: int | None = None

    @property
    def top(self) -> int:
        """The highest number known to have been given to a reading."""
        return max(self.taken or 0, self.arrived.top or 0)


def path_beside(fleet_file: Path) -> Path:
    """Where the record of a fleet file's nodes is."""
    return fleet_file.absolute().parent / FOLDER / NAME


def tenant_text(tenant: Mapping[str, str]) -> str:
    """How a tenant stands in the record."""
    return json.dumps(tenant, sort_keys=True, ensure_ascii=False)


def boot_number(boot: str) -> int | None:
    """The n of a boot called "<n>-<hex>", None for any other name."""
    number, dash, _ = boot.partition("-")
    return int(number) if dash and number.isascii() and number.isdigit() else None


class ReceivedStore:
    """One process's connection to the file, made if need be. Raises StoreError.

    With `create=False` a file that is not there is an error. Not for several threads at once.
    """

    def __init__(self, path: Path, create: bool = True) -> None:
        self.path = path
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not path.is_file():
                raise StoreError(path, "nothing has been recorded here yet")
            self._db = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except OSError as error:
            raise StoreError(path, error.strerror or str(error)) from error
        except sqlite3.Error as error:
            raise StoreError(path, str(error)) from error
        try:
            with self._translated():
                self._db.execute("PRAGMA foreign_keys = ON")
                if create:
                    self._db.execute("PRAGMA journal_mode = WAL")
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def write(self, news: Mapping[tuple[NodeKey, str], News]) -> None:
        """Add what was heard, all of it or, raising StoreError, nothing."""
        with self._translated(), self._transaction():
            said = []
            for (node, boot), item in news.items():
                id = self._boot_id(node, boot, item)
                for span in item.arrived:
                    self._add(id, span)
                if item.said is not None:
                    said.append((node, boot, id, item.said))
            for node, boot, id, words in said:
                self._note(node, boot, id, words)

    def nodes(self) -> list[NodeKey]:
        """The nodes on record."""
        with self._translated():
            rows = self._db.execute("SELECT DISTINCT dialect, tenant, node FROM boot ORDER BY node")
            return [NodeKey(*row) for row in rows]

    def boots(self, node: NodeKey) -> list[BootRecord]:
        """The boots on record of a node, in the order in which they were first heard."""
        with self._translated(), self._transaction("DEFERRED"):
            return list(self._boots(node).values())

    def _boots(self, node: NodeKey) -> dict[int, BootRecord]:
        found = {}
        rows = self._db.execute(
            "SELECT id, boot, first_heard, last_heard, taken, queued, dropped, unsendable,"
            " corrupt, said_at, waiting_from FROM boot"
            " WHERE dialect = ? AND tenant = ? AND node = ? ORDER BY id",
            node,
        ).fetchall()
        for id, boot, first_heard, last_heard, *rest in rows:
            found[id] = BootRecord(boot, first_heard, last_heard, self._arrived(id), *rest)
        return found

    def _arrived(self, id: int) -> Ranges:
        rows = self._db.execute(
            "SELECT first, last, first_time, last_time FROM arrived WHERE boot = ? ORDER BY first",
            (id,),
        )
        return Ranges(Span(*row) for row in rows)

    def _boot_id(self, node: NodeKey, boot: str, item: News) -> int:
        heard = self._db.execute(
            "UPDATE boot SET first_heard = min(first_heard, ?), last_heard = max(last_heard, ?)"
            " WHERE dialect = ? AND tenant = ? AND node = ? AND boot = ? RETURNING id",
            (item.first_heard, item.last_heard, *node, boot),
        ).fetchall()
        if heard:
            return int(heard[0][0])
        cursor = self._db.execute(
            "INSERT INTO boot (dialect, tenant, node, boot, first_heard, last_heard)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (*node, boot, item.first_heard, item.last_heard),
        )
        self._db.execute(
            "DELETE FROM boot WHERE id IN (SELECT id FROM boot"
            " WHERE dialect = ? AND tenant = ? AND node = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
            (*node, KEPT_BOOTS),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _add(self, id: int, span: Span) -> None:
        # Disjoint ranges: only the last that begins before it, and those inside, can touch it.
        touching = self._db.execute(
            "SELECT first, last, first_time, last_time FROM arrived"
            " WHERE boot = ? AND first <= ? AND last >= ? AND first >= coalesce("
            "(SELECT max(first) FROM arrived WHERE boot = ? AND first <= ?), 0)",
            (id, span.last + 1, span.first - 1, id, span.first),
        ).fetchall()
        merged = Ranges(Span(*row) for row in touching)
        merged.add(*span)
        self._db.executemany(
            "DELETE FROM arrived WHERE boot = ? AND first = ?", [(id, row[0]) for row in touching]
        )
        self._db.executemany(
            "INSERT INTO arrived VALUES (?, ?, ?, ?, ?)", [(id, *row) for row in merged]
        )

    def _note(self, node: NodeKey, boot: str, id: int, said: Said) -> None:
        (known,) = self._db.execute("SELECT taken FROM boot WHERE id = ?", (id,)).fetchone()
        if known is not None and (said.taken < known or (said.retained and said.taken == known)):
            return  # an older status than the one on record
        self._db.execute(
            "UPDATE boot SET taken = ?, queued = ?, dropped = ?, unsendable = ?, corrupt = ?,"
            " said_at = ? WHERE id = ?",
            (*said[:6], id),
        )
        self._db.execute(
            "UPDATE boot SET waiting_from = NULL WHERE dialect = ? AND tenant = ? AND node = ?"
            " AND waiting_from IS NOT NULL",
            node,
        )
        if said.queued:
            rows = self._boots(node)
            for other, first in waiting(rows, id, said.queued).items():
                self._db.execute("UPDATE boot SET waiting_from = ? WHERE id = ?", (first, other))

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreError(self.path, "was written by a newer Fieldhand")
        if version == VERSION:
            return
        with self._transaction():
            # Another process may have been quicker.
            if self._db.execute("PRAGMA user_version").fetchone() == (0,):
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self._db.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            reason = str(error)
            if isinstance(error, sqlite3.DatabaseError) and "not a database" in reason:
                reason += "; delete it and recording starts anew"
            raise StoreError(self.path, reason) from error


def waiting(boots: Mapping[int, BootRecord], speaker: int, queued: int) -> dict[int, int]:
    """Boot -> number from which on what has not arrived is in the node's queue.

    The queue gives away its oldest first, so what is left in it is the newest that is missing:
    of the boot that speaks, then of those before it.
    """
    older = [id for id in boots if id != speaker]
    older.sort(key=lambda id: (boot_number(boots[id].boot) or 0, id), reverse=True)
    found: dict[int, int] = {}
    for id in [speaker, *older]:
        for gap in reversed(boots[id].arrived.missing(1, boots[id].top)):
            if not queued:
                return found
            found[id] = max(gap.first, gap.last - queued + 1)
            queued -= gap.last - found[id] + 1
    return found
