"""Which board was flashed as which node, by MAC: .fieldhand/boards.json beside the fleet file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fieldhand.errors import FieldhandError

_FOLDER = ".fieldhand"
_NAME = "boards.json"


@dataclass(frozen=True)
class Known:
    """A board that was flashed; `micropython` is a version, `image` a file's name."""

    node: str
    board: str
    micropython: str
    image: str


def path(fleet: Path) -> Path:
    """Where the boards of a fleet file are noted."""
    return fleet.absolute().parent / _FOLDER / _NAME


def load(place: Path) -> dict[str, Known]:
    """Known boards by MAC ("a0:b7:65:01:02:03"). Raises FieldhandError for a damaged file."""
    try:
        raw = json.loads(place.read_text("utf-8"))
        return {mac: Known(**facts) for mac, facts in raw.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FieldhandError(f"{place}: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise FieldhandError(f"{place}: is damaged ({error}): delete it") from error


def note(place: Path, boards: Mapping[str, Known]) -> None:
    """Add or replace `boards`, by MAC. Raises FieldhandError."""
    known = {**load(place), **boards}
    text = json.dumps({mac: asdict(each) for mac, each in sorted(known.items())}, indent=2)
    new = place.with_name(f"{place.name}.{os.getpid()}.new")
    try:
        place.parent.mkdir(exist_ok=True)
        new.write_text(text + "\n", "utf-8")
        new.replace(place)
    except OSError as error:
        raise FieldhandError(f"{place}: {error.strerror or error}") from error
