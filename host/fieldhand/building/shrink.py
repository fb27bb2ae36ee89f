"""Other names for those of our own, in source about to be compiled for a node.

MicroPython keeps each name it meets once, for ever, and tables for them that double: 1,300 names
take 30 kB of an ESP32's heap. The names it has in ROM take none, so ours become those, and what
only one file uses becomes the same name in every file. The firmware and its protocol are a whole
program: nothing else asks for a name of theirs but what `kept` says. Lines stay where they are.
"""

from __future__ import annotations

import ast
import builtins
import io
import itertools
import keyword
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping

from fieldhand.building.romnames import ROM

# Of `umqtt.simple`, from which the session inherits; frozen in the image.
UMQTT = frozenset(
    "MQTTClient MQTTException cb check_msg client_id connect disconnect keepalive lw_msg lw_qos "
    "lw_retain lw_topic pid ping port pswd publish server set_callback set_last_will simple sock "
    "ssl ssl_params subscribe umqtt user wait_msg "
    "_encode_len _recv_len _send_str _send_subunsub".split()
)
# What our files set of somebody else's object, besides what is in ROM.
_FOREIGN = frozenset(("verify_mode",))
_CONSTANT = re.compile(r"^([A-Z]\w*) = const\(", re.MULTILINE)
_INTERNED = 10  # characters: MICROPY_ALLOC_PARSE_INTERN_STRING_LEN
_DUNDER = re.compile(r"__\w*\Z")


def shrink(sources: Mapping[str, str], kept: Iterable[str] = ("main",)) -> dict[str, str]:
    """The sources, by name of their file, with names replaced.

    A name stays that is in `kept` or in ROM, is an exception's, is a whole text somewhere (which
    may be looked up, and is kept as a name anyway), names a module, is an argument of what is
    called with `**`, or is not bound in any of the files. A constant, `LIMIT = const(5)`, that only
    its own file names becomes private, for the compiler drops such.
    """
    program = _Program(_own_constants(sources), kept)
    return {file: _replace(program.sources[file], program.names(file)) for file in sources}


def words(text: str) -> set[str]:
    """All names in a source."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.string for t in tokens if t.type == tokenize.NAME}


class _Program:
    """What each name of the sources is for, and what it becomes.

    Three kinds: names of one file alone (no attribute, no keyword, not imported), of files whose
    classes inherit from each other, and of the whole. The first two are shared with other files.
    """

    def __init__(self, sources: Mapping[str, str], kept: Iterable[str]) -> None:
        self.sources = sources
        trees = {file: ast.parse(text) for file, text in sources.items()}
        self._used = {file: words(text) for file, text in sources.items()}
        every = set().union(*self._used.values())
        fixed = ROM | UMQTT | _FOREIGN | set(kept) | set(dir(builtins)) | _modules(sources)
        fixed = fixed.union(*map(_fixed, trees.values()), _unpacked(trees.values()))
        bound = set().union(*map(_bound, trees.values()))
        ours = {n for n in bound - fixed if not (keyword.iskeyword(n) or _DUNDER.match(n))}
        self._dropped = {file: ours & set(_dropped(text)) for file, text in sources.items()}
        ours -= set().union(*self._dropped.values())
        shared = set().union(*map(_shared, trees.values()))
        families = _families(trees)
        self._texts = _texts(trees.values())
        self._taken = every | fixed - ROM - set(self._texts)
        self._family: dict[str, dict[str, str]] = {}
        self._own: dict[str, dict[str, str]] = {}
        whole = set(ours & shared)
        for group in families:
            used = set().union(*(self._used[file] for file in group))
            others = set().union(*(self._used[file] for file in sources if file not in group))
            names = _pairs((ours & shared & used) - others, self._free())
            whole -= set(names)
            for file in group:
                self._family[file] = names
        for file, used in self._used.items():
            busy = set(self._family[file].values())
            free = (name for name in self._free() if name not in busy)
            self._own[file] = _pairs((ours - shared) & used, free)
        busy = set().union(*map(dict.values, (*self._family.values(), *self._own.values())))
        self._whole = _pairs(whole, (name for name in self._free() if name not in busy))

    def names(self, file: str) -> dict[str, str]:
        """What becomes what in `file`."""
        dropped = _pairs(self._dropped[file], (f"_{i}" for i in itertools.count()))
        return self._whole | self._family[file] | self._own[file] | dropped

    def _free(self) -> Iterator[str]:
        letters = "abcdefghijklmnopqrstuvwxyz"
        short = ("".join(pair) for pair in itertools.product(letters, letters + "0123456789"))
        rom = sorted(filter(_is_plain, ROM), key=str.swapcase)
        for name in itertools.chain(rom, self._texts, short):
            if name not in self._taken and not keyword.iskeyword(name):
                yield name


def _texts(trees: Iterable[ast.Module]) -> list[str]:
    """Texts that look like names, most used first: the compiler keeps those as names anyway."""
    counts: dict[str, int] = {}
    for tree in trees:
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
        for text in {node.value for node in nodes if isinstance(node.value, str)}:
            if len(text) <= _INTERNED and text.isidentifier() and _is_plain(text):
                counts[text] = counts.get(text, 0) + 1
    return sorted(counts, key=lambda text: (-counts[text], text))


def _pairs(names: Iterable[str], free: Iterator[str]) -> dict[str, str]:
    return dict(zip(sorted(names), free, strict=False))


def _is_plain(name: str) -> bool:
    """Whether it can be anything's: no attribute of exceptions, nor one with a meaning."""
    return name[0] != "_" and name not in ("args", "errno", "value")


