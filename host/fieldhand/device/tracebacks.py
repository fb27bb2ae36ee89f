"""Where in the firmware's source a traceback of a node points.

The node has compiled files with shortened names (see `fieldhand.building.shrink`), so its traceback
says `File "fieldnode/node.mpy", line 123, in _3`. Lines are those of the source.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fieldhand import paths
from fieldhand.building import mpy, slimming

_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>\S+))?\s*$')
_START = ("boot.py", "main.py")
# Named so by MicroPython, whatever is around them.
_UNNAMED = frozenset({"<module>", "<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"})


@dataclass(frozen=True)
class Frame:
    """A line of a traceback and what it means.

    `file` is a path of the firmware's source, `function` qualified ("Node._step"), `source` the
    text of the line. `sure` is False where the source at hand cannot be the node's: no such line,
    or one of another function.
    """

    file: str
    line: int
    function: str
    source: str
    sure: bool

    def __str__(self) -> str:
        doubt = "" if self.sure else "  (the node runs another version: lines may be off)"
        text = f"  {self.file}:{self.line} in {self.function}{doubt}"
        return f"{text}\n    {self.source}" if self.source else text


class Resolver:
    """Translates tracebacks of the firmware at hand: the checkout's or the installed one."""

    def frame(self, line: str) -> Frame | None:
        """What a line of a traceback means; None for any other line and for others' files."""
        match = _FRAME.match(line)
        if match is None:
            return None
        name = match["file"].removeprefix("/")
        name = name.removesuffix(".mpy") + ".py" if name.endswith(".mpy") else name
        source = _sources().get(name) or _sources().get(name.replace(slimming.DOWN, ""))
        if source is None:
            return None
        number = int(match["line"])
        lines = source.text.splitlines()
        if not 0 < number <= len(lines):
            return Frame(source.shown, number, match["name"] or "", "", sure=False)
        own, short = source.functions(number)
        # A compiled file without shortened names is a frozen image's.
        sure = match["name"] in _UNNAMED or match["name"] in (own.rpartition(".")[2], short, None)
        return Frame(source.shown, number, own, lines[number - 1].strip(), sure)

    def line(self, text: str) -> str:
        """`text`, or what it means if it is a traceback's line."""
        frame = self.frame(text)
        return text if frame is None else str(frame)

    def text(self, text: str) -> str:
        """A whole traceback, or what else a node prints, line by line."""
        return "\n".join(self.line(line) for line in text.splitlines())


@dataclass(frozen=True)
class _Source:
    name: str
    path: Path
    text: str

    @property
    def shown(self) -> str:
        """Its path as somebody would open it from here."""
        root = paths.checkout()
        for base in (Path.cwd(), root):
            if base is not None and self.path.is_relative_to(base):
                return self.path.relative_to(base).as_posix()
        return str(self.path)

    def functions(self, line: int) -> tuple[str, str]:
        """(qualified name of the function around a line, its name after shortening)."""
        own = _qualified(self.text, line)
        short = _qualified(_shortened().get(self.name, self.text), line)
        return own, short.rpartition(".")[2]


def _qualified(text: str, line: int) -> str:
    names = []
    scope: ast.AST = ast.parse(text)
    while True:
        for node in ast.walk(scope):
            if (
                node is not scope
                and isinstance(node, ast.FunctionDef | ast.ClassDef)
                and node.lineno <= line <= (node.end_lineno or 0)
            ):
                names.append(node.name)
                scope = node
                break
        else:
            return ".".join(names) or "<module>"


@functools.cache
def _sources() -> Mapping[str, _Source]:
    firmware = paths.firmware()
    parts = [firmware / name for name in _START if (firmware / name).is_file()]
    packages = (firmware / "fieldnode", paths.protocol() / "fieldproto")
    found = {path.name: _Source(path.name, path, path.read_text("utf-8")) for path in parts}
    for name, path in mpy.modules(*packages):
        found[name] = _Source(name, path, path.read_text("utf-8"))
    return found


@functools.cache
def _shortened() -> Mapping[str, str]:
    return mpy.shortened({name: s.text for name, s in _sources().items() if name not in _START})
