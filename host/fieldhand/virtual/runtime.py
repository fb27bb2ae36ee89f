"""Which virtual boards run on this machine: a file each, in the user's runtime directory."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def folder() -> Path:
    """Of this user alone: FIELDHAND_RUNTIME, XDG_RUNTIME_DIR/fieldhand, or one in /tmp."""
    given = os.environ.get("FIELDHAND_RUNTIME")
    if given:
        return Path(given)
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.path.isdir(base):
        return Path(base, "fieldhand")
    return Path(tempfile.gettempdir(), f"fieldhand-{os.getuid()}")


def register(port: str, facts: dict[str, Any]) -> Path:
    """Note that a board of this process has the port `port`. Returns the file, to be removed."""
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = place / f"board-{os.getpid()}-{port.rpartition(':')[2]}.json"
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"pid": os.getpid(), "port": port, **facts}), "utf-8")
    new.replace(file)
    return file


def boards() -> list[dict[str, Any]]:
    """What is known of the boards that run: pid, port, pty, chip, flash; by port."""
    found = []
    for file in folder().glob("board-*.json"):
        try:
            facts = json.loads(file.read_text("utf-8"))
            os.kill(facts["pid"], 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)  # it was killed
            continue
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append(facts)
    return sorted(found, key=lambda facts: str(facts["port"]))


def running() -> list[str]:
    """URLs of the boards that run."""
    return [facts["port"] for facts in boards()]
