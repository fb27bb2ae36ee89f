"""Where the parts that are not the toolkit are: in a checkout, or inside the installed wheel."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import fieldproto

from .errors import FieldhandError

_HERE = Path(__file__).resolve().parent


class MissingPart(FieldhandError):
    """Something that is built or installed separately is not there; says what makes it."""


def checkout() -> Path | None:
    """Root of the source checkout this runs from, None for an installed wheel."""
    root = _HERE.parents[1]
    return root if (root / "firmware" / "fieldnode").is_dir() else None


def firmware() -> Path:
    """Directory with boot.py, main.py and fieldnode/. Raises MissingPart."""
    return _part("firmware", "_firmware")


def boards() -> Path:
    """Directory of the board descriptions (TOML). Raises MissingPart."""
    return _part("boards", "_boards")


def protocol() -> Path:
    """Directory that contains the package fieldproto."""
    return Path(fieldproto.__file__).resolve().parents[1]


def standins() -> Path:
    """Directory of the simulator's `machine`, `network` and the like."""
    return _HERE / "sim" / "standins"


def ondevice() -> Path:
    """Directory of the scripts for a node's REPL."""
    return _HERE / "ondevice"


def umqtt() -> Path:
    """Directory that contains umqtt/simple.py. Raises MissingPart."""
    given = os.environ.get("FIELDHAND_UMQTT")
    root = checkout()
    if given:
        place = Path(given).expanduser()
    elif root is not None:
        place = root / "build" / "umqtt"
    else:
        place = _HERE / "_umqtt"
    if not (place / "umqtt" / "simple.py").is_file():
        how = "make umqtt" if root and not given else "set FIELDHAND_UMQTT to a directory with it"
        raise MissingPart(f"umqtt.simple is not in {place}: {how}")
    return place.resolve()


def micropython() -> Path:
    """The unix MicroPython: next to this Python, else on PATH. Raises MissingPart."""
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.is_file() else shutil.which("micropython")
    if found is None:
        how = "make venv" if checkout() else "pip install 'fieldhand[sim]'"
        raise MissingPart(f"no micropython command beside {sys.executable} or on PATH: {how}")
    return Path(found)


def _part(name: str, inside: str) -> Path:
    root = checkout()
    place = root / name if root is not None else _HERE / inside
    if not place.is_dir():
        how = "make install" if root is None else "the checkout is incomplete"
        raise MissingPart(f"{name} is not in {place}: {how}")
    return place
