"""What the service logs, and how: lines for a person, or JSON objects for a machine.

A line about a node or a command names it by its id: `log.info(..., extra={"node": ...,
"command": ...})`. `Journal` logs what nodes tell of themselves.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

import sqlalchemy as sa

from fieldhand.records import Alert, NodeEvent, Status, in_words, printable
from fieldhand.service.arrivals import Arrival

# What a line may name beside its text.
IDS = ("node", "command")
# What nodes say that is logged.
TOLD = (Alert, NodeEvent, Status)
# Lines about nodes in one second; a fleet that all comes back at once is a number then.
MAX_NODE_LINES = 50
# Libraries whose every step is of no interest.
CHATTY = ("amqtt", "transitions", "alembic", "asyncio", "uvicorn")

FORMS = ("auto", "text", "json")
LEVELS = ("debug", "info", "warning", "error")

_log = logging.getLogger(__name__)


def configure(form: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Log to `stream`, stderr unless said. `form`: text, json, or auto: text on a terminal."""
    out = sys.stderr if stream is None else stream
    as_json = form == "json" or (form == "auto" and not out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, node, command, error.

    `error` is a traceback, where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in IDS:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = str(value)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One line for a person; what a stranger called himself cannot break it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


class Journal:
    """A hook that logs alerts, events and changes of state, each with its node's id."""

    def __init__(self, clock: Any = time.monotonic) -> None:
        self._clock = clock
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def store(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        """Nothing of its own is stored."""

    def committed(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            if isinstance(arrival.event, TOLD) and arrival.fresh and not arrival.retained:
                self._tell(arrival)

    def _tell(self, arrival: Arrival) -> None:
        event, of = arrival.event, arrival.node.public_id
        if isinstance(event, Alert):
            where = f" ({event.sensor})" if event.sensor else ""
            text = f"{event.severity} alert {event.state}{where}: {event.message}"
        elif isinstance(event, NodeEvent):
            text = in_words(event)
        elif isinstance(event, Status):
            text = f"says it is {event.state}"
        else:  # not one of TOLD
            return
        if self._may():
            _log.info("%s: %s", of, text, extra={"node": of})

    def _may(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            if self._left_out:
                _log.info("%d more lines about nodes in that second", self._left_out)
            self._second, self._lines, self._left_out = second, 0, 0
        self._lines += 1
        if self._lines > MAX_NODE_LINES:
            self._left_out += 1
            return False
        return True
