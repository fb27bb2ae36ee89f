"""Reading a user's TOML table: every wrong key and value is noted, none ends the reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fieldhand.errors import did_you_mean

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)")
_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
_MISSING = object()


class Table:
    """One table of a file. `where` is its name as the user wrote it, "[node.greenhouse]".

    Each reader takes a key, checks it and returns its value, or the default when it is absent or
    wrong; what is wrong goes into `problems`, shared by all tables of the file. `close()` notes
    the keys nobody asked for.
    """

    def __init__(self, problems: list[str], where: str, data: Mapping[str, Any]) -> None:
        self.problems = problems
        self.where = where
        self.data = data
        self._asked: set[str] = set()

    def problem(self, key: str, text: str) -> None:
        """Note what is wrong with a key ("" for the table as a whole)."""
        place = " ".join(part for part in (self.where, key) if part)
        self.problems.append(f"{place}: {text}")

    def raw(self, key: str, default: Any = None) -> Any:
        self._asked.add(key)
        return self.data.get(key, default)

    def text(self, key: str, default: str | None = None, required: bool = False) -> str | None:
        value = self._get(key, required)
        if value is _MISSING:
            return default
        if not isinstance(value, str) or not value:
            self.problem(key, f"{_shown(value)} is not a text in quotes")
            return default
        return value

    def choice(self, key: str, known: Iterable[str], default: str | None = None) -> str | None:
        value = self.text(key, default, required=default is None)
        known = list(known)
        if value is not None and value not in known:
            self.problem(
                key, f"unknown '{value}'{did_you_mean(value, known)}; allowed: {', '.join(known)}"
            )
            return None
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, False)
        if value is _MISSING:
            return default
        if not isinstance(value, bool):
            self.problem(key, f"{_shown(value)} is not true or false")
            return default
        return value

    def whole(self, key: str, default: int, lo: int, hi: int) -> int:
        value = self._get(key, False)
        if value is _MISSING:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not lo <= value <= hi:
            self.problem(key, f"{_shown(value)} is not a whole number from {lo} to {hi}")
            return default
        return value

    def duration(self, key: str, default_ms: int, lo_ms: int, hi_ms: int) -> int:
        """Milliseconds of "30s", "500ms", "5min", "1h", or of a number of seconds."""
        value = self._get(key, False)
        if value is _MISSING:
            return default_ms
        ms = _milliseconds(value)
        if ms is None:
            self.problem(key, f'{_shown(value)} is not a time such as "30s", "500ms" or "5min"')
            return default_ms
        if not lo_ms <= ms <= hi_ms:
            self.problem(key, f"{_shown(value)} is not from {_spell(lo_ms)} to {_spell(hi_ms)}")
            return default_ms
        return ms

    def table(self, key: str, where: str | None = None) -> Table | None:
        """A table inside this one, or None."""
        value = self._get(key, False)
        if value is _MISSING:
            return None
        name = where or f"{self.where} {key}"
        if not isinstance(value, dict):
            self.problem(key, f"{_shown(value)} is not a table")
            return None
        return Table(self.problems, name, value)

    def tables(self, key: str) -> list[Table]:
        """The tables of an array, named by their place: "sensors[0]"."""
        value = self._get(key, False)
        if value is _MISSING:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.problem(key, 'is not a list of tables, such as [{type = "dht22", pin = 4}]')
            return []
        return [
            Table(self.problems, f"{self.where} {key}[{i}]", item) for i, item in enumerate(value)
        ]

    def close(self) -> None:
        """Note every key that no reader asked for."""
        for key in self.data:
            if key not in self._asked:
                allowed = ", ".join(sorted(self._asked)) or "nothing"
                self.problem(
                    key, f"unknown key{did_you_mean(key, self._asked)}; allowed: {allowed}"
                )

    def _get(self, key: str, required: bool) -> Any:
        self._asked.add(key)
        if key not in self.data and required:
            self.problem(key, "is required")
        return self.data.get(key, _MISSING)


def _milliseconds(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return round(value * 1000) if value == value and abs(value) < 1e9 else None
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return round(float(match[1]) * _MS[match[2]]) if match else None


def _spell(ms: int) -> str:
    for unit in ("h", "min", "s"):
        if ms >= _MS[unit] and ms % _MS[unit] == 0:
            return f"{ms // _MS[unit]}{unit}"
    return f"{ms}ms"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
