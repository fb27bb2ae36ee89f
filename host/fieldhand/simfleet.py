"""The nodes of a fleet file, simulated."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fieldhand import build, fleetfile, template
from fieldhand.fleetfile import FleetFile


def example(dialect: str, count: int) -> FleetFile:
    """A fleet of `count` nodes like the one that `fieldhand init` writes for this dialect."""
    file = fleetfile.check(tomllib.loads(template.FLEET_TOML), Path("example.toml"))
    model = next((n for n in file.nodes.values() if n.dialect == dialect), None)
    if model is None:
        from fieldhand.errors import FieldhandError

        raise FieldhandError(f"there is no example of a {dialect} node: name one in a fleet file")
    width = max(3, len(str(count)))
    names = [f"{dialect}-{number:0{width}}" for number in range(1, count + 1)]
    return replace(file, nodes={name: replace(model, name=name) for name in names})


@contextmanager
def running(file: FleetFile, broker: tuple[str, int]) -> Iterator[list[str]]:
    """Start every node of the file against a broker; yields their names, stops them at the end."""
    from fieldhand.sim import Simulator

    with Simulator(broker=broker) as simulator:
        nodes = [
            simulator.add(build.node_json(file, node, broker=broker))
            for node in file.nodes.values()
        ]
        for node in nodes:
            node.start()
        yield list(file.nodes)
