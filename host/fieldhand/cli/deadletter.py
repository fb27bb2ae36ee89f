"""`fieldhand dead-letter`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import (
    database_option,
    emit,
    file_option,
    json_option,
    load_file,
    note,
)
from fieldhand.cli.serve import open_database

if TYPE_CHECKING:
    from fieldhand.service.settings import ServiceSettings
    from fieldhand.service.store.database import Database
    from fieldhand.service.store.deadletters import DeadLetter

EXIT_FAILED = 1


@click.group("dead-letter", short_help="Messages that were refused: look at them, replay them.")
def dead_letter() -> None:
    """Messages that were refused, with the reason; the service may run meanwhile."""


@dead_letter.command("list", short_help="List them, the newest first.")
@file_option
@database_option
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--topic", help="Only of this topic.")
@click.option("--all", "everything", is_flag=True, help="Those too that have been replayed.")
@json_option
def list_letters(
    file: Path | None,
    database: str | None,
    limit: int,
    topic: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List refused messages: number, time, topic, reason."""
    from fieldhand.records import printable

    with open_database(file, database, existing=True) as store, store.reading() as connection:
        from fieldhand.service.store import deadletters

        found = deadletters.listing(connection, topic=topic, waiting=not everything, limit=limit)
        total = deadletters.count(connection)
    for letter in found:
        if as_json:
            emit(_as_dict(letter))
        else:
            done = " (replayed)" if letter.replayed is not None else ""
            text = f"{letter.id:6} {_clock(letter.received)} {letter.topic}: {letter.reason}{done}"
            click.echo(printable(text))
    if not as_json:
        note(f"{len(found)} of {total}" if total else "none")


@dead_letter.command("show", short_help="Show one with its payload.")
@click.argument("number", type=click.IntRange(1, 2**62))
@file_option
@database_option
@json_option
def show(number: int, file: Path | None, database: str | None, as_json: bool) -> None:
    """Show a refused message with its payload."""
    from fieldhand.records import printable

    with open_database(file, database, existing=True) as store:
        letter = _letters(store, (number,))[0]
    if as_json:
        emit(_as_dict(letter))
        return
    click.echo(printable(f"topic     {letter.topic}"))
    click.echo(f"received  {_clock(letter.received)}")
    click.echo(printable(f"reason    {letter.reason}"))
    if letter.replayed is not None:
        click.echo(f"replayed  {_clock(letter.replayed)}")
    kept = "" if letter.whole else f", the first {len(letter.payload)} of them kept"
    click.echo(f"payload   {letter.size} bytes{kept}")
    click.echo(printable(letter.payload.decode("utf-8", "backslashreplace")))


@dead_letter.command("replay", short_help="Try them once more.")
@click.argument("numbers", nargs=-1, type=click.IntRange(1, 2**62))
@file_option
@database_option
@click.option("--all", "everything", is_flag=True, help="All that have not been replayed.")
@json_option
def replay(
    numbers: tuple[int, ...],
    file: Path | None,
    database: str | None,
    everything: bool,
    as_json: bool,
) -> int:
    """Store refused messages that can be read by now; exit code 1 when one still cannot."""
    from fieldhand.records import printable

    if everything == bool(numbers):
        raise click.UsageError("give the NUMBERS of some, or --all")
    stored = failed = 0
    with open_database(file, database, existing=True) as store:
        from fieldhand.service import replay as replaying

        settings = _settings(file)
        for letters in _waiting(store) if everything else [_letters(store, numbers)]:
            for outcome in replaying.replay(store, settings, letters):
                stored += outcome.reason is None
                failed += outcome.reason is not None
                if as_json:
                    emit({"id": outcome.letter.id, "reason": outcome.reason})
                elif outcome.reason is not None:
                    text = f"{outcome.letter.id:6} {outcome.letter.topic}: {outcome.reason}"
                    click.echo(printable(text))
    if not as_json:
        note(f"{stored} stored, {failed} refused again")
    return EXIT_FAILED if failed else 0


def _settings(file: Path | None) -> ServiceSettings:
    """Those that `serve` would take."""
    from fieldhand.service import settings

    fleet_file = load_file(file, required=False)
    if fleet_file is None:
        return settings.load()
    return settings.load(fleet_file.service, path=fleet_file.path)


def _letters(store: Database, numbers: tuple[int, ...]) -> list[DeadLetter]:
    from fieldhand.service.store import deadletters

    with store.reading() as connection:
        found = [(number, deadletters.get(connection, number)) for number in numbers]
    missing = [str(number) for number, letter in found if letter is None]
    if missing:
        raise click.ClickException(f"no dead letter {', '.join(missing)}")
    return [letter for _, letter in found if letter is not None]


def _waiting(store: Database) -> Iterator[list[DeadLetter]]:
    """All that have not been replayed, a page at a time, the newest first."""
    from fieldhand.service.store import deadletters

    before = None
    while True:
        with store.reading() as connection:
            page = deadletters.listing(connection, before=before, waiting=True)
        if not page:
            return
        before = page[-1].id
        yield page


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "topic": letter.topic,
        "payload": letter.payload.decode("utf-8", "backslashreplace"),
        "size": letter.size,
        "reason": letter.reason,
        "dialect": letter.dialect,
        "field": letter.field,
        "received": letter.received,
        "replayed": letter.replayed,
    }


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
