"""`fieldhand flash`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldhand.cli.common import NodeName, PortName, emit, file_option, json_option, need_file, note

if TYPE_CHECKING:
    from fieldhand.flashing.flash import Job
    from fieldhand.flashing.flashall import Outcome
    from fieldhand.fleetfile import FleetFile

_FAILED = 1
_NOT_BEGUN = 2
_INTERRUPTED = 130
_BAUD = 460_800


@click.command()
@click.argument("names", metavar="[NODE]...", nargs=-1, type=NodeName())
@file_option
@click.option("--all", "everyone", is_flag=True, help="All nodes of the fleet file, at once.")
@click.option(
    "-p",
    "--port",
    "given",
    type=PortName(),
    multiple=True,
    help="Where the board is: a path, a URL, or virtual; for several nodes PORT=NODE, repeated.",
)
@click.option(
    "--image",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A MicroPython image, instead of the one that the board's file names.",
)
@click.option("--unpinned", is_flag=True, help="Fetch an image whose SHA-256 is not on record.")
@click.option("-y", "--yes", is_flag=True, help="Turn a board that is another node into this one.")
@click.option("--no-wait", is_flag=True, help="Do not watch the node start.")
@click.option("--baud", type=click.IntRange(9600, 3_000_000), default=_BAUD, show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Show what esptool says.")
@json_option
def flash(
    names: tuple[str, ...],
    file: Path | None,
    everyone: bool,
    given: tuple[str, ...],
    image: Path | None,
    unpinned: bool,
    yes: bool,
    no_wait: bool,
    baud: int,
    verbose: bool,
    as_json: bool,
) -> int:
    """Write a complete board: MicroPython, firmware, configuration and identity.

    All is checked before anything is erased, and an interrupted flash can be run again. Without
    --port the only board on USB is taken; with several nodes each board is known by its MAC from
    an earlier flash, or named: --port /dev/ttyUSB0=greenhouse.

    Exit codes: 0 done; 1 a board was written but fails, or only some could be; 2 none was begun;
    130 interrupted.
    """
    from fieldhand.building.imagestore import Progress
    from fieldhand.flashing.flash import Unwatched, prepare
    from fieldhand.flashing.flashall import Outcome

    fleet = need_file(file)
    chosen = _chosen(fleet, names, everyone)
    places, outcomes = _places(fleet, chosen, given, many=everyone or len(chosen) > 1)
    jobs: list[Job] = []
    interrupted = False
    with _Screen(verbose, many=len(chosen) > 1) as screen:
        fetching: Progress = screen.fetching
        for name in places:
            try:
                jobs.append(
                    prepare(
                        fleet,
                        fleet.nodes[name],
                        places[name],
                        image=image,
                        unpinned=unpinned,
                        baud=baud,
                        yes=yes,
                        wait=not no_wait,
                        fetching=fetching,
                        say=note,
                    )
                )
            except Exception as error:
                outcomes[name] = _refused(error, name, places[name], single=len(chosen) == 1)
        try:
            outcomes.update(_flashed(jobs, screen))
        except Unwatched as stopped:
            result = stopped.result
            outcomes[result.node] = Outcome(result.node, result.port, result, None, begun=True)
            interrupted = True
    ordered = [outcomes[name] for name in chosen]
    _remember(fleet, ordered, jobs)
    if interrupted:
        if as_json:
            _told(ordered, as_json)
        return _INTERRUPTED
    return _told(ordered, as_json)


def _chosen(fleet: FleetFile, names: Sequence[str], everyone: bool) -> list[str]:
    from fieldhand import boards
    from fieldhand.errors import UnknownNode

    if bool(names) == everyone:
        raise click.UsageError("name the node to flash, or --all")
    for name in names:
        if name not in fleet.nodes:
            raise UnknownNode(name, list(fleet.nodes))
    if names:
        return list(dict.fromkeys(names))
    found = [n.name for n in fleet.nodes.values() if not boards.load(n.board).simulated]
    if not found:
        raise click.UsageError(f"{fleet.path}: no node is for a real board, all are simulated")
    return found


def _places(
    fleet: FleetFile, chosen: Sequence[str], given: Sequence[str], *, many: bool
) -> tuple[dict[str, str], dict[str, Outcome]]:
    """Port by node, and those there is none for."""
    from fieldhand.device import ports
    from fieldhand.flashing import flashall, knownboards

    by_node = _mapping(given, chosen, many=many)
    by_node = {name: ports.choose(port) for name, port in by_node.items()}
    if len(set(by_node.values())) < len(by_node):
        raise click.UsageError("two nodes cannot be on one port")
    if not many:
        return {chosen[0]: by_node.get(chosen[0]) or ports.choose()}, {}
    known = knownboards.load(knownboards.path(fleet.path))
    places, missing = flashall.assign(chosen, by_node, known, say=note)
    return places, {
        name: flashall.Outcome(name, None, None, f"{name}: {why}") for name, why in missing.items()
    }


def _mapping(given: Sequence[str], chosen: Sequence[str], *, many: bool) -> dict[str, str]:
    if not many:
        if len(given) > 1:
            raise click.UsageError("one board has one --port")
        port = given[0] if given else ""
        return {chosen[0]: port.removesuffix(f"={chosen[0]}")} if port else {}
    found: dict[str, str] = {}
    for pair in given:
        port, equals, name = pair.rpartition("=")
        if not equals or name not in chosen or name in found:
            raise click.UsageError(
                f"--port {pair}: with several nodes it is PORT=NODE, once a node; "
                f"nodes: {', '.join(chosen)}"
            )
        found[name] = port
    return found


def _refused(error: Exception, name: str, port: str, *, single: bool) -> Outcome:
    """What stands in the way of one node does not keep the others from their boards."""
    from fieldhand.errors import FieldhandError
    from fieldhand.flashing.flashall import Outcome

    if single or not isinstance(error, FieldhandError):
        raise error
    return Outcome(name, port, None, f"{name}: {error}")


def _flashed(jobs: Sequence[Job], screen: _Screen) -> dict[str, Outcome]:
    from fieldhand.flashing import flashall

    if len(jobs) == 1:
        return {jobs[0].node: flashall.one(jobs[0], screen)}
    return {outcome.node: outcome for outcome in flashall.run(jobs, screen)}


def _remember(fleet: FleetFile, outcomes: Sequence[Outcome], jobs: Sequence[Job]) -> None:
    from fieldhand.errors import FieldhandError
    from fieldhand.flashing import knownboards

    boards = {job.node: job.board for job in jobs}
    made = {
        outcome.result.mac: knownboards.Known(
            outcome.node,
            boards[outcome.node],
            outcome.result.micropython,
            outcome.result.image,
        )
        for outcome in outcomes
        if outcome.result is not None
    }
    if made:
        try:
            knownboards.note(knownboards.path(fleet.path), made)
        except FieldhandError as error:
            note(f"warning: {error}")


def _told(outcomes: Sequence[Outcome], as_json: bool) -> int:
    if as_json:
        emit({"boards": [_row(outcome) for outcome in outcomes]})
    elif len(outcomes) > 1:
        _table(outcomes)
    for outcome in outcomes:
        if outcome.error is not None:
            note(f"error: {outcome.error}")
        elif outcome.result is not None and not as_json and len(outcomes) == 1:
            click.echo(_sentence(outcome))
    if all(outcome.error is None for outcome in outcomes):
        return 0
    return _FAILED if any(outcome.begun for outcome in outcomes) else _NOT_BEGUN


def _sentence(outcome: Outcome) -> str:
    result = outcome.result
    assert result is not None
    state = "runs" if result.running else "is written"
    return (
        f"{result.node} {state} on {result.port}: {result.chip} {result.mac}, "
        f"MicroPython {result.micropython}, {result.bytes_written >> 10} kB in "
        f"{result.seconds:g} s"
    )


def _row(outcome: Outcome) -> dict[str, Any]:
    from fieldhand.flashing import flash as library

    facts: Mapping[str, Any] = library.facts(outcome.result) if outcome.result else {}
    return {
        **facts,
        "node": outcome.node,
        "port": outcome.port,
        "ok": outcome.error is None,
        "begun": outcome.begun,
        "error": outcome.error,
    }


def _table(outcomes: Sequence[Outcome]) -> None:
    rows = [("node", "port", "chip", "MicroPython", "result")]
    for outcome in outcomes:
        result = outcome.result
        state = "failed" if outcome.begun else "not begun"
        if result is not None:
            state = "runs" if result.running else "written"
        chip = f"{result.chip} {result.mac}" if result else "-"
        version = result.micropython if result else "-"
        rows.append((outcome.node, outcome.port or "-", chip, version, state))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


class _Screen:
    """What is shown on stderr: bars on a terminal, else a line a step."""

    def __init__(self, verbose: bool, *, many: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

        self._verbose = verbose
        self._many = many
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Screen:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def fetching(self, done: int, total: int | None) -> None:
        self._bars.update(self._task("download", "fetching MicroPython"), completed=done)
        self._bars.update(self._tasks["download"], total=total)
        if done == total and not self._live:
            note(f"fetched MicroPython: {done >> 10} kB")

    def phase(self, node: str, name: str) -> None:
        if self._live:
            text = f"{node}: {name}"
            self._bars.update(self._task(node, text), description=text)
        else:
            note(f"{node}: {name}")

    def progress(self, node: str, done: int, total: int) -> None:
        self._bars.update(self._task(node, node), completed=done, total=total)

    def say(self, node: str, text: str) -> None:
        self._print(f"{node}: {text}")

    def chatter(self, node: str, text: str) -> None:
        if self._verbose:
            self._print(f"{node}: esptool: {text}" if self._many else f"esptool: {text}")

    def agrees(self, question: str) -> bool:
        """Ask, where somebody can answer."""
        import sys

        if not (sys.stdin.isatty() and self._live):
            return False
        self._bars.stop()
        try:
            return click.confirm(question, err=True)
        finally:
            self._bars.start()

    def _print(self, text: str) -> None:
        if self._live:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            note(text)

    def _task(self, key: str, text: str) -> Any:
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(text, total=None)
        return self._tasks[key]
