"""People and tokens made, changed and taken away: for the command line and for the routes."""

from __future__ import annotations

import time

import sqlalchemy as sa

from fieldhand.errors import FieldhandError, did_you_mean
from fieldhand.service.access import credentials
from fieldhand.service.access.credentials import Passwords
from fieldhand.service.store import access as store
from fieldhand.service.store.access import Token
from fieldhand.service.store.database import Database

DAY_S = 86_400.0


class UnknownAccount(FieldhandError):
    """No person, token or organisation is called this."""


class NameTaken(FieldhandError):
    """There is a person or organisation of this name already."""


def add_organisation(database: Database, id: str, name: str | None = None) -> None:
    """Raises NameTaken, StoreError."""
    with database.writing() as connection:
        if not store.add_organisation(connection, database, id, name or id):
            raise NameTaken(f"there is an organisation '{id}' already")


def check_organisation(connection: sa.Connection, org: str | None) -> None:
    """Raises UnknownAccount for one that nobody added. None is the operator's, and fine."""
    if org is None or store.organisation(connection, org) is not None:
        return
    known = [one.id for one in store.organisations(connection)]
    if org in known:
        raise UnknownAccount(
            f"nodes speak of '{org}', but nobody added it: fieldhand organisation add {org}"
        )
    raise UnknownAccount(f"no organisation '{org}'{did_you_mean(org, known)}: add it first")


def add_person(
    database: Database, name: str, password: str, scope: str, org: str | None = None
) -> None:
    """Raises NameTaken, UnknownAccount, credentials.WeakPassword, StoreError."""
    with database.reading() as connection:
        check_organisation(connection, org)
    kept = Passwords().hash(password)
    with database.writing() as connection:
        scopes = credentials.scopes_text(credentials.scopes_up_to(scope))
        if not store.add_person(
            connection, database, name=name, org=org, password=kept, scopes=scopes
        ):
            raise NameTaken(f"there is a person '{name}' already")


def check_person(connection: sa.Connection, name: str) -> store.Person:
    """The person. Raises UnknownAccount."""
    found = store.person(connection, name)
    if found is None:
        known = [one.name for one in store.people(connection)]
        raise UnknownAccount(f"no person '{name}'{did_you_mean(name, known)}")
    return found


def remove_person(database: Database, name: str) -> None:
    """They are logged out everywhere. Raises UnknownAccount, StoreError."""
    with database.writing() as connection:
        check_person(connection, name)
        store.remove_person(connection, name)


def set_password(database: Database, name: str, password: str) -> None:
    """They are logged out everywhere. Raises UnknownAccount, WeakPassword, StoreError."""
    kept = Passwords().hash(password)
    with database.writing() as connection:
        store.set_password(connection, check_person(connection, name).id, kept)


def make_token(
    connection: sa.Connection,
    name: str,
    scope: str,
    org: str | None = None,
    days: float | None = None,
) -> tuple[str, Token]:
    """The token itself, which is not kept, and what is. Raises UnknownAccount."""
    check_organisation(connection, org)
    secret = credentials.new_token()
    made = store.add_token(
        connection,
        name=name,
        digest=credentials.digest_of(secret),
        org=org,
        scopes=credentials.scopes_text(credentials.scopes_up_to(scope)),
        expires=None if days is None else time.time() + days * DAY_S,
    )
    return secret, made


def revoke_token(connection: sa.Connection, id: int, org: str | None = None) -> None:
    """It opens nothing any more. `org`: only if it is of this one. Raises UnknownAccount."""
    if store.token(connection, id, org) is None:
        raise UnknownAccount(f"no token {id}")
    store.revoke_token(connection, id)
