"""`fieldhand gaps`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import (
    NodeName,
    emit,
    file_option,
    json_option,
    load_file,
    need_file,
    note,
)

if TYPE_CHECKING:
    from fieldhand.gaps import Gap, NodeGaps, NoRecord

EXIT_COMPLETE = 0
EXIT_MISSING = 1


@click.command(short_help="List the readings that never arrived.")
@click.argument("node", type=NodeName(), required=False)
@file_option
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What has arrived.  [default: .fieldhand/received.db beside the fleet file]",
)
@json_option
def gaps(node: str | None, file: Path | None, record: Path | None, as_json: bool) -> int:
    """List which readings of NODE never arrived here, or say that nothing is missing.

    What arrives is on record while `fieldhand watch` or a program with Fleet listens. Without
    NODE: all nodes of the fleet file, a line each.

    Exit code 0: nothing is missing; 1: something is; 2: nothing is on record.
    """
    from fieldhand import gaps as library

    if node is None:
        return _fleet(library.of_fleet(need_file(file), record), as_json)
    found = library.of_node(node, load_file(file, required=record is None), record)
    if as_json:
        emit(found.as_dict())
    else:
        for line in _lines(found):
            click.echo(line)
    return EXIT_COMPLETE if found.complete else EXIT_MISSING


def _fleet(found: dict[str, NodeGaps | NoRecord], as_json: bool) -> int:
    from fieldhand.gaps import NodeGaps

    known = [gaps for gaps in found.values() if isinstance(gaps, NodeGaps)]
    if as_json:
        emit(
            [
                gaps.as_dict()
                if isinstance(gaps, NodeGaps)
                else {"node": name, "complete": None, "reason": gaps.reason}
                for name, gaps in found.items()
            ]
        )
    else:
        for name, gaps in found.items():
            if isinstance(gaps, NodeGaps):
                click.echo(_summary(gaps))
            else:
                click.echo(f"{name}: nothing is on record")
    if not known:
        reasons = {gaps.reason for gaps in found.values() if not isinstance(gaps, NodeGaps)}
        note(f"error: nothing is on record: {'; '.join(sorted(reasons))}")
        return 2
    return EXIT_COMPLETE if all(gaps.complete for gaps in known) else EXIT_MISSING


def _summary(gaps: NodeGaps) -> str:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(gaps.recorded_since))
    boots = "1 boot" if len(gaps.boots) == 1 else f"{len(gaps.boots)} boots"
    parts = [f"{gaps.missing} missing" if gaps.missing else "nothing missing"]
    unheard = sum(boots.count for boots in gaps.unheard_boots)
    if unheard:
        parts = [f"{gaps.missing} missing", f"{unheard} boots never heard of"]
    if gaps.waiting:
        parts.append(f"{gaps.waiting} waiting on the node")
    return f"{gaps.node}: {', '.join(parts)}; {gaps.received} arrived of {boots} since {since}"


def _lines(gaps: NodeGaps) -> list[str]:
    lines = [_summary(gaps)]
    for boot in gaps.boots:
        for gap in boot.missing:
            why = f", {gap.why}" if gap.why else ""
            lines.append(f"  boot {boot.boot}: {_numbers(gap)} missing{why}{_span(gap)}")
        for gap in boot.waiting:
            lines.append(f"  boot {boot.boot}: {_numbers(gap)} {gap.why}{_span(gap)}")
        if boot.missing:
            for count, reason in (
                (boot.dropped, "dropped from its full queue"),
                (boot.unsendable, "could not be sent"),
                (boot.corrupt, "found damaged on its flash"),
            ):
                if count:
                    lines.append(f"  boot {boot.boot}: the node says: {count} {reason}")
    for boots in gaps.unheard_boots:
        which = f"boot {boots.first}" if boots.count == 1 else f"boots {boots.first}-{boots.last}"
        lines.append(f"  {which}: never heard of")
    return lines


def _numbers(gap: Gap) -> str:
    if gap.count == 1:
        return f"reading {gap.first}"
    return f"readings {gap.first}-{gap.last} ({gap.count})"


def _span(gap: Gap) -> str:
    after, before = _clock(gap.after), _clock(gap.before)
    if after and before:
        return f", between {after} and {before}"
    return f", after {after}" if after else f", before {before}" if before else ""


def _clock(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
