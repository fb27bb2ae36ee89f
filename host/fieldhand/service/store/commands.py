"""Commands, what happened to each, and the answers that came.

Every change of a command's state names the states it may come from, so that two who change it at
the same time do not undo one another: the second finds that there is nothing to change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from fieldhand.answers import ACCEPTED, SENT
from fieldhand.service.store import schema
from fieldhand.service.store.database import Database

# Stored, and perhaps published; REFUSED: it never left this host.
SENDING, REFUSED = "sending", "refused"
# Not ended: an answer is waited for.
OPEN = (SENDING, SENT, ACCEPTED)
# Steps that are no states.
RETRIED, LATE = "retried", "late"
# Steps and answers that one question brings back of a command.
MAX_STEPS = 1_000
# Open commands whose nodes are looked at one by one.
MAX_WAITING = 1_000


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command. Times are Unix seconds; `deadline` is when its state is looked at again."""

    id: str
    node_id: int
    action: str
    params: dict[str, Any]
    state: str
    caller: str
    idempotency: str | None
    created: float
    sent: float | None
    accepted: float | None
    ended: float | None
    deadline: float | None
    timeout_s: float
    retries: int
    attempts: int
    error: str | None
    data: dict[str, Any] | None

    def with_values(self, values: dict[str, Any]) -> CommandRow:
        """As it is after a change that was made."""
        return replace(self, **values)


def add(connection: sa.Connection, database: Database, row: CommandRow) -> bool:
    """Store a new command; False when one with its idempotency key is there."""
    values = {name: getattr(row, name) for name in CommandRow.__dataclass_fields__}
    statement = (
        database.insert(schema.command)
        .values(values)
        .on_conflict_do_nothing(index_elements=["idempotency"])
        .execution_options(preserve_rowcount=True)
    )
    if connection.execute(statement).rowcount != 1:
        return False
    step(connection, row.id, row.created, row.state, row.error)
    return True


def change(
    connection: sa.Connection,
    row: CommandRow,
    states: Collection[str],
    values: dict[str, Any],
    at: float,
    detail: str | None = None,
) -> CommandRow | None:
    """Change a command that is in one of `states`; None when it is in none of them.

    `values` has its new state, which is noted as a step, with the error or `detail`.
    """
    table = schema.command
    statement = table.update().where(table.c.id == row.id, table.c.state.in_(states))
    if connection.execute(statement.values(values)).rowcount != 1:
        return None
    step(connection, row.id, at, values["state"], detail or values.get("error"))
    return row.with_values(values)


def again(
    connection: sa.Connection, row: CommandRow, deadline: float, at: float
) -> CommandRow | None:
    """Note that a command is being sent again; None when it was answered, or sent by another."""
    table = schema.command
    values = {"attempts": row.attempts + 1, "deadline": deadline}
    statement = table.update().where(
        table.c.id == row.id, table.c.state == SENT, table.c.attempts == row.attempts
    )
    if connection.execute(statement.values(values)).rowcount != 1:
        return None
    step(connection, row.id, at, RETRIED, f"attempt {row.attempts + 1}")
    return row.with_values(values)


def step(
    connection: sa.Connection, id: str, at: float, name: str, detail: str | None = None
) -> None:
    """Note that something happened to a command."""
    connection.execute(
        schema.command_step.insert().values(command_id=id, at=at, step=name, detail=detail)
    )


def get(connection: sa.Connection, id: str) -> CommandRow | None:
    """A command by its id."""
    found = connection.execute(sa.select(schema.command).where(schema.command.c.id == id))
    row = found.one_or_none()
    return None if row is None else _command(row)


def by_idempotency(connection: sa.Connection, digest: str) -> CommandRow | None:
    """The command that was sent under this key."""
    table = schema.command
    row = connection.execute(sa.select(table).where(table.c.idempotency == digest)).one_or_none()
    return None if row is None else _command(row)


def some(connection: sa.Connection, ids: Collection[str]) -> dict[str, CommandRow]:
    """Commands by their ids."""
    table = schema.command
    rows = connection.execute(sa.select(table).where(table.c.id.in_(sorted(ids))))
    return {row.id: _command(row) for row in rows}


