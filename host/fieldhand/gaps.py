"""Which readings of a node never arrived: `fieldhand gaps`.

What has arrived is on record (`fieldhand.received`), and a node numbers its readings from 1 in
each boot: what is not there is missing, unless the node said that it still waits in its queue.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldhand.errors import FieldhandError, UnknownNode
from fieldhand.ranges import Span
from fieldhand.received import (
    BootRecord,
    NodeKey,
    ReceivedStore,
    boot_number,
    path_beside,
)

if TYPE_CHECKING:
    from fieldhand.fleetfile import FleetFile

BEFORE_RECORD = "before the first that was heard here"


class NoRecord(FieldhandError):
    """Nothing is on record of a node, so nothing can be said about it; `reason` says what to do."""

    def __init__(self, node: str, path: Path, reason: str) -> None:
        super().__init__(f"node '{node}': nothing is on record in {path}: {reason}")
        self.node = node
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Gap:
    """The readings from `first` to `last`, both included.

    They were taken between the Unix times `after` and `before`; None where a neighbour's time is
    not known or there is no neighbour. `why` says more where more is known.
    """

    first: int
    last: int
    after: int | None
    before: int | None
    why: str | None = None

    @property
    def count(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class BootGaps:
    """One boot: `taken` readings are known of, `received` of them arrived.

    `dropped`, `unsendable` and `corrupt` (damaged on its flash) are the node's own counts of what
    it lost, None where it said nothing.
    """

    boot: str
    first_heard: float
    last_heard: float
    taken: int
    received: int
    missing: tuple[Gap, ...]
    waiting: tuple[Gap, ...]
    dropped: int | None
    unsendable: int | None
    corrupt: int | None


@dataclass(frozen=True)
class UnheardBoots:
    """Boots with the numbers `first` to `last`: of those before and after something was heard."""

    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class NodeGaps:
    """All that is missing of a node, boots in the order they were first heard."""

    node: str
    dialect: str
    tenant: Mapping[str, str]
    recorded_since: float
    boots: tuple[BootGaps, ...]
    unheard_boots: tuple[UnheardBoots, ...]

    @property
    def received(self) -> int:
        return sum(boot.received for boot in self.boots)

    @property
    def missing(self) -> int:
        return sum(gap.count for boot in self.boots for gap in boot.missing)

    @property
    def waiting(self) -> int:
        return sum(gap.count for boot in self.boots for gap in boot.waiting)

    @property
    def complete(self) -> bool:
        """Nothing is missing; what waits on the node is not."""
        return not self.missing and not self.unheard_boots

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready form; times are Unix seconds."""
        return {
            "node": self.node,
            "dialect": self.dialect,
            "tenant": dict(self.tenant),
            "complete": self.complete,
            "recorded_since": round(self.recorded_since, 3),
            "received": self.received,
            "missing": self.missing,
            "waiting": self.waiting,
            "boots": [
                {
                    "boot": boot.boot,
                    "first_heard": round(boot.first_heard, 3),
                    "last_heard": round(boot.last_heard, 3),
                    "taken": boot.taken,
                    "received": boot.received,
                    "missing": [_gap(gap) for gap in boot.missing],
                    "waiting": [_gap(gap) for gap in boot.waiting],
                    "dropped": boot.dropped,
                    "unsendable": boot.unsendable,
                    "corrupt": boot.corrupt,
                }
                for boot in self.boots
            ],
            "unheard_boots": [
                {"first": boots.first, "last": boots.last, "count": boots.count}
                for boots in self.unheard_boots
            ],
        }


def of_node(name: str, file: FleetFile | None, path: Path | None = None) -> NodeGaps:
    """What is missing of a node of the fleet file, or of any that was heard.

    `path` is the record, by default the one beside the fleet file. Raises NoRecord, StoreError or,
    for a name neither in the file nor on record, UnknownNode.
    """
    where = _where(file, path)
    declared = file.nodes.get(name) if file is not None else None
    if not where.is_file():
        if file is not None and declared is None:
            raise UnknownNode(name, list(file.nodes))
        raise NoRecord(name, where, _how(declared))
    store = ReceivedStore(where, create=False)
    try:
        keys = store.nodes()
        found = [key for key in keys if key.node == name]
        if declared is not None:
            found = [key for key in found if _is(key, declared)]
        elif not found:
            names = {key.node for key in keys} | set(file.nodes if file is not None else ())
            raise UnknownNode(name, sorted(names))
        if not found:
            raise NoRecord(name, where, _how(declared))
        if len(found) > 1:
            places = " and ".join(
                " ".join([key.dialect, *json.loads(key.tenant).values()]) for key in found
            )
            raise UnknownNode(
                name, [name], f"is on record in {places}; name the one in the fleet file"
            )
        return assess(found[0], store.boots(found[0]))
    finally:
        store.close()


