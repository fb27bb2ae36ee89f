"""A complete board in one go: MicroPython, the firmware, its configuration and its identity."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldhand import boards
from fieldhand.building import build, imagestore
from fieldhand.device import ports
from fieldhand.errors import FieldhandError
from fieldhand.esp import partitions
from fieldhand.flashing import firststart, flashplan
from fieldhand.flashing.esploader import BAUD, Loader, Refused
from fieldhand.flashing.flashplan import Chip, Held
from fieldhand.fleetfile import FleetFile, NodeConfig


class FlashError(FieldhandError):
    """A board was not flashed, or does not start afterwards.

    `begun`: its flash is no longer what it was. `mac` is None where it is not known.
    """

    def __init__(self, message: str, *, begun: bool = False, mac: str | None = None) -> None:
        super().__init__(message)
        self.begun = begun
        self.mac = mac


@dataclass(frozen=True)
class Job:
    """What is to be on the board at `port`: `vfs` its file system, `secrets` for its NVS."""

    node: str
    port: str
    board: str
    image: bytes
    image_name: str
    vfs: bytes
    secrets: Mapping[str, str]
    baud: int = BAUD
    yes: bool = False
    wait: bool = True


@dataclass(frozen=True)
class Result:
    """A flashed board. `running` is None where its start was not waited for.

    `was`: the node it was before, if any. `kept`: names in NVS that were taken over.
    """

    node: str
    port: str
    chip: str
    mac: str
    flash_size: int
    micropython: str
    image: str
    bytes_written: int
    seconds: float
    was: str | None
    kept: tuple[str, ...]
    running: bool | None


class Unwatched(KeyboardInterrupt):
    """Ctrl-C while a board starts: it is written, as `result` says, and may or may not run."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


class Reporter:
    """Is told how a job goes on. The base class says nothing and agrees to nothing."""

    def phase(self, name: str) -> None:
        """`name`: connecting, checking, writing or starting."""

    def progress(self, done: int, total: int) -> None:
        """Bytes written."""

    def say(self, text: str) -> None:
        """Something the person should know."""

    def chatter(self, text: str) -> None:
        """What esptool says."""

    def agrees(self, question: str) -> bool:
        return False


def prepare(
    file: FleetFile,
    node: NodeConfig,
    port: str,
    *,
    image: Path | None = None,
    unpinned: bool = False,
    baud: int = BAUD,
    yes: bool = False,
    wait: bool = True,
    fetching: imagestore.Progress | None = None,
    say: imagestore.Say | None = None,
) -> Job:
    """Build everything and get the image, all of it checked; no board is touched.

    Raises FieldhandError: of those ConfigError, ImageUnavailable, ImageError, MissingPart.
    """
    board = boards.load(node.board)
    if board.simulated:
        raise FieldhandError(
            f"[node.{node.name}] board: '{node.board}' is simulated; for a real one write its "
            f"board, one of: {', '.join(n for n in boards.names() if not boards.load(n).simulated)}"
        )
    secrets = build.secrets(file, node)
    stored = imagestore.get(board, image, unpinned=unpinned, progress=fetching, say=say)
    found = flashplan.check_image(stored.data, stored.name, board)
    vfs = build.images(file, node, image=found).vfs
    return Job(
        node=node.name,
        port=port,
        board=board.name,
        image=stored.data,
        image_name=stored.name,
        vfs=vfs,
        secrets={**secrets, "id": node.name},
        baud=baud,
        yes=yes,
        wait=wait,
    )


