"""Short names for what is private, in source about to be compiled for a node.

MicroPython keeps each name once, for ever, and tables for them that double: 1,300 names take 40 kB
of an ESP32's heap. `_restart_step` of one module and `_calibrating` of another can be one name.
Lines stay where they are.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Mapping

# Of `umqtt.simple.MQTTClient`, from which the session inherits.
UMQTT = frozenset({"_encode_len", "_recv_len", "_send_str", "_send_subunsub"})
_CONSTANT = re.compile(r"^([A-Z]\w*) = const\(", re.MULTILINE)
_PRIVATE = re.compile(r"_[A-Za-z0-9]\w*\Z")


def shrink(sources: Mapping[str, str]) -> dict[str, str]:
    """The sources, by name of their file, with private names replaced.

    A name stays as it is everywhere where one file may use another's: where it is asked of
    anything but `self`, is in a string, or is not bound in the file or one that its classes
    inherit from. A constant, `LIMIT = const(5)`, that only its own file names is private as well.
    """
    sources = _own_constants(sources)
    trees = {file: ast.parse(text) for file, text in sources.items()}
    groups = _families(trees)
    used = {file: _private_names(text) for file, text in sources.items()}
    kept = UMQTT.union(*(_open(tree) for tree in trees.values()))
    for group in groups:
        have = set().union(*(_bound(trees[file]) for file in group))
        for file in group:
            kept |= used[file] - have
    short: dict[str, str] = {}
    for group in groups:
        names = sorted(set().union(*(used[file] for file in group)) - kept)
        free = (word for i in range(10_000) if (word := f"_{i}") not in kept)
        renamed = dict(zip(names, free, strict=False))
        for file in group:
            short[file] = _replace(sources[file], renamed)
    return {file: short[file] for file in sources}


def _own_constants(sources: Mapping[str, str]) -> dict[str, str]:
    words = {file: set(re.findall(r"\w+", text)) for file, text in sources.items()}
    private = {}
    for file, text in sources.items():
        found = _CONSTANT.findall(text)
        others = set().union(*(words[other] for other in words if other != file))
        own = {name: f"_{name}" for name in found if name not in others}
        private[file] = _replace(text, {k: v for k, v in own.items() if v not in words[file]})
    return private


def _private_names(text: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.string for t in tokens if t.type == tokenize.NAME and _PRIVATE.match(t.string)}


def _open(tree: ast.Module) -> set[str]:
    """Names that may be another file's, or are looked up by their text."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.JoinedStr):  # one token, whatever is in it
            inside = ast.walk(node)
            found |= {n.id for n in inside if isinstance(n, ast.Name)}
            found |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        elif isinstance(node, ast.keyword):
            found.add(node.arg or "")
    return found


def _bound(tree: ast.Module) -> set[str]:
    """Names that a file binds: globals, methods, arguments, locals, self's attributes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        elif isinstance(node, ast.alias) and node.asname:
            found.add(node.asname)  # what it is called where it comes from has to stay
    return found


def _families(trees: Mapping[str, ast.Module]) -> list[list[str]]:
    """Files whose classes inherit from each other."""
    defines: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                defines.setdefault(node.name, set()).add(file)
                for base in node.bases:
                    name = base.attr if isinstance(base, ast.Attribute) else ast.unparse(base)
                    bases.setdefault(file, set()).add(name)
    family = {file: {file} for file in trees}
    for file, names in bases.items():
        for other in set().union(*(defines.get(name, set()) for name in names)):
            merged = family[file] | family[other]
            for member in merged:
                family[member] = merged
    unique = {id(group): sorted(group) for group in family.values()}
    return sorted(unique.values())


def _replace(text: str, names: Mapping[str, str]) -> str:
    lines = text.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for token in reversed(tokens):
        if token.type == tokenize.NAME and token.string in names:
            row, column = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:column] + names[token.string] + line[token.end[1] :]
    return "".join(lines)
