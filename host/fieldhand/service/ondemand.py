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
PUBLISH_TIMEOUT_S = 5.0
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
    task = asyncio.get_running_loop().create_task(asyncio.to_thread(_publish, service, node))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)


def _publish(service: Service, node: NodeRow) -> None:
    options = {**node.options, **node.tenant}
    try:
        dialect = dialects.load(node.dialect, options, node.extras)
        word = next((c.name for c in dialect.commands if c.action == "sample"), None)
        if word is not None:
            service.publish(dialect.encode_command(node.name, word, {}), PUBLISH_TIMEOUT_S)
    except (FieldhandError, RuntimeError, ValueError) as error:
        _log.warning("%s was not asked for a reading: %s", node.public_id, error)
