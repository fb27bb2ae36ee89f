"""`fieldhand user`, `token` and `organisation`: who may use the host service."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from fieldhand.cli.common import database_option, emit, file_option, json_option, note
from fieldhand.cli.serve import open_database

SCOPES = ("read", "command", "admin")
MAX_NAME = 100
MAX_DAYS = 36_500.0


class Name(click.ParamType[str]):
    """A name on one line."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip() or not value.isprintable() or len(value) > MAX_NAME:
            self.fail(f"a name is one line of 1 to {MAX_NAME} characters", param, ctx)
        return value


class Word(Name):
    """An organisation's word, which may stand in a topic."""

    name = "word"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        value = super().convert(value, param, ctx)
        if set(value) & set("/+#"):
            self.fail("'/', '+' and '#' cannot stand in a topic's word", param, ctx)
        return value


def _scope_option(default: str) -> Any:
    return click.option(
        "--scope",
        type=click.Choice(SCOPES),
        default=default,
        show_default=True,
        help="What they may do; each includes those before it.",
    )


_organisation_option = click.option(
    "--organisation",
    "org",
    type=Word(),
    help="Whose: sees the nodes of this one only.  [default: the operator's, sees all]",
)


@click.group(short_help="People who may log in.")
def user() -> None:
    """People who may log in on the host service's page.

    While there is neither a person nor a token, the service lets programs on its machine in, and
    nobody else.
    """


@user.command("add", short_help="Add a person.")
@click.argument("name", type=Name())
@_organisation_option
@_scope_option("command")
@file_option
@database_option
def add_user(
    name: str, org: str | None, scope: str, file: Path | None, database: str | None
) -> None:
    """Add a person. The password is asked for, or read from stdin."""
    with open_database(file, database) as opened:
        from fieldhand.service.access import accounts

        with opened.reading() as connection:
            accounts.check_organisation(connection, org)
        accounts.add_person(opened, name, _password(), scope, org)
    note(f"added {name}: {scope}, {_whose(org)}")


@user.command("list", short_help="List the people.")
@file_option
@database_option
@json_option
def list_users(file: Path | None, database: str | None, as_json: bool) -> None:
    """Everybody who may log in."""
    with open_database(file, database, existing=True) as opened:
        from fieldhand.service.store import access

        with opened.reading() as connection:
            found = access.people(connection)
    if as_json:
        emit(
            [
                {
                    "name": one.name,
                    "organisation": one.org,
                    "scopes": one.scopes.split(),
                    "created": one.created,
                }
                for one in found
            ]
        )
        return
    for one in found:
        click.echo(f"{one.name}: {one.scopes.split()[-1]}, {_whose(one.org)}")
    if not found:
        note("nobody yet: fieldhand user add NAME")


@user.command("remove", short_help="Remove a person.")
@click.argument("name", type=Name())
@file_option
@database_option
def remove_user(name: str, file: Path | None, database: str | None) -> None:
    """Remove a person, who is logged out everywhere."""
    with open_database(file, database) as opened:
        from fieldhand.service.access import accounts

        accounts.remove_person(opened, name)
    note(f"removed {name}")


@user.command("password", short_help="Change a person's password.")
@click.argument("name", type=Name())
@file_option
@database_option
def change_password(name: str, file: Path | None, database: str | None) -> None:
    """Change a person's password: asked for, or read from stdin. Logs them out everywhere."""
    with open_database(file, database) as opened:
        from fieldhand.service.access import accounts

        with opened.reading() as connection:
            accounts.check_person(connection, name)
        accounts.set_password(opened, name, _password())
    note(f"changed the password of {name}")


@click.group(short_help="Tokens of programs.")
def token() -> None:
    """Tokens with which programs come in: Authorization: Bearer fh_..."""


