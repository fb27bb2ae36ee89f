"""Secrets by reference: `"${WIFI_PASSWORD}"` in a committed file, the value elsewhere.

The environment is asked first, then the `.env` file beside the file that holds the reference.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from fieldhand.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


@dataclass(frozen=True)
class Secret:
    """A reference to a secret: the variable's name, and the folder whose `.env` is asked."""

    name: str
    folder: Path

    def value(self) -> str:
        """The secret itself. Raises ConfigError when it is nowhere set."""
        found = os.environ.get(self.name)
        if found is None:
            found = read_env(self.folder / ".env").get(self.name)
        if not found:
            raise ConfigError(
                str(self.folder / ".env"),
                [f"{self.name} is not set: neither here nor in the environment"],
            )
        return found


def parse(text: str, folder: Path) -> Secret | None:
    """The reference that `text` is, or None when it is something else."""
    match = _REFERENCE.fullmatch(text)
    return Secret(match[1], folder) if match else None


def read_env(path: Path) -> dict[str, str]:
    """The variables of a `.env` file; empty when there is none. Raises ConfigError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from error
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            # The line itself may be half a secret: it is not repeated.
            problems.append(f"line {number}: is not NAME=value")
            continue
        value = match[2].strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[match[1]] = value
    if problems:
        raise ConfigError(str(path), problems)
    return found
