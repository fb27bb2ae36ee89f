"""The simulator: its nodes, and where they find their modules."""

from __future__ import annotations

import os
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fieldhand.building import mpy

from .. import paths
from .node import Node
from .supervisor import Supervisor
from .wiring import Wiring
from .world import World

# Descriptors this process may open: more than a thousand nodes'.
_LINKS = "lib"  # beside the flash directories, in the workdir
_FILES = 16384


class Simulator(Supervisor):
    """Runs nodes, each the real firmware in a MicroPython process on simulated hardware.

    A context manager: on leaving, all processes are gone, and so they are when this process is
    killed. Nodes reach `broker` through a wire of their own, which faults cut.

    `workdir` holds a flash directory per node and is kept; without it a temporary one is used and
    removed. `boot_delay` s pass between a reset and the next boot (a board takes about 1),
    `wifi_delay` s until Wi-Fi is connected (2 to 4). `wall_clock` is what NTP says, Unix seconds.
    The nodes run compiled, as boards do, unless `source`, or FIELDHAND_SOURCE=1 in the
    environment, asks for the .py files, which need a larger `heap`. Compiled, most names of the
    firmware are others, but for those `kept` for a main.py that asks for them.
    Raises fieldhand.paths.MissingPart when MicroPython or a part of the firmware is missing.
    """

    def __init__(
        self,
        broker: tuple[str, int] = ("127.0.0.1", 1883),
        workdir: str | Path | None = None,
        *,
        boot_delay: float = 0.2,
        wifi_delay: float = 0.05,
        pulse_tick: float = 0.02,
        wall_clock: Callable[[], float] = time.time,
        source: bool | None = None,
        kept: frozenset[str] = frozenset(),
    ) -> None:
        self.broker = broker
        self.boot_delay = boot_delay
        self.wifi_delay = wifi_delay
        self.pulse_tick = pulse_tick
        self.wall_clock = wall_clock
        self.nodes: dict[str, Node] = {}
        self.count = 0
        self.micropython = paths.micropython()
        self._temporary = None if workdir is not None else tempfile.mkdtemp(prefix="fieldhand-sim-")
        self.workdir = Path(workdir if workdir is not None else str(self._temporary)).absolute()
        if source is None:
            source = os.environ.get("FIELDHAND_SOURCE", "") not in ("", "0")
        self.micropypath = _micropypath(self.workdir, source, kept)
        # What a board has on its flash, and a node here by links from its own.
        compiled = self.workdir / _LINKS / "node"
        self.packages = sorted(compiled.iterdir()) if compiled.is_dir() else []
        _allow_files()
        super().__init__()

    def add(
        self,
        config: Mapping[str, Any],
        *,
        world: World | None = None,
        wiring: Wiring | None = None,
        heap: str = "296k",
        files: Mapping[str, str | bytes] | None = None,
        nvs: Mapping[str, Mapping[str, int | bytes | str]] | None = None,
        mac: bytes | None = None,
        ticks_start: int | None = None,
        chip: str = "esp32",
    ) -> Node:
        """A new node, off, with the contents of node.json in `config`.

        `world` may be shared by several nodes; by default each has its own. `wiring` replaces
        what `config` says hangs on the pins. `files` are put on its flash (path: content); with
        a main.py among them the firmware's is not. `ticks_start` lets time.ticks_ms() begin
        there and wrap at 2**30, as on the chip after 12 days. `chip` is "esp32", "esp32s3" or
        "esp32c3". Raises ValueError for a name that is taken, MissingPart when the firmware needs
        what is not there.
        """
        if "main.py" not in (files or {}):
            paths.umqtt()
        name = str(config.get("node") or f"node-{self.count + 1}")
        if name in self.nodes:
            raise ValueError(f"node '{name}' is in the simulator already")
        self.count += 1
        node = Node(
            self,
            config,
            flash=self.workdir / _directory(name, self.count),
            world=world or World(),
            wiring=wiring,
            heap=heap,
            files=files or {},
            nvs=nvs or {},
            mac=mac,
            ticks_start=ticks_start,
            chip=chip,
        )
        self.nodes[name] = node
        return node

    def start(self) -> None:
        """Power on all nodes."""
        for node in list(self.nodes.values()):
            node.start()

    def close(self) -> None:
        """End all processes; the simulator cannot be used again."""
        if self.closed:
            return
        try:
            for node in self.nodes.values():
                node.close()
        finally:
            super().close()
            if self._temporary:
                shutil.rmtree(self._temporary, ignore_errors=True)


def _micropypath(workdir: Path, source: bool, kept: frozenset[str]) -> str:
    """Where the nodes' modules are, seen from a flash directory in `workdir`.

    By short names: MicroPython keeps the path of each of its 60 modules on the heap, and a node
    may not run out of memory because somebody's home has a long name.
    """
    parts = {
        "standins": paths.standins(),
        "firmware": paths.firmware(),
        "protocol": paths.protocol(),
    }
    with suppress(paths.MissingPart):
        # Only the firmware needs it, and says so; a main.py of one's own may not.
        parts["umqtt"] = paths.umqtt()
    links = workdir / _LINKS
    shutil.rmtree(links, ignore_errors=True)  # a workdir may be an earlier version's
    links.mkdir(parents=True)
    if source:
        for name, place in parts.items():
            (links / name).symlink_to(place, target_is_directory=True)
        return ":".join([*(f"../{_LINKS}/{name}" for name in parts), ".frozen"])
    packages = (parts["firmware"] / "fieldnode", parts["protocol"] / "fieldproto")
    mpy.write(links / "node", *packages, short=True, kept=kept)
    if "umqtt" in parts:
        mpy.write(links / "node", parts["umqtt"] / "umqtt")
    mpy.write(links / "chip", *sorted(parts["standins"].glob("*.py")), optimize=3)
    return f"../{_LINKS}/chip:.frozen"


def _directory(name: str, number: int) -> str:
    """The name if it is one of a plain file, else one like it that is not used twice."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return plain if plain == name != _LINKS else f"{plain}-{number}"


def _allow_files() -> None:
    """A node takes about ten descriptors, and 1024 are the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
