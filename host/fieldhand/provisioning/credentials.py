"""What a node proves itself with: made here, strong, kept in one file that git does not see.

The file is `.fieldhand/credentials.json` beside the fleet file, mode 0600:

    {"version": 1, "nodes": {"greenhouse": {"user": ..., "password": ..., "code": ...}}}

`user` and `password` are MQTT's; the user is the node's id, so that a broker's access list can name
it. `code` is for a person to type when the node is taken over. Both come from `secrets`.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fieldhand.errors import ConfigError, FieldhandError
from fieldhand.provisioning import gitguard, pairing

if TYPE_CHECKING:
    from fieldhand.fleetfile import NodeConfig

FOLDER = ".fieldhand"
NAME = "credentials.json"
VERSION = 1
PASSWORD_BITS = 160
# A password file separates with ":", a QR code too, and each has one line for each node.
_UNFIT = ":\n\r\t"


@dataclass(frozen=True)
class Credentials:
    """Of one node. What is secret is not in its repr, which may end up in a log."""

    user: str
    password: str = field(repr=False)
    code: str = field(repr=False)


def path_for(fleet_file: Path) -> Path:
    """Where the credentials of this fleet file's nodes are."""
    return fleet_file.absolute().parent / FOLDER / NAME


def make(node: str) -> Credentials:
    """New ones for `node`. Raises FieldhandError for an id that cannot be a user's name."""
    if any(letter in _UNFIT for letter in node) or not node.isprintable():
        raise FieldhandError(
            f"node '{node}': an id with a colon or a control character cannot be a user's name "
            "at a broker: rename the node"
        )
    return Credentials(node, secrets.token_urlsafe(PASSWORD_BITS // 8), pairing.make())


def load(path: Path) -> dict[str, Credentials]:
    """All that are kept, by node; empty when there is no file. Raises ConfigError."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(str(path), [error.strerror or str(error)]) from error
    except ValueError as error:
        raise ConfigError(
            str(path), ["is damaged: put a copy back, or remove it and make new ones"]
        ) from error
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        raise ConfigError(str(path), [f"is not a credentials file of version {VERSION}"])
    found = {}
    problems = []
    nodes = raw.get("nodes")
    for node, entry in nodes.items() if isinstance(nodes, dict) else ():
        keys = ("user", "password", "code")
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(key), str) and entry[key] for key in keys
        ):
            problems.append(f"node '{node}': needs {', '.join(keys)}")
        else:
            found[node] = Credentials(*(entry[key] for key in keys))
    if problems:
        raise ConfigError(str(path), problems)
    return found


def provide(path: Path, nodes: Iterable[str], *, renew: bool = False) -> list[str]:
    """See that each of `nodes` has credentials; returns those that got new ones.

    What is there is kept unless `renew`. Written whole or not at all. Raises ConfigError for a
    damaged file, FieldhandError when git sees it or it cannot be written.
    """
    kept = load(path)
    made = {node: make(node) for node in nodes if renew or node not in kept}
    if made:
        gitguard.refuse_if_seen(path)
        save(path, kept | made)
    return list(made)


def of(node: NodeConfig, made: Mapping[str, Credentials]) -> tuple[str | None, str | None]:
    """MQTT user and password of a node's own: those its table names, else those that were made.

    (None, None) without. Raises ConfigError when the password it refers to is unset.
    """
    if node.mqtt_user is not None:
        return node.mqtt_user, node.mqtt_secret.value() if node.mqtt_secret else None
    own = made.get(node.name)
    return (own.user, own.password) if own is not None else (None, None)


def save(path: Path, all_of_them: Mapping[str, Credentials]) -> None:
    """Put these in place of all there is. Raises FieldhandError."""
    document = {
        "version": VERSION,
        "nodes": {node: asdict(all_of_them[node]) for node in sorted(all_of_them)},
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    write_private(path, text.encode())


def write_private(path: Path, content: bytes) -> None:
    """A file only its owner reads, whole or not at all. Raises FieldhandError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise FieldhandError(f"{error.filename or path}: {error.strerror or error}") from error
