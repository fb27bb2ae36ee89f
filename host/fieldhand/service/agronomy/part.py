"""The part of the service that analyses farms while their readings come in.

A reading makes its farm due; a thread works the due ones off, each at most every
`agronomy_every_s`, and publishes the analysis live. It is not stored: it can be had again from the
readings at any time, and `GET /nodes/{node_id}/agronomy` does so.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from fieldhand.errors import FieldhandError
from fieldhand.records import Reading
from fieldhand.service import moments
from fieldhand.service.agronomy import observing
from fieldhand.service.agronomy.analysis import analyse
from fieldhand.service.agronomy.observing import DIALECT
from fieldhand.service.agronomy.results import Analysis
from fieldhand.service.arrivals import Arrival
from fieldhand.service.commands.guards import Winds
from fieldhand.service.live.hub import Hub, LiveEvent
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import readings
from fieldhand.service.store.agronomy import HOUR_S, Span
from fieldhand.service.store.database import Database, StoreError
from fieldhand.service.store.nodes import NodeRow

KIND = "agronomy_analysis"
# Farms whose two days of hours are kept at hand, some 50 KiB each; others are asked for again.
MAX_WINDOWS = 500
# After a fault of the database, before the next is tried.
RETRY_S = 5.0
STOP_S = 10.0

_log = logging.getLogger(__name__)


@dataclass
class _Window:
    """A farm's hours. `since`: all from then on has to be asked for again."""

    hours: dict[int, dict[str, Span]] = field(default_factory=dict)
    since: float | None = None


class Agronomy:
    """A part and a hook of the service. `models`: the folder of the trained models."""

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        hub: Hub,
        winds: Winds,
        models: Path,
    ) -> None:
        self.analysed = 0
        self._settings = settings
        self._database = database
        self._hub = hub
        self._winds = winds
        self._models = models
        self._changed = threading.Condition()
        # The newest reading of each farm that is due; one entry per farm, so as many as nodes.
        self._due: OrderedDict[int, tuple[NodeRow, Reading]] = OrderedDict()
        self._next: dict[int, float] = {}
        self._windows: OrderedDict[int, _Window] = OrderedDict()
        self._stopping = False
        self._thread: threading.Thread | None = None

    # -- a hook of the ingest --------------------------------------------------------------------

    def store(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        """An analysis is not stored."""

    def committed(self, arrivals: Sequence[Arrival]) -> None:
        """Note whose turn it is. Nobody listening, nothing is reckoned."""
        found = [
            (arrival, arrival.event)
            for arrival in arrivals
            if arrival.node.dialect == DIALECT and isinstance(arrival.event, Reading)
        ]
        if not found:
            return
        listening = self._hub.clients > 0
        with self._changed:
            for arrival, reading in found:
                id = arrival.node.id
                at = _at(reading)
                window = self._windows.get(id)
                if window is not None and arrival.stored:
                    window.since = at if window.since is None else min(window.since, at)
                if not listening:
                    continue
                before = self._due.get(id)
                if before is None or at >= _at(before[1]):
                    self._due[id] = (arrival.node, reading)
            self._changed.notify()

    # -- a part of the service -------------------------------------------------------------------

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="agronomy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(STOP_S)
            self._thread = None
        self._due.clear()
        self._windows.clear()

    # -- on demand -------------------------------------------------------------------------------

    def latest(self, connection: sa.Connection, node: NodeRow) -> Analysis | None:
        """The analysis at a node's latest reading; None while it has none. Raises FarmError."""
        row = readings.latest(connection, [node.id]).get(node.id)
        if row is None:
            return None
        at = row["at"]
        hours = observing.window(connection, self._database, node.id, at, None)
        return analyse(
            observing.observe(
                connection,
                self._settings,
                self._winds,
                self._models,
                node,
                at=at,
                values=row["quantities"],
                hours=hours,
                now=time.time(),
            )
        )

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while (item := self._take()) is not None:
            node, reading = item
            try:
                analysis = self._analyse(node, reading)
            except StoreError as error:
                _log.warning("no analysis of %s: %s", node.public_id, error)
                with self._changed, contextlib.suppress(KeyError):
                    del self._windows[node.id]
                self._pause()
            except FieldhandError as error:
                _log.warning("no analysis: %s", error)
            except Exception:
                _log.exception("no analysis of %s", node.public_id)
            else:
                self.analysed += 1
                event = LiveEvent(KIND, analysis.model_dump(exclude_none=True), node)
                self._hub.publish([event])

    def _take(self) -> tuple[NodeRow, Reading] | None:
        """The next farm whose time has come; None when the service stops."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                wait: float | None = None
                for id, item in self._due.items():
                    left = self._next.get(id, 0.0) - now
                    if left <= 0:
                        del self._due[id]
                        self._next[id] = now + self._settings.agronomy_every_s
                        return item
                    wait = left if wait is None else min(wait, left)
                self._changed.wait(wait)
            return None

    def _pause(self) -> None:
        with self._changed:
            if not self._stopping:
                self._changed.wait_for(lambda: self._stopping, RETRY_S)

    def _analyse(self, node: NodeRow, reading: Reading) -> Analysis:
        at = _at(reading)
        with self._database.reading() as connection:
            hours = self._hours(connection, node.id, at)
            known = observing.observe(
                connection,
                self._settings,
                self._winds,
                self._models,
                node,
                at=at,
                values=reading.quantities,
                hours=hours,
                now=time.time(),
            )
        return analyse(known)

    def _hours(self, connection: sa.Connection, id: int, at: float) -> dict[int, dict[str, Span]]:
        """The farm's two days: what has changed since the last time is asked for."""
        with self._changed:
            window = self._windows.get(id)
            if window is None:
                window = self._windows[id] = _Window(since=0.0)
                while len(self._windows) > MAX_WINDOWS:
                    self._windows.popitem(last=False)
            self._windows.move_to_end(id)
            since, window.since = window.since, None
        if since is not None:
            new = observing.window(connection, self._database, id, at, since)
            kept = int(since // HOUR_S)
            window.hours = {h: s for h, s in window.hours.items() if h < kept} | {
                hour: dict(spans) for hour, spans in new.items()
            }
        oldest = int(at // HOUR_S) - observing.WINDOW_H
        window.hours = {h: s for h, s in window.hours.items() if h >= oldest}
        return window.hours


def _at(reading: Reading) -> float:
    return moments.moment(reading.time, reading.received_at)
