"""Scripts for a node's REPL: the files of `ondevice/`, and how one is run.

Each has `run(arguments, result)`, which fills the dict `result`; what it has found when something
goes wrong is found all the same. One line with a marker carries it here, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from fieldhand import paths
from fieldhand.errors import FieldhandError

MARK = "#fieldhand# "
_COMMON = "common"
_END = f"""
import json
_result = {{}}
try:
    run(_arguments, _result)
except Exception as _error:
    import sys
    sys.print_exception(_error)
    _result["error"] = "%s: %s" % (type(_error).__name__, _error)
print({MARK!r} + json.dumps(_result))
"""


class ScriptError(FieldhandError):
    """A script came to no result. `output` is the end of what the node printed instead."""

    def __init__(self, name: str, reason: str, output: str = "") -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.output = output


class Executor(Protocol):
    """What runs code on a node: `fieldhand.device.Device`, or a simulated node."""

    def exec(self, code: str, timeout: float = 10.0) -> str: ...


def source(name: str, arguments: Mapping[str, Any]) -> str:
    """The script `name` with its arguments, ready for a REPL."""
    folder = paths.ondevice()
    text = (folder / f"{name}.py").read_text("utf-8")
    if "node(" in text:
        text = (folder / f"{_COMMON}.py").read_text("utf-8") + text
    return f"_arguments = {dict(arguments)!r}\n{text}{_END}"


def parse(name: str, output: str) -> dict[str, Any]:
    """The result in what a script printed. Raises ScriptError."""
    for line in output.splitlines():
        _, found, text = line.partition(MARK)
        if found:
            try:
                result = json.loads(text)
            except ValueError:
                continue
            if isinstance(result, dict):
                return result
    raise ScriptError(name, "the node gave no result", output[-500:])


def run(node: Executor, name: str, timeout: float, **arguments: Any) -> dict[str, Any]:
    """Run the script `name` on `node`; `timeout` is in seconds. Raises what `node.exec` raises
    and ScriptError."""
    return parse(name, node.exec(source(name, arguments), timeout))
