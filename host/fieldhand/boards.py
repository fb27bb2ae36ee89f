"""The boards Fieldhand knows: one TOML file each, in `boards/`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from fieldhand import paths
from fieldhand.errors import FieldhandError, did_you_mean


@dataclass(frozen=True)
class Board:
    """Pins are GPIO numbers. `defaults` says which pin serves a purpose nobody named a pin for."""

    name: str
    title: str
    chip: str
    usable: frozenset[int]
    flash: frozenset[int]
    input_only: frozenset[int]
    adc1: frozenset[int]
    strapping: frozenset[int]
    console: frozenset[int]
    defaults: Mapping[str, Any]

    @property
    def simulated(self) -> bool:
        return self.chip == "sim"


@cache
def names() -> tuple[str, ...]:
    """The boards there are, sorted."""
    return tuple(sorted(path.stem for path in paths.boards().glob("*.toml")))


@cache
def load(name: str) -> Board:
    """The board called `name`. Raises FieldhandError for an unknown one."""
    if name not in names():
        raise FieldhandError(
            f"unknown board '{name}'{did_you_mean(name, names())}; boards: {', '.join(names())}"
        )
    with (paths.boards() / f"{name}.toml").open("rb") as file:
        data = tomllib.load(file)
    pins = data["pins"]
    return Board(
        name=data["name"],
        title=data["title"],
        chip=data["chip"],
        usable=frozenset(pins["usable"]),
        flash=frozenset(pins["flash"]),
        input_only=frozenset(pins["input_only"]),
        adc1=frozenset(pins["adc1"]),
        strapping=frozenset(pins["strapping"]),
        console=frozenset(pins["console"]),
        defaults=MappingProxyType(data["defaults"]),
    )