def _own_constants(sources: Mapping[str, str]) -> dict[str, str]:
    used = {file: set(re.findall(r"\w+", text)) for file, text in sources.items()}
    private = {}
    for file, text in sources.items():
        found = _CONSTANT.findall(text)
        others = set().union(*(used[other] for other in used if other != file))
        own = {name: f"_{name}" for name in found if name not in others}
        private[file] = _replace(text, {k: v for k, v in own.items() if v not in used[file]})
    return private


def _dropped(text: str) -> list[str]:
    """Private constants, of which the compiler keeps the value only."""
    return re.findall(r"^(_\w+) = const\(", text, re.MULTILINE)


def _modules(sources: Mapping[str, str]) -> set[str]:
    return {part for file in sources for part in file.removesuffix(".py").split("/")}


def _fixed(tree: ast.Module) -> set[str]:
    """Names that are looked up by their text, or are one token with what is around them.

    And of exceptions, which people read.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.ClassDef):
            if any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases):
                found.add(node.name)
        elif isinstance(node, ast.JoinedStr):
            for inside in ast.walk(node):
                if isinstance(inside, ast.Name):
                    found.add(inside.id)
                elif isinstance(inside, ast.Attribute):
                    found.add(inside.attr)
    return found


def _unpacked(trees: Iterable[ast.Module]) -> set[str]:
    """Arguments of functions called with `**`: their names are keys of a dict."""
    called = set()
    arguments: dict[str, set[str]] = {}
    for node in itertools.chain.from_iterable(map(ast.walk, trees)):
        if isinstance(node, ast.Call) and any(k.arg is None for k in node.keywords):
            called.add(node.func.attr if isinstance(node.func, ast.Attribute) else "")
        elif isinstance(node, ast.FunctionDef):
            every = (*node.args.args, *node.args.kwonlyargs)
            arguments.setdefault(node.name, set()).update(a.arg for a in every)
    return set().union(*(arguments.get(name, set()) for name in called))


def _bound(tree: ast.Module) -> set[str]:
    """Names that a file binds: globals, methods, arguments, locals, attributes."""
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
            found.add(node.asname)
    return found


def _shared(tree: ast.Module) -> set[str]:
    """Names by which a file may mean another's, or another may mean its: not just its own."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.keyword):
            found.add(node.arg or "")
        elif isinstance(node, ast.alias):
            found.update(node.name.split("."))
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                found |= _bound(ast.Module([part], []))
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