@token.command("add", short_help="Make a token.")
@click.argument("name", type=Name())
@_organisation_option
@_scope_option("read")
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True, max=MAX_DAYS),
    help="It expires then.  [default: never]",
)
@file_option
@database_option
@json_option
def add_token(
    name: str,
    org: str | None,
    scope: str,
    days: float | None,
    file: Path | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Make a token and print it, this once: it is not kept."""
    with open_database(file, database) as opened:
        from fieldhand.service.access import accounts

        with opened.writing() as connection:
            secret, made = accounts.make_token(connection, name, scope, org, days)
    if as_json:
        emit({**_told(made), "token": secret})
        return
    click.echo(secret)
    note(f"token {made.id}, {name}: {scope}, {_whose(org)}; it is shown this once")


@token.command("list", short_help="List the tokens.")
@file_option
@database_option
@json_option
def list_tokens(file: Path | None, database: str | None, as_json: bool) -> None:
    """All tokens, without themselves; also those that were revoked."""
    with open_database(file, database, existing=True) as opened:
        from fieldhand.service.store import access

        with opened.reading() as connection:
            found = access.tokens(connection)
    if as_json:
        emit([_told(one) for one in found])
        return
    now = time.time()
    for one in found:
        state = ""
        if one.revoked is not None:
            state = f", revoked {_day(one.revoked)}"
        elif one.expires is not None:
            word = "expired" if one.expires <= now else "expires"
            state = f", {word} {_day(one.expires)}"
        used = "never used" if one.last_used is None else f"last used {_day(one.last_used)}"
        click.echo(
            f"{one.id} {one.name}: {one.scopes.split()[-1]}, {_whose(one.org)}, {used}{state}"
        )
    if not found:
        note("none yet: fieldhand token add NAME")


@token.command("revoke", short_help="Revoke a token.")
@click.argument("id", type=click.IntRange(min=1, max=2**62))
@file_option
@database_option
def revoke_token(id: int, file: Path | None, database: str | None) -> None:
    """Revoke the token of this number: it opens nothing any more."""
    with open_database(file, database) as opened:
        from fieldhand.service.access import accounts

        with opened.writing() as connection:
            accounts.revoke_token(connection, id)
    note(f"revoked token {id}")


@click.group(short_help="Organisations that share the service.")
def organisation() -> None:
    """Organisations that share the service: each sees its own nodes only.

    Its word is the one in its nodes' topics (DESE's org, solar's company).
    """


@organisation.command("add", short_help="Add an organisation.")
@click.argument("word", type=Word())
@click.option("--name", type=Name(), help="What people call it.  [default: the word]")
@file_option
@database_option
def add_organisation(word: str, name: str | None, file: Path | None, database: str | None) -> None:
    """Add an organisation, so that people and tokens can be of it."""
    with open_database(file, database) as opened:
        from fieldhand.service.access import accounts

        accounts.add_organisation(opened, word, name)
    note(f"added {word}")


@organisation.command("list", short_help="List the organisations.")
@file_option
@database_option
@json_option
def list_organisations(file: Path | None, database: str | None, as_json: bool) -> None:
    """All that were added, and those that nodes speak of."""
    with open_database(file, database, existing=True) as opened:
        from fieldhand.service.store import access

        with opened.reading() as connection:
            found = access.organisations(connection)
    if as_json:
        emit(
            [
                {"id": one.id, "name": one.name, "created": one.created, "nodes": one.nodes}
                for one in found
            ]
        )
        return
    for one in found:
        called = "" if one.name == one.id else f" ({one.name})"
        added = "" if one.created is not None else ", only heard of from nodes"
        nodes = "1 node" if one.nodes == 1 else f"{one.nodes} nodes"
        click.echo(f"{one.id}{called}: {nodes}{added}")


def _password() -> str:
    """From the person, without showing it, or the first line of stdin."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.readline()
    if not line:
        raise click.UsageError("no password: it is asked for on a terminal, or read from stdin")
    return line.rstrip("\r\n")


def _whose(org: str | None) -> str:
    return "operator" if org is None else f"of {org}"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _told(one: Any) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "organisation": one.org,
        "scopes": one.scopes.split(),
        "created": one.created,
        "expires": one.expires,
        "last_used": one.last_used,
        "revoked": one.revoked,
    }
