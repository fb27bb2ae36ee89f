"""A reading on demand: who opens a device's stream wants one now (PlantNanny's document)."""

from __future__ import annotations

import asyncio
import logging
import time
from weakref import WeakKeyDictionary

from fieldhand import dialects
from fieldhand.errors import FieldhandError
from fieldhand.service.service import Service
from fieldhand.service.store.nodes import NodeRow

# A node is not asked again before: any number of streams may be opened at once.
ASK_EVERY_S = 5.0
# Who sent the command, where the list of commands says it.
CALLER = "live stream"
# Nodes whose last asking is remembered.
MAX_REMEMBERED = 10_000

_log = logging.getLogger(__name__)
_asked: WeakKeyDictionary[Service, dict[int, float]] = WeakKeyDictionary()
_under_way: set[asyncio.Task[None]] = set()


def ask(service: Service, node: NodeRow) -> None:
    """Tell the node to measure, in the background, unless it was told a moment ago.

    In the event loop. A broker that is away is logged: the stream is open all the same.
    """
    now = time.monotonic()
    asked = _asked.setdefault(service, {})
    if now - asked.get(node.id, float("-inf")) < ASK_EVERY_S:
        return
    if len(asked) >= MAX_REMEMBERED:
        asked.clear()
    asked[node.id] = now
    task = asyncio.get_running_loop().create_task(asyncio.to_thread(_send, service, node))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)


def _send(service: Service, node: NodeRow) -> None:
    commands = dialects.unbound(node.dialect).commands
    word = next((command.name for command in commands if command.action == "sample"), None)
    if word is None:
        return
    try:
        service.commands.send(node, word, {}, caller=CALLER, org=node.org)
    except (FieldhandError, RuntimeError) as error:
        _log.warning("%s was not asked for a reading: %s", node.public_id, error)
