"""A fleet that lost its broker and comes back: the node's own waits, in virtual time.

The waits are those of firmware/fieldnode/backoff.py, loaded from there; beside them two policies
that are no good, to see what the jitter is for. Times are seconds after the broker went away.
"""

import heapq
import importlib.util
import random
import sys
import types
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from fieldhand import paths

FIXED_S = 5.0
# What the network and the loop of each node add to a wait, at most.
SPREAD_S = 0.2

Waits = Iterator[float]
Policy = Callable[[random.Random], Waits]


def firmware_backoff() -> Any:
    """The module fieldnode.backoff; it needs nothing of MicroPython but `const`."""
    stub = types.ModuleType("micropython")
    stub.const = lambda value: value  # type: ignore[attr-defined]
    path = paths.firmware() / "fieldnode" / "backoff.py"
    spec = importlib.util.spec_from_file_location("fieldnode_backoff", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get("micropython")
    sys.modules["micropython"] = stub
    try:
        spec.loader.exec_module(module)
    finally:
        if before is None:
            del sys.modules["micropython"]
        else:
            sys.modules["micropython"] = before
    return module


_backoff = firmware_backoff()


def full_jitter(chance: random.Random) -> Waits:
    """What the node does: anything below a ceiling that doubles."""
    backoff = _backoff.Backoff(chance.getrandbits)
    while True:
        yield backoff.next_ms() / 1000


def no_jitter(chance: random.Random) -> Waits:
    """The ceilings themselves: 1, 2, 4 s ..."""
    backoff = _backoff.Backoff(lambda bits: (1 << bits) - 1)
    while True:
        yield backoff.next_ms() / 1000


def fixed(chance: random.Random) -> Waits:
    return repeat(FIXED_S)


POLICIES: Mapping[str, Policy] = {
    "full jitter (the node)": full_jitter,
    "same, without jitter": no_jitter,
    f"every {FIXED_S:g} s": fixed,
}


@dataclass(frozen=True)
class Return:
    """`attempts`: when a connection was tried; `back`: when each node got in; sorted."""

    attempts: Sequence[float]
    back: Sequence[float]

    def failed(self, since: float) -> int:
        """Attempts in vain from then on."""
        return sum(at >= since for at in self.attempts) - len(self.back)


def simulate(
    policy: Policy, nodes: int, away_s: float, per_second: int | None = None, seed: int = 1
) -> Return:
    """All nodes lose the broker at 0; it is away for `away_s`, then takes so many a second.

    `per_second` None takes everybody. Who is refused waits again, as for any other failure.
    """
    chance = random.Random(seed)
    waits = [policy(chance) for _ in range(nodes)]
    due = [(chance.uniform(0, SPREAD_S) + next(waits[node]), node) for node in range(nodes)]
    heapq.heapify(due)
    attempts: list[float] = []
    back: list[float] = []
    while due:
        at, node = heapq.heappop(due)
        attempts.append(at)
        recent = len(back) - bisect_left(back, at - 1)
        if at >= away_s and (per_second is None or recent < per_second):
            back.append(at)
        else:
            wait = next(waits[node]) + chance.uniform(0, SPREAD_S)
            heapq.heappush(due, (at + wait, node))
    return Return(attempts, back)


def peak(times: Sequence[float], since: float = 0.0) -> int:
    """The most of the (sorted) times in any one second from `since` on."""
    first, most = bisect_left(times, since), 0
    for last in range(first, len(times)):
        while times[last] - times[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def per_second(times: Sequence[float], until: float) -> list[int]:
    """How many of the times fall into each second."""
    counts = [0] * (int(until) + 1)
    for at in times:
        if at < len(counts):
            counts[int(at)] += 1
    return counts


# -- the plot ------------------------------------------------------------------------------------

_COLOURS = ("#1b7f4b", "#c2452d", "#7a6fb0")
_WIDTH, _PANEL, _LEFT, _TOP = 900, 150, 60, 64


def plot(title: str, away_s: float, found: Mapping[str, Return], until: float) -> str:
    """Attempts per second over time as SVG, one panel each, on one scale."""
    most = max(max(per_second(run.attempts, until)) for run in found.values())
    height = _TOP + len(found) * (_PANEL + 50)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{title}</text>',
    ]
    for row, (name, run) in enumerate(found.items()):
        parts += _panel(name, run, _TOP + row * (_PANEL + 50), away_s, until, most, _COLOURS[row])
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    name: str, run: Return, top: int, away_s: float, until: float, most: int, colour: str
) -> Iterator[str]:
    wide = (_WIDTH - _LEFT - 20) / (int(until) + 1)
    base = top + _PANEL
    yield (
        f'<rect x="{_LEFT}" y="{top}" width="{away_s * wide:.1f}" height="{_PANEL}"'
        ' fill="#eeeeee"/>'
    )
    for second, count in enumerate(per_second(run.attempts, until)):
        if count:
            tall = max(1.0, count / most * _PANEL)
            yield (
                f'<rect x="{_LEFT + second * wide:.1f}" y="{base - tall:.1f}"'
                f' width="{max(1.0, wide - 1):.1f}" height="{tall:.1f}" fill="{colour}"/>'
            )
    yield f'<path d="M{_LEFT} {top}V{base}H{_WIDTH - 20}" stroke="black" fill="none"/>'
    yield f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most}</text>'
    yield f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">0</text>'
    step = max(5, int(until) // 60 * 5)
    for second in range(0, int(until) + 1, step):
        yield (
            f'<text x="{_LEFT + second * wide:.1f}" y="{base + 15}"'
            f' text-anchor="middle">{second}</text>'
        )
    facts = (
        f"{name}: at most {peak(run.attempts, away_s)} attempts a second once the broker is back,"
        f" {run.failed(away_s)} in vain; all back after {run.back[-1] - away_s:.0f} s"
    )
    yield f'<text x="{_LEFT}" y="{top - 8}">{facts}</text>'
