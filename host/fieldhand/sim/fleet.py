"""The nodes of a fleet file, simulated."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fieldhand import boards, fleetfile, paths
from fieldhand.errors import FieldhandError
from fieldhand.fleetfile import FleetFile, NodeConfig, template
from fieldhand.provisioning import credentials
from fieldhand.sim.node import Node
from fieldhand.sim.simulator import Simulator

CONSOLE_POLL_S = 0.3


def example(dialect: str, count: int) -> FleetFile:
    """A fleet of `count` nodes like the one that `fieldhand init` writes for this dialect."""
    file = fleetfile.check(tomllib.loads(template.FLEET_TOML), Path("example.toml"))
    model = next((n for n in file.nodes.values() if n.dialect == dialect), None)
    if model is None:
        raise FieldhandError(f"there is no example of a {dialect} node: name one in a fleet file")
    width = max(3, len(str(count)))
    names = [f"{dialect}-{number:0{width}}" for number in range(1, count + 1)]
    return replace(file, nodes={name: replace(model, name=name) for name in names})


@contextmanager
def running(
    file: FleetFile,
    broker: tuple[str, int],
    tell: Callable[[str], object] | None = None,
    everything: bool = False,
    log_in: bool = False,
) -> Iterator[list[str]]:
    """Start every node of the file against a broker; yields their names, stops them at the end.

    `tell` gets the lines the nodes print on their consoles: warnings, errors and tracebacks, or
    `everything`. With `log_in` they have the credentials that were made for them in their NVS.
    """
    paths.umqtt()  # the nodes would find out one by one, on their consoles
    with Simulator(broker=broker) as simulator:
        nodes = [
            simulator.add(
                fleetfile.node_json(file, node, broker=broker),
                chip=_chip(node),
                nvs={"fieldhand": _login(file, node)} if log_in else None,
            )
            for node in file.nodes.values()
        ]
        for node in nodes:
            node.start()
        done = threading.Event()
        follower = threading.Thread(target=_follow, args=(nodes, tell, everything, done))
        if tell is not None:
            follower.start()
        try:
            yield list(file.nodes)
        finally:
            done.set()
            if tell is not None:
                follower.join()


def _chip(node: NodeConfig) -> str:
    board = boards.load(node.board)
    return "esp32" if board.simulated else board.chip


def _login(file: FleetFile, node: NodeConfig) -> dict[str, str]:
    user, password = credentials.of(node, credentials.load(credentials.path_for(file.path)))
    found = {"mqtt_user": user, "mqtt_pass": password}
    return {key: value for key, value in found.items() if value is not None}


def _follow(
    nodes: list[Node], tell: Callable[[str], object], everything: bool, done: threading.Event
) -> None:
    seen = dict.fromkeys((node.name for node in nodes), 0)
    ended = False
    while not ended:
        ended = done.wait(CONSOLE_POLL_S)
        for node in nodes:
            mark = node.console.mark()
            fresh = mark - seen[node.name]
            seen[node.name] = mark
            for line in node.console.lines()[-fresh:] if fresh else ():
                # The firmware's own log lines begin with their level; the rest is unexpected.
                if everything or not line.startswith(("D ", "I ")):
                    tell(f"{node.name}: {line}")
