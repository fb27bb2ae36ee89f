"""The little of TOML that Fieldhand writes: a table's heading and keys with inline values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def table(path: tuple[str, ...], content: Mapping[str, Any]) -> str:
    """`[a.b]` and a line for each key; nested tables stand inline."""
    lines = [f"[{'.'.join(key(part) for part in path)}]"]
    lines += [f"{key(name)} = {value(content[name])}" for name in content]
    return "\n".join(lines) + "\n"


def key(name: str) -> str:
    return name if _BARE.fullmatch(name) else value(name)


def value(of: Any) -> str:
    """Of what tomllib gives, dates apart. Raises TypeError for anything else."""
    if isinstance(of, bool):
        return "true" if of else "false"
    if isinstance(of, (int, float)):
        return repr(of)
    if isinstance(of, str):
        # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
        return json.dumps(of, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(of, Mapping):
        return "{ " + ", ".join(f"{key(k)} = {value(v)}" for k, v in of.items()) + " }"
    if isinstance(of, (list, tuple)):
        return "[" + ", ".join(value(entry) for entry in of) + "]"
    raise TypeError(f"{type(of).__name__} has no form in TOML here")