def run(job: Job, reporter: Reporter | None = None) -> Result:
    """Flash one board. Everything is checked before the first byte is erased.

    Raises FlashError, PortError, MissingPart; KeyboardInterrupt after saying what it leaves,
    Unwatched where that is a written board.
    """
    report = reporter or Reporter()
    began = time.monotonic()
    report.phase("connecting")
    with Loader(job.port, baud=job.baud, log=report.chatter) as loader:
        with _untouched(loader):
            report.phase("checking")
            plan, held, version, flash_size = _checked(job, loader, report)
        report.phase("writing")
        _write(job, loader, plan, report)
        running = None
        stopped = False
        if job.wait and not loader.resets:
            report.say(f"{job.port} has no reset lines: press EN to start the board")
        if loader.resets:
            try:
                report.phase("starting")
                running = _start(job, loader, report)
            except KeyboardInterrupt:
                report.say("interrupted: the board is written, its start was not watched")
                stopped = True
        result = Result(
            node=job.node,
            port=job.port,
            chip=loader.title,
            mac=loader.mac,
            flash_size=flash_size,
            micropython=version,
            image=job.image_name,
            bytes_written=sum(len(data) for _, data in plan.segments),
            seconds=round(time.monotonic() - began, 1),
            was=held.node,
            kept=plan.kept,
            running=running,
        )
    if stopped:
        raise Unwatched(result)
    return result


@contextmanager
def _untouched(loader: Loader) -> Iterator[None]:
    """A board that is left as it is goes on with what it did."""
    try:
        yield
    except BaseException:
        _resume(loader)
        raise


def _resume(loader: Loader) -> None:
    if loader.resets:
        with suppress(FieldhandError):
            loader.reset()


def _checked(job: Job, loader: Loader, report: Reporter) -> tuple[flashplan.Plan, Held, str, int]:
    board = boards.load(job.board)
    try:
        chip = Chip(loader.chip, loader.title, loader.flash_size, loader.locked)
        flashplan.check_chip(chip, board, job.node)
        found = flashplan.check_image(job.image, job.image_name, board)
        found.check_chip(loader.chip)
        flash_size = loader.flash_size
        if flash_size is None:
            flash_size = board.flash_size
            report.say(f"the flash chip is an unknown one: taken for {flash_size >> 20} MB")
        held = _held(loader)
        plan = flashplan.plan(job.image, found, flash_size, job.vfs, job.secrets, held)
    except ports.PortError:
        raise
    except FieldhandError as error:
        raise FlashError(f"{job.port}: {error}", mac=loader.mac or None) from error
    if held.node not in (None, job.node):
        question = f"the board at {job.port} is node '{held.node}': make it '{job.node}'?"
        if not (job.yes or report.agrees(question)):
            raise FlashError(
                f"{job.port}: the board is node '{held.node}', not '{job.node}': left as it is "
                f"(--yes makes it '{job.node}')",
                mac=loader.mac,
            )
    if held.node is not None:
        report.say("readings that still wait on the board are erased with its file system")
    if plan.kept:
        report.say(f"kept from the board's NVS: {', '.join(plan.kept)}")
    return plan, held, found.version, flash_size


def _held(loader: Loader) -> Held:
    """What the NVS there is held for us; a blank board holds nothing."""
    place = flashplan.nvs_place(loader.read(partitions.TABLE_OFFSET, partitions.TABLE_SIZE))
    if place is None:
        return Held(None, {})
    return flashplan.held(loader.read(place.offset, place.size))


def _write(job: Job, loader: Loader, plan: flashplan.Plan, report: Reporter) -> None:
    half = f"the board is half written and does not start: run it again ({job.port})"
    try:
        loader.write(plan.segments, report.progress)
    except KeyboardInterrupt:
        report.say(f"interrupted: {half}")
        raise
    except Refused as error:
        _resume(loader)
        raise FlashError(str(error), mac=loader.mac) from error
    except FieldhandError as error:
        raise FlashError(f"{error}; {half}", begun=True, mac=loader.mac) from error


def _start(job: Job, loader: Loader, report: Reporter) -> bool | None:
    console = loader.reset()
    if not job.wait:
        return None
    try:
        start = firststart.watch(console)
    except Exception as error:  # pyserial's, in all its forms
        raise FlashError(
            f"written, but its start was not seen: {ports.explain(error, job.port)}",
            begun=True,
            mac=loader.mac,
        ) from error
    if not start.running:
        raise FlashError(f"{job.port}: written, but {start.trouble}", begun=True, mac=loader.mac)
    if start.trouble:
        report.say(f"it runs, but says: {start.trouble}")
    return True


def facts(result: Result) -> dict[str, Any]:
    """A result as JSON has it."""
    return {**vars(result), "kept": list(result.kept)}
