"""What a broker has to know of a fleet: who may log in, and which topics are whose.

The password file has the form of mosquitto_passwd 2.0, mosquitto-passwd(5) and
`src/password_mosq.c` there: `user:$7$iterations$salt$hash`, PBKDF2-HMAC-SHA512, base64. The access
list is that of mosquitto.conf(5), `acl_file`: a node may publish and hear what its dialect's tables
say it does, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

from fieldhand import dialects
from fieldhand.errors import ConfigError
from fieldhand.fleetfile import FleetFile, NodeConfig
from fieldhand.provisioning import credentials, gitguard

KINDS = ("mosquitto",)
# mosquitto_passwd's own. Guessing 160 random bits is not made harder by more, a login slower.
_ITERATIONS = 101
_SALT_BYTES = 12
_NAMED = 5  # of the nodes that lack something


def users(file: FleetFile) -> dict[str, str]:
    """Name -> password of every node and of the host, [broker] user.

    Raises ConfigError naming the nodes that have no credentials of their own, and when no user is
    there for the host: nobody could watch the fleet.
    """
    problems = []
    without = []
    found: dict[str, str] = {}
    made = credentials.load(credentials.path_for(file.path))
    if file.broker.user is None or file.broker.secret is None:
        problems.append("[broker] user and password: required, or no host is let in to the broker")
    else:
        found[file.broker.user] = file.broker.secret.value()
    for node in file.nodes.values():
        user, password = credentials.of(node, made)
        if user is None or password is None:
            without.append(node.name)
        elif found.setdefault(user, password) != password:
            problems.append(f"[node.{node.name}]: another has the user '{user}' and its password")
    if without:
        names = ", ".join(without[:_NAMED]) + (" ..." if len(without) > _NAMED else "")
        problems.append(
            f"{len(without)} nodes have no credentials: {names}: 'fieldhand provision --all'"
        )
    if problems:
        raise ConfigError(str(file.path), problems)
    return found


def passwords(of: Mapping[str, str]) -> str:
    """The password file of these users. The same users give the same bytes."""
    return "".join(f"{user}:{_hashed(of[user])}\n" for user in sorted(of))


def _hashed(password: str) -> str:
    # A salt from the password itself: it is random, and as long as it stays so does the file.
    salt = hmac.digest(password.encode(), b"mosquitto salt", "sha512")[:_SALT_BYTES]
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    fields = (base64.b64encode(salt).decode(), base64.b64encode(key).decode())
    return f"$7${_ITERATIONS}${fields[0]}${fields[1]}"


def access_list(file: FleetFile) -> str:
    """The ACL file: a section for the host, who may do all, and one for each node's user."""
    lines = [f"user {file.broker.user}", "topic readwrite #"]
    made = credentials.load(credentials.path_for(file.path))
    for node in file.nodes.values():
        lines += ["", f"# {node.name}, {node.dialect}", f"user {credentials.of(node, made)[0]}"]
        writes, reads = topics(node)
        lines += [f"topic write {topic}" for topic in writes]
        lines += [f"topic read {topic}" for topic in reads]
    return "\n".join(lines) + "\n"


def topics(node: NodeConfig) -> tuple[list[str], list[str]]:
    """The topics a node publishes on, and those it listens to."""
    dialect = dialects.load(node.dialect, node.options)
    writes = [dialect.topic(m, node.name) for m in dialect.messages if m.sender == "node"]
    reads = [topic for topic, _ in dialect.subscriptions("node", node.name)]
    return list(dict.fromkeys(writes)), list(dict.fromkeys(reads))


def write_mosquitto(file: FleetFile, folder: Path) -> list[Path]:
    """Write `passwd`, `acl` and `fieldhand.conf`, which names them; returns their paths.

    Readable by their owner only. Raises ConfigError as `users`, FieldhandError when git sees them.
    """
    allowed = passwords(users(file))
    named = [folder / name for name in ("passwd", "acl", "fieldhand.conf")]
    for path in named:
        gitguard.refuse_if_seen(path)
    conf = (
        "# For mosquitto.conf: include_dir, or copy these lines.\n"
        "allow_anonymous false\n"
        f"password_file {named[0].absolute()}\n"
        f"acl_file {named[1].absolute()}\n"
    )
    for path, text in zip(named, (allowed, access_list(file), conf), strict=True):
        credentials.write_private(path, text.encode())
    return named
