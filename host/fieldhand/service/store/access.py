"""Organisations, people, tokens and who is logged in: rows only, no rules.

Nothing here holds a secret: a password comes as its argon2 hash, a token or cookie as its digest.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fieldhand.service.store import schema
from fieldhand.service.store.database import Database

# How long a name may be.
MAX_NAME = 100
# A person is logged in on so many devices at once; the first to log in is logged out then.
MAX_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation. `created` None: only heard of from nodes. `nodes`: how many it has."""

    id: str
    name: str
    created: float | None
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """A person. `org` None: an operator. `scopes` as `access.scopes_text` writes them."""

    id: int
    name: str
    org: str | None
    password: str
    scopes: str
    created: float
    disabled: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without itself. `org` None: of the operator."""

    id: int
    name: str
    org: str | None
    scopes: str
    created: float
    expires: float | None
    last_used: float | None
    revoked: float | None

    def valid(self, now: float) -> bool:
        return self.revoked is None and (self.expires is None or now < self.expires)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody is logged in until `expires`."""

    digest: str
    person: Person
    expires: float


def anyone(connection: sa.Connection) -> bool:
    """Whether there is a person or a token, be it a revoked one: nobody comes in without then."""
    return any(
        connection.execute(sa.select(table.c.id).limit(1)).first() is not None
        for table in (schema.person, schema.token)
    )


# -- organisations ---------------------------------------------------------------------------------


def organisation(connection: sa.Connection, id: str) -> Organisation | None:
    """One that was added."""
    table = schema.organisation
    row = connection.execute(sa.select(table).where(table.c.id == id)).one_or_none()
    return None if row is None else Organisation(row.id, row.name, row.created)


def organisations(connection: sa.Connection, org: str | None = None) -> list[Organisation]:
    """All that were added or that nodes belong to, by their word; `org`: only this one."""
    node = schema.node
    counted = sa.select(node.c.org, sa.func.count()).group_by(node.c.org)
    counts = {row[0]: row[1] for row in connection.execute(counted) if row[0] is not None}
    found = {
        row.id: Organisation(row.id, row.name, row.created, counts.get(row.id, 0))
        for row in connection.execute(sa.select(schema.organisation))
    }
    for word, count in counts.items():
        found.setdefault(word, Organisation(word, word, None, count))
    return [found[word] for word in sorted(found) if org is None or word == org]


def add_organisation(connection: sa.Connection, database: Database, id: str, name: str) -> bool:
    """False when it is there already."""
    table = schema.organisation
    statement = database.insert(table).values(id=id, name=name, created=time.time())
    statement = statement.on_conflict_do_nothing().returning(table.c.id)
    return connection.execute(statement).first() is not None


# -- people ----------------------------------------------------------------------------------------


def person(connection: sa.Connection, name: str) -> Person | None:
    """A person by name."""
    table = schema.person
    row = connection.execute(sa.select(table).where(table.c.name == name)).one_or_none()
    return None if row is None else _person(row)


def people(connection: sa.Connection) -> list[Person]:
    """Everybody, by name."""
    table = schema.person
    return [_person(row) for row in connection.execute(sa.select(table).order_by(table.c.name))]


def add_person(
    connection: sa.Connection,
    database: Database,
    *,
    name: str,
    org: str | None,
    password: str,
    scopes: str,
) -> bool:
    """False when the name is taken."""
    table = schema.person
    statement = database.insert(table).values(
        name=name, org=org, password=password, scopes=scopes, created=time.time(), disabled=False
    )
    statement = statement.on_conflict_do_nothing().returning(table.c.id)
    return connection.execute(statement).first() is not None


def remove_person(connection: sa.Connection, name: str) -> bool:
    """And log them out everywhere. False when there is nobody of the name."""
    table = schema.person
    gone = table.delete().where(table.c.name == name).returning(table.c.id)
    return connection.execute(gone).first() is not None


def set_password(connection: sa.Connection, id: int, password: str, log_out: bool = True) -> None:
    """A new hash; everybody logged in as this person is logged out, unless told otherwise."""
    table = schema.person
    connection.execute(table.update().where(table.c.id == id).values(password=password))
    if log_out:
        sessions = schema.session
        connection.execute(sessions.delete().where(sessions.c.person_id == id))


# -- tokens ----------------------------------------------------------------------------------------


def add_token(
    connection: sa.Connection,
    *,
    name: str,
    digest: str,
    org: str | None,
    scopes: str,
    expires: float | None,
) -> Token:
    """A token of this digest. Times are Unix seconds."""
    table = schema.token
    values = {
        "name": name,
        "digest": digest,
        "org": org,
        "scopes": scopes,
        "created": time.time(),
        "expires": expires,
    }
    id = connection.execute(sa.insert(table).values(values)).inserted_primary_key
    assert id is not None
    return _token(connection.execute(sa.select(table).where(table.c.id == id[0])).one())


