"""`fieldhand bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import (
    NodeName,
    emit,
    file_option,
    json_option,
    need_file,
    note,
    port_option,
)

if TYPE_CHECKING:
    from fieldhand.devicebench import Measured, Series


@click.command(short_help="Measure a node's chip, beside the simulator.")
@click.argument("node", type=NodeName())
@file_option
@port_option
@json_option
def bench(node: str, file: Path | None, port: str | None, as_json: bool) -> None:
    """Measure the board of NODE on its cable, and a simulated one of the same configuration.

    Each figure is the median of its repetitions, with the least and the most. The node is stopped
    for it, and starts again. 250-byte messages go to its broker, under fieldhand/bench/. A node
    whose board is the simulator's is measured there alone.
    """
    from fieldhand import boards, devicebench
    from fieldhand.device import ports
    from fieldhand.errors import UnknownNode

    fleet = need_file(file)
    if node not in fleet.nodes:
        raise UnknownNode(node, list(fleet.nodes))
    config = fleet.nodes[node]
    device = None
    if port is not None or not boards.load(config.board).simulated:
        from fieldhand.device.serial import Device

        port = ports.choose(port)
        note(f"{port}: the node is stopped and measured; this takes a minute or two")
        with Device(port) as board:
            device = devicebench.measure(board, config)
    note("the simulated node is measured")
    simulated = devicebench.measure_simulated(fleet, config)
    if as_json:
        measured = None if device is None else device.as_dict()
        emit({"node": node, "device": measured, "simulator": simulated.as_dict()})
        return
    for line in _table(device, simulated):
        click.echo(line)


def _table(device: Measured | None, simulated: Measured) -> list[str]:
    from fieldhand.devicebench import FACTS, METRICS

    columns = [("simulator", simulated)]
    if device is not None:
        columns.insert(0, ("board", device))
    head = "".join(f"{name:>30}" for name, _ in columns)
    lines = [f"{'median (least to most, repetitions)':<42}{head}"]
    for key, title, unit in FACTS:
        cells = "".join(f"{_number(m.facts.get(key)):>30}" for _, m in columns)
        lines.append(f"{title + ', ' + unit:<42}{cells}")
    for metric in METRICS:
        cells = "".join(f"{_cell(m.series.get(metric.key)):>30}" for _, m in columns)
        lines.append(f"{metric.title + ', ' + metric.unit:<42}{cells}")
    for name, measured in columns:
        lines += [f"{name}: no {key}: {why}" for key, why in measured.missing.items()]
        lines.append(
            f"{name}: {measured.facts.get('machine', '?').strip()}, MicroPython "
            f"{measured.facts.get('release', '?')}"
        )
    return lines


def _cell(series: Series | None) -> str:
    if series is None:
        return "-"
    low, high = min(series.values), max(series.values)
    middle = _number(series.median)
    return f"{middle} ({_number(low)} to {_number(high)}, {len(series.values)})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