def of_fleet(file: FleetFile, path: Path | None = None) -> dict[str, NodeGaps | NoRecord]:
    """`of_node` for every node of the fleet file. Raises StoreError."""
    found: dict[str, NodeGaps | NoRecord] = {}
    for name in file.nodes:
        try:
            found[name] = of_node(name, file, path)
        except NoRecord as error:
            found[name] = error
    return found


def assess(key: NodeKey, boots: Sequence[BootRecord]) -> NodeGaps:
    """What is missing, from all that is on record of a node (at least one boot)."""
    return NodeGaps(
        key.node,
        key.dialect,
        json.loads(key.tenant),
        min(boot.first_heard for boot in boots),
        tuple(_boot(boot, first=boot is boots[0]) for boot in boots),
        tuple(_unheard(boots)),
    )


def _boot(boot: BootRecord, first: bool) -> BootGaps:
    missing: list[Gap] = []
    waiting: list[Gap] = []
    for span in boot.arrived.missing(1, boot.top):
        lost, waits = _split(span, boot)
        if lost is not None:
            early = first and lost.first == 1
            missing.append(_as_gap(lost, BEFORE_RECORD if early else None))
        if waits is not None:
            waiting.append(_as_gap(waits, "waiting on the node"))
    return BootGaps(
        boot.boot,
        boot.first_heard,
        boot.last_heard,
        boot.top,
        boot.arrived.count,
        tuple(missing),
        tuple(waiting),
        boot.dropped,
        boot.unsendable,
        boot.corrupt,
    )


def _split(span: Span, boot: BootRecord) -> tuple[Span | None, Span | None]:
    """What of a gap is lost, and what is in the node's queue."""
    at = boot.waiting_from
    if at is None or at > span.last:
        return span, None
    if at <= span.first:
        return None, span
    return span._replace(last=at - 1, last_time=None), span._replace(first=at, first_time=None)


def _as_gap(span: Span, why: str | None) -> Gap:
    return Gap(span.first, span.last, span.first_time, span.last_time, why)


def _unheard(boots: Sequence[BootRecord]) -> list[UnheardBoots]:
    """Boot numbers between those heard.

    A node that speaks live under a lower number, or under one that was in use, began to count
    anew: its flash was erased.
    """
    eras: list[set[int]] = [set()]
    for boot in boots:
        number = boot_number(boot.boot)
        if number is None:
            continue
        counted = eras[-1]
        live = boot.said_at is not None
        if counted and (number in counted or (live and number < max(counted))):
            eras.append(set())
        eras[-1].add(number)
    found = []
    for era in eras:
        numbers = sorted(era)
        for a, b in zip(numbers, numbers[1:], strict=False):
            if b > a + 1:
                found.append(UnheardBoots(a + 1, b - 1))
    return found


def _where(file: FleetFile | None, path: Path | None) -> Path:
    if path is not None:
        return path
    if file is None:
        raise ValueError("neither a fleet file nor a record")
    return path_beside(file.path)


def _is(key: NodeKey, declared: Any) -> bool:
    if key.dialect != declared.dialect:
        return False
    heard = json.loads(key.tenant)
    return all(heard.get(name, value) == value for name, value in declared.options.items())


def _how(declared: Any) -> str:
    if declared is not None and not declared.extras:
        return "with extras = false its readings carry no numbers to go by"
    return "keep 'fieldhand watch' running, or a program with Fleet and readings()"


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "first": gap.first,
        "last": gap.last,
        "count": gap.count,
        "after": gap.after,
        "before": gap.before,
        "why": gap.why,
    }