def token_of(connection: sa.Connection, digest: str) -> Token | None:
    """The token that has this digest, valid or not."""
    table = schema.token
    row = connection.execute(sa.select(table).where(table.c.digest == digest)).one_or_none()
    return None if row is None else _token(row)


def token(connection: sa.Connection, id: int, org: str | None = None) -> Token | None:
    """A token by its number; `org`: only if it is of this organisation."""
    table = schema.token
    query = sa.select(table).where(table.c.id == id)
    if org is not None:
        query = query.where(table.c.org == org)
    row = connection.execute(query).one_or_none()
    return None if row is None else _token(row)


def tokens(connection: sa.Connection, org: str | None = None, limit: int = 10_000) -> list[Token]:
    """All, the oldest first; `org`: only those of this organisation."""
    table = schema.token
    query = sa.select(table).order_by(table.c.id).limit(limit)
    if org is not None:
        query = query.where(table.c.org == org)
    return [_token(row) for row in connection.execute(query)]


def revoke_token(connection: sa.Connection, id: int) -> None:
    """It opens nothing any more. One that is revoked stays revoked since then."""
    table = schema.token
    connection.execute(
        table.update()
        .where(table.c.id == id, table.c.revoked.is_(None))
        .values(revoked=time.time())
    )


def used(connection: sa.Connection, times: dict[int, float]) -> None:
    """Note when tokens were last used: number -> time."""
    table = schema.token
    connection.execute(
        table.update()
        .where(table.c.id == sa.bindparam("which"))
        .values(last_used=sa.bindparam("at")),
        [{"which": id, "at": at} for id, at in sorted(times.items())],
    )


# -- logged in -------------------------------------------------------------------------------------


def add_session(connection: sa.Connection, digest: str, person_id: int, expires: float) -> None:
    """Somebody logs in; the oldest of too many is logged out."""
    table = schema.session
    connection.execute(
        table.insert().values(
            digest=digest, person_id=person_id, created=time.time(), expires=expires
        )
    )
    kept = (
        sa.select(table.c.digest)
        .where(table.c.person_id == person_id)
        .order_by(table.c.created.desc(), table.c.digest)
        .limit(MAX_SESSIONS)
    )
    old = [row.digest for row in connection.execute(kept)]
    connection.execute(
        table.delete().where(table.c.person_id == person_id, table.c.digest.not_in(old))
    )


def session(connection: sa.Connection, digest: str, now: float) -> Session | None:
    """Who is logged in with a cookie of this digest."""
    table, people = schema.session, schema.person
    query = (
        sa.select(people, table.c.expires)
        .join(people, people.c.id == table.c.person_id)
        .where(table.c.digest == digest, table.c.expires > now, people.c.disabled.is_(False))
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Session(digest, _person(row), row.expires)


def end_session(connection: sa.Connection, digest: str) -> None:
    """Log out."""
    connection.execute(schema.session.delete().where(schema.session.c.digest == digest))


def forget_sessions(connection: sa.Connection, now: float) -> None:
    """Those that are over."""
    connection.execute(schema.session.delete().where(schema.session.c.expires <= now))


def still(
    connection: sa.Connection, token_ids: Sequence[int], digests: Sequence[str], now: float
) -> tuple[set[int], set[str]]:
    """Which of these tokens and sessions are still good."""
    tokens: set[int] = set()
    sessions: set[str] = set()
    for part in _parts(token_ids):
        found = connection.execute(sa.select(schema.token).where(schema.token.c.id.in_(part)))
        tokens |= {row.id for row in map(_token, found) if row.valid(now)}
    for words in _parts(digests):
        found = connection.execute(
            sa.select(schema.session.c.digest)
            .join(schema.person, schema.person.c.id == schema.session.c.person_id)
            .where(
                schema.session.c.digest.in_(words),
                schema.session.c.expires > now,
                schema.person.c.disabled.is_(False),
            )
        )
        sessions |= {row.digest for row in found}
    return tokens, sessions


def _parts(values: Sequence[Any], size: int = 500) -> Iterable[Sequence[Any]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _person(row: Any) -> Person:
    return Person(row.id, row.name, row.org, row.password, row.scopes, row.created, row.disabled)


def _token(row: Any) -> Token:
    return Token(
        row.id,
        row.name,
        row.org,
        row.scopes,
        row.created,
        row.expires,
        row.last_used,
        row.revoked,
    )
