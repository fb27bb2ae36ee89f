"""What a node does without, taken out of the protocol's sources before they are compiled for it.

Whatever goes leaves its line breaks behind, so that lines stay where they are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

# Module -> its dialects. The part of `x.py` that says what a host sends is `x_down.py` on a node,
# see `Dialect.fill`.
_DIALECTS = "fieldproto/dialects/"
DOWN = "_down"
# Keywords that only documentation and the host's side read, of the calls that make tables.
_NOTES = frozenset({"doc", "unit", "settled_by"})
_TABLES = frozenset({"F", "Field", "Command"})
_KEPT = frozenset({"MESSAGES", "COMMANDS", "OPTIONS", "VARIANT"})

_Span = tuple[int, int, str]  # of bytes, and what comes there


def slim(sources: Mapping[str, str]) -> dict[str, str]:
    """The sources, by name of their file, as a node has them."""
    made = {}
    for name, text in sources.items():
        text = _without_notes(text) if name.startswith("fieldproto/") else text
        if name.startswith(_DIALECTS) and (parts := split(text)):
            made[name], made[name.replace(".py", DOWN + ".py")] = parts
        else:
            made[name] = text
    return made


def split(text: str) -> tuple[str, str] | None:
    """A dialect's module in two: what a node sends, and what a host does.

    In the first the host's messages have no fields. None where its tables are not plain tuples of
    calls with positional arguments: then the node has it whole.
    """
    tree = ast.parse(text)
    tables = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    messages, commands = tables.get("MESSAGES"), tables.get("COMMANDS")
    if not (isinstance(messages, ast.Tuple) and isinstance(commands, ast.Tuple)):
        return None
    place = _Places(text)
    up: list[_Span] = [place.of(commands, "None")]
    down: list[_Span] = []
    for entry in messages.elts:
        if not (isinstance(entry, ast.Call) and len(entry.args) >= 5):
            return None
        sender = entry.args[3]
        if not (isinstance(sender, ast.Constant) and sender.value in ("node", "host")):
            return None
        if sender.value == "host":
            up.append(place.of(entry.args[4], "()"))
        else:
            down.append(place.with_comma(entry))
    for name in ("OPTIONS", "VARIANT"):
        if name in tables:
            down.append(place.of(tables[name], "None"))
    return _pruned(_cut(text, up)), _pruned(_cut(text, down))


def _without_notes(text: str) -> str:
    place = _Places(text)
    spans = [
        place.with_comma(word)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in _TABLES and node.args
        for word in node.keywords
        if word.arg in _NOTES
    ]
    return _cut(text, spans)


def _pruned(text: str) -> str:
    """Without the globals that nothing uses any more."""
    while True:
        tree = ast.parse(text)
        names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
        used = {name.id for name in names if isinstance(name.ctx, ast.Load)}
        place = _Places(text)
        spans = [
            place.of(node, "")
            for node in tree.body
            if (name := _defines(node)) and name not in used | _KEPT
        ]
        if not spans:
            return text
        text = _cut(text, spans)


def _defines(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


class _Places:
    """Where the nodes of a source are, in its bytes."""

    def __init__(self, text: str) -> None:
        self._data = text.encode()
        self._starts = [0]
        for line in self._data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def of(self, node: ast.expr | ast.stmt | ast.keyword, instead: str) -> _Span:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset, instead

    def with_comma(self, node: ast.expr | ast.keyword) -> _Span:
        """And with the comma after it, if there is one."""
        start, end, _ = self.of(node, "")
        rest = self._data[end:]
        if rest.lstrip().startswith(b","):
            end += rest.index(b",") + 1
        return start, end, ""


def _cut(text: str, spans: Iterable[_Span]) -> str:
    data = text.encode()
    for start, end, instead in sorted(spans, reverse=True):
        breaks = b"\n" * data[start:end].count(b"\n")
        data = data[:start] + instead.encode() + breaks + data[end:]
    return data.decode()
