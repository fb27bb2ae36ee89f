"""Several boards at once, a process each, for esptool keeps state for the whole process."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from fieldhand.device import ports
from fieldhand.errors import FieldhandError
from fieldhand.flashing import flash
from fieldhand.flashing.flash import Job, Result
from fieldhand.flashing.knownboards import Known

_END_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """How it went with one node. `begun`: the board's flash was written to."""

    node: str
    port: str | None
    result: Result | None
    error: str | None
    begun: bool = False


class Reporter(Protocol):
    """As `flash.Reporter`, with the node each report is about."""

    def phase(self, node: str, name: str) -> None: ...

    def progress(self, node: str, done: int, total: int) -> None: ...

    def say(self, node: str, text: str) -> None: ...

    def chatter(self, node: str, text: str) -> None: ...

    def agrees(self, question: str) -> bool: ...


def assign(
    nodes: Sequence[str],
    given: Mapping[str, str],
    known: Mapping[str, Known],
    *,
    found: Sequence[str] | None = None,
    identify: Callable[[str], tuple[str, str]] | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[dict[str, str], dict[str, str]]:
    """(port by node, why not by node). Nothing is guessed.

    `given` is port by node, as the user says; for the others each free port with a USB serial
    chip is asked for its board's MAC, and `known` says by MAC which node that is. `found` are the
    ports to ask, None: those of this machine; `identify` gives (chip, MAC) of a port.
    """
    places = dict(given)
    missing = [node for node in nodes if node not in places]
    if not missing:
        return places, {}
    if found is None:
        found = [port.device for port in ports.candidates() if port.likely]
    free = [port for port in found if port not in places.values()]
    strangers: list[str] = []
    claims: dict[str, list[str]] = {}
    if free and identify is None:
        from fieldhand.flashing.esploader import identify
    for port in free:
        assert identify is not None
        try:
            title, mac = identify(port)
        except FieldhandError as error:
            if say is not None:
                say(str(error))
            continue
        node = known[mac].node if mac in known else None
        if node in missing:
            claims.setdefault(node, []).append(port)
        elif node is None:
            strangers.append(f"{port} ({title}, {mac})")
    places.update({node: found[0] for node, found in claims.items() if len(found) == 1})
    doubt = {
        node: f"{len(found)} boards have been this node, say which: "
        + " or ".join(f"--port {port}={node}" for port in found)
        for node, found in claims.items()
        if len(found) > 1
    }
    hint = "plug its board in"
    if strangers:
        hint = f"if it is one of {', '.join(strangers)}, say --port PORT={{}}"
    return places, {
        node: doubt.get(node)
        or f"its board is not connected, or not known yet: {hint.format(node)}"
        for node in missing
        if node not in places
    }


def run(jobs: Sequence[Job], reporter: Reporter) -> list[Outcome]:
    """Flash all, at the same time; the outcomes in the order of `jobs`. Raises KeyboardInterrupt.

    A process that dies is an outcome, not an exception.
    """
    context = multiprocessing.get_context("spawn")
    running: dict[Connection, tuple[Job, SpawnProcess]] = {}
    outcomes: dict[str, Outcome] = {}
    begun: set[str] = set()
    try:
        for job in jobs:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(job, theirs), name=f"flash-{job.node}")
            process.start()
            theirs.close()
            running[ours] = (job, process)
        while running:
            for each in wait(list(running)):
                assert isinstance(each, Connection)
                job, process = running[each]
                try:
                    kind, *values = each.recv()
                except (EOFError, OSError):
                    process.join(_END_S)
                    del running[each]
                    each.close()
                    if job.node not in outcomes:
                        outcomes[job.node] = Outcome(
                            job.node,
                            job.port,
                            None,
                            f"{job.port}: ended unexpectedly (exit code {process.exitcode}); run "
                            "it again",
                            job.node in begun,
                        )
                    continue
                if kind == "outcome":
                    outcomes[job.node] = values[0]
                    continue
                if kind == "phase" and values == ["writing"]:
                    begun.add(job.node)
                getattr(reporter, kind)(job.node, *values)
    finally:
        for _, process in running.values():
            # After Ctrl-C each says what it leaves; one that hangs is ended.
            process.join(_END_S)
            if process.is_alive():
                process.terminate()
    return [outcomes[job.node] for job in jobs]


def one(job: Job, reporter: Reporter) -> Outcome:
    """Flash one board in this process, where it may ask. Raises KeyboardInterrupt, MissingPart."""
    return _outcome(job, _Bound(job.node, reporter))


class _Bound(flash.Reporter):
    def __init__(self, node: str, reporter: Reporter) -> None:
        self._node = node
        self._reporter = reporter

    def phase(self, name: str) -> None:
        self._reporter.phase(self._node, name)

    def progress(self, done: int, total: int) -> None:
        self._reporter.progress(self._node, done, total)

    def say(self, text: str) -> None:
        self._reporter.say(self._node, text)

    def chatter(self, text: str) -> None:
        self._reporter.chatter(self._node, text)

    def agrees(self, question: str) -> bool:
        return self._reporter.agrees(question)


class _Sender(flash.Reporter):
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._percent = -1

    def phase(self, name: str) -> None:
        self._pipe.send(("phase", name))

    def progress(self, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if percent != self._percent:
            self._percent = percent
            self._pipe.send(("progress", done, total))

    def say(self, text: str) -> None:
        self._pipe.send(("say", text))

    def chatter(self, text: str) -> None:
        self._pipe.send(("chatter", text))


def _work(job: Job, pipe: Connection) -> None:
    try:
        pipe.send(("outcome", _outcome(job, _Sender(pipe))))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        pipe.close()


def _outcome(job: Job, reporter: flash.Reporter) -> Outcome:
    try:
        return Outcome(job.node, job.port, flash.run(job, reporter), None, True)
    except flash.FlashError as error:
        return Outcome(job.node, job.port, None, str(error), error.begun)
    except FieldhandError as error:
        return Outcome(job.node, job.port, None, str(error))
