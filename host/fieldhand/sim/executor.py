"""Code run on a simulated node: its firmware's modules, pins and sensors, without its main.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fieldhand import scripts
from fieldhand.sim.node import Node
from fieldhand.sim.simulator import Simulator


class SimulatedExecutor:
    """Runs code on a node of `simulator` made from `config`; the board starts anew each time."""

    def __init__(self, simulator: Simulator, config: Mapping[str, Any], **options: Any) -> None:
        """`options` are those of `Simulator.add`."""
        files = {**options.pop("files", {}), "main.py": ""}
        self.node: Node = simulator.add(config, files=files, **options)

    def exec(self, code: str, timeout: float = 10.0) -> str:
        """The line with the result of `code`, a script of `scripts.py`. Raises ScriptError."""
        node = self.node
        node.stop()
        (node.flash / "main.py").write_text(code, "utf-8")
        since = node.console.mark()
        node.start()
        try:
            return node.wait_console(scripts.MARK, timeout, since)
        except TimeoutError as error:
            raise scripts.ScriptError("simulator", str(error)) from None
        finally:
            node.stop()