def waiting(connection: sa.Connection) -> set[int] | None:
    """The nodes with commands that wait for an answer; None for more than MAX_WAITING.

    Cheap enough to ask for every batch of readings.
    """
    table = schema.command
    query = sa.select(table.c.node_id).where(table.c.state.in_(OPEN)).limit(MAX_WAITING + 1)
    found = connection.execute(query).scalars().all()
    return set(found) if len(found) <= MAX_WAITING else None


def under_way(connection: sa.Connection, node_ids: Collection[int]) -> list[CommandRow]:
    """The commands of these nodes that wait for an answer, the oldest first."""
    table = schema.command
    query = (
        sa.select(table)
        .where(table.c.state.in_(OPEN), table.c.node_id.in_(sorted(node_ids)))
        .order_by(table.c.created, table.c.id)
    )
    return [_command(row) for row in connection.execute(query)]


def due(connection: sa.Connection, now: float, limit: int) -> tuple[list[CommandRow], float | None]:
    """Open commands whose deadline has passed, and when the next of the others has."""
    table = schema.command
    query = (
        sa.select(table)
        .where(table.c.state.in_(OPEN), table.c.deadline <= now)
        .order_by(table.c.deadline)
        .limit(limit)
    )
    rows = [_command(row) for row in connection.execute(query)]
    following = connection.execute(
        sa.select(sa.func.min(table.c.deadline)).where(
            table.c.state.in_(OPEN), table.c.deadline > now
        )
    ).scalar_one()
    return rows, following


def history(
    connection: sa.Connection,
    node_id: int,
    *,
    state: str | None = None,
    before: tuple[float, str] | None = None,
    limit: int = 100,
) -> list[CommandRow]:
    """Commands of a node, the newest first; `before` is (created, id) of the page's last."""
    table = schema.command
    query = sa.select(table).where(table.c.node_id == node_id)
    if state is not None:
        query = query.where(table.c.state == state)
    if before is not None:
        place = sa.tuple_(sa.literal(before[0]), sa.literal(before[1]))
        query = query.where(sa.tuple_(table.c.created, table.c.id) < place)
    query = query.order_by(table.c.created.desc(), table.c.id.desc()).limit(limit)
    return [_command(row) for row in connection.execute(query)]


def steps(connection: sa.Connection, id: str) -> list[dict[str, Any]]:
    """What happened to a command, in order."""
    table = schema.command_step
    query = sa.select(table).where(table.c.command_id == id).order_by(table.c.id).limit(MAX_STEPS)
    return [
        {"at": row.at, "step": row.step, "detail": row.detail} for row in connection.execute(query)
    ]


def answers(connection: sa.Connection, id: str) -> list[dict[str, Any]]:
    """The answers to a command, in the order they came."""
    table = schema.answer
    query = sa.select(table).where(table.c.command_id == id).order_by(table.c.id).limit(MAX_STEPS)
    names = ("state", "error", "data", "late", "time", "received")
    return [{name: getattr(row, name) for name in names} for row in connection.execute(query)]


def said(connection: sa.Connection, node_id: int, boot: str, since: int, until: int) -> list[int]:
    """The numbers, from the last, of the answers under `boot` above `since` and up to `until`."""
    table = schema.answer
    query = (
        sa.select(table.c.seq)
        .where(
            table.c.node_id == node_id,
            table.c.boot == boot,
            table.c.seq > since,
            table.c.seq <= until,
        )
        .order_by(table.c.seq.desc())
        .limit(MAX_STEPS)
    )
    return list(connection.execute(query).scalars())


def last(connection: sa.Connection, node_id: int) -> CommandRow | None:
    """The last command that a node was sent; what never left this host is none."""
    table = schema.command
    query = (
        sa.select(table)
        .where(table.c.node_id == node_id, table.c.state != REFUSED)
        .order_by(table.c.created.desc(), table.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _command(row)


def name_command(connection: sa.Connection, answered: Sequence[dict[str, Any]]) -> None:
    """Note which command answers belong to: node, boot, number, command and whether late."""
    if not answered:
        return
    table = schema.answer
    connection.execute(
        table.update()
        .where(
            table.c.node_id == sa.bindparam("of_node"),
            table.c.boot == sa.bindparam("of_boot"),
            table.c.seq == sa.bindparam("of_seq"),
        )
        .values(command_id=sa.bindparam("to_command"), late=sa.bindparam("is_late")),
        list(answered),
    )


def _command(row: Any) -> CommandRow:
    return CommandRow(**row._mapping)
