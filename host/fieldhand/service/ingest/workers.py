"""MQTT to the database: a message is acknowledged when it has been committed, not before.

Each worker is one thread with one persistent session under a fixed client id. It reads what has
arrived, stores that in one transaction, acknowledges it, and reads on: under load a commit takes
many messages along, and an idle one none but the first. While it stores, it does not read, so what
comes too fast waits at the broker, not in memory here.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

from fieldhand.connection import BrokerAddress
from fieldhand.errors import BrokerUnavailable
from fieldhand.records import printable
from fieldhand.service.arrivals import Hook, Message
from fieldhand.service.ingest import sharing, takeover
from fieldhand.service.ingest.link import Link
from fieldhand.service.ingest.mqttwire import Publish
from fieldhand.service.ingest.writer import NodeTable, Prepared, Writer
from fieldhand.service.live.hub import Hub
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import nodes, progress
from fieldhand.service.store.database import Database, Silent, StoreError

RECONNECT_MIN_S = 0.5
RECONNECT_MAX_S = 30.0
# How long the database is left alone after it refused, at first and at most.
RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0
# Between the messages of a batch, so that each has an arrival of its own: two, since a float of
# today has steps of a quarter of a microsecond.
TICK_S = 2e-6
# How often an idle worker looks whether it is to end and whether a ping is due.
IDLE_S = 0.25
# A session that is to end has been silent for so long.
LEAVE_S = 2.0
# In the table of progress: how many workers there have been, at most.
WORKERS = "ingest.workers"

_log = logging.getLogger(__name__)


class Ingest:
    """All workers."""

    def __init__(
        self,
        address: BrokerAddress,
        settings: ServiceSettings,
        database: Database,
        hub: Hub,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self.nodes = NodeTable(database, settings.max_nodes)
        self._address = address
        self._settings = settings
        self._database = database
        self._hub = hub
        self._hooks = hooks
        shared = settings.group if settings.workers > 1 else None
        self._workers = [self._worker(number + 1, shared) for number in range(settings.workers)]
        self._leaving: list[Worker] = []

    def _worker(self, number: int, shared: str | None, leaves: bool = False) -> Worker:
        settings = self._settings
        return Worker(
            self._address,
            settings.client_id if number == 1 else f"{settings.client_id}-{number}",
            settings,
            Writer(self._database, settings, self.nodes, self._hub, self._hooks),
            shared=shared,
            leaves=leaves,
        )

    def start(self) -> None:
        """Connect every worker. Raises BrokerUnavailable, StoreError or sharing.NotShared."""
        settings = self._settings
        if settings.workers > 1:
            sharing.check(self._address, settings.group)
        self.nodes.load()
        with self._database.writing() as connection:
            last = nodes.last_heard(connection)
            before = progress.get(connection, WORKERS)
            progress.put(connection, self._database, WORKERS, max(settings.workers, before or 0))
        # Sessions of workers there are no more would keep their share of the messages for ever.
        self._leaving = [
            self._worker(number, settings.group, leaves=True)
            for number in range(settings.workers + 1, int(before or 0) + 1)
        ]
        try:
            for worker in [*self._workers, *self._leaving]:
                worker.away_since = last
                worker.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Store and acknowledge what has been read, then disconnect; the sessions stay."""
        workers = [*self._workers, *self._leaving]
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.join(self._settings.drain_s + IDLE_S)
        if self._leaving and all(worker.gone for worker in self._leaving):
            with contextlib.suppress(StoreError), self._database.writing() as connection:
                progress.put(connection, self._database, WORKERS, self._settings.workers)

    @property
    def connected(self) -> bool:
        """Every worker has its connection and subscriptions."""
        return all(worker.connected for worker in self._workers)

    @property
    def trouble(self) -> str | None:
        """Why nothing is stored at present, None while all is well."""
        return next((worker.trouble for worker in self._workers if worker.trouble), None)

    @property
    def counts(self) -> Counter[str]:
        """What came in since the start: messages, reading, status, invalid, duplicate ..."""
        total: Counter[str] = Counter()
        for worker in [*self._workers, *self._leaving]:
            total.update(dict(worker.counts))
            total.update(dict(worker.writer.counts))
        return total

    @property
    def lag_s(self) -> float:
        """From the arrival of the oldest message of the last batch to its commit."""
        return max(worker.lag_s for worker in self._workers)

    @property
    def behind_s(self) -> float:
        """How long what has been read waits to be stored by now; 0.0 while nothing does."""
        since = min((w.since for w in self._workers if w.since is not None), default=None)
        return 0.0 if since is None else max(0.0, time.time() - since)


class Worker:
    """One session and the thread that serves it.

    `shared` is the group whose messages it has a part of. One that `leaves` stores what waits in
    its session, and ends that.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        settings: ServiceSettings,
        writer: Writer,
        shared: str | None = None,
        leaves: bool = False,
    ) -> None:
        self.client_id = client_id
        self.writer = writer
        self.counts: Counter[str] = Counter()
        self.lag_s = 0.0
        # When the last message was read.
        self._last = 0.0
        # When the batch in hand was read.
        self.since: float | None = None
        self.trouble: str | None = None
        # When the log was told of it.
        self._told_at: float | None = None
        self._settings = settings
        # Since when nobody has listened; None: it is not known.
        self.away_since: float | None = None
        self.gone = False
        self._leaves = leaves
        plain = _filters(writer)
        group = shared or settings.group
        parts = {f"$share/{group}/{topic}": qos for topic, qos in plain.items()}
        wanted = parts if shared is not None else plain
        other = plain if shared is not None else parts
        self._link = Link(
            address,
            client_id,
            {} if leaves else wanted,
            settings.max_payload,
            not_filters=[*plain, *parts] if leaves else [*other],
        )
        self._takeovers = takeover.Takeovers()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        return self._link.up

    def start(self) -> None:
        """Connect and subscribe, then go on in a thread. Raises BrokerUnavailable."""
        self._connect()
        self._thread = threading.Thread(target=self.run, name=self.client_id, daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def join(self, timeout: float) -> None:
        if self._thread is None:
            self._link.close()
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            _log.warning(
                "%s did not end within %g s; what it had not stored stays at the broker",
                self.client_id,
                timeout,
            )

    # -- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the end is asked for; by `start` in a thread."""
        wait = RECONNECT_MIN_S
        while not self._stopping.is_set():
            try:
                if not self._link.up:
                    self._connect()
                    self._recovered("connected again")
                while not self._stopping.is_set():
                    self._settle()
                    if not self._turn(LEAVE_S if self._leaves else IDLE_S) and self._leaves:
                        self._link.forget()
                        self.gone = True
                        return
            except BrokerUnavailable as error:
                self.away_since = self.away_since or time.time()
                lasted = self._link.session_s
                known = self._taken
                self._takeovers.ended(lasted, self._link.closed_by_broker, time.monotonic())
                if self._taken and not known:
                    self._told_at = None
                self._in_trouble(f"{error}; {self._taken}" if self._taken else str(error))
                if lasted is not None and lasted >= takeover.STEADY_S:
                    wait = RECONNECT_MIN_S
                self._stopping.wait(random.uniform(0, wait))
                wait = min(wait * 2, RECONNECT_MAX_S)
            except Exception:
                # Nothing is known to come here; a worker that ends would be worse.
                _log.exception("%s failed, and goes on", self.client_id)
                self._link.close()
                self._stopping.wait(RECONNECT_MIN_S)
        self._finish()

    def _connect(self) -> None:
        self._link.connect(lambda: not self._stopping.is_set())
        if self.away_since is not None:
            self.writer.flood.grant(time.time() - self.away_since)
            self.away_since = None

    def _turn(self, timeout: float) -> int:
        """Wait for something to read, store and acknowledge it; returns how many messages."""
        packets = self._link.read(self._settings.batch_rows, timeout)
        self._tell_of_floods()
        if not packets:
            return 0
        now = self._last = max(time.time(), self._last + TICK_S)
        messages = []
        for packet in packets:
            messages.append(self._message(packet, self._last))
            self._last += TICK_S
        self.counts["messages"] += len(messages)
        self.since = now
        try:
            stored = self._store(self.writer.prepare(messages))
        finally:
            self.since = None
        if stored:
            self.lag_s = time.time() - now
            self._link.acknowledge([p.mid for p in packets if p.qos])
        return len(messages)

    def _message(self, packet: Publish, at: float) -> Message:
        delivery = (self.client_id, packet.mid) if packet.qos else None
        topic = packet.topic or "?"
        return Message(
            topic, packet.payload, packet.size, packet.retained, packet.dup, at, delivery
        )

    def _store(self, prepared: Prepared) -> bool:
        """Store it, however long it takes; False when the end was asked for before."""
        wait = RETRY_MIN_S
        while True:
            try:
                self.writer.write(prepared)
            except StoreError as error:
                # That a database is silent is told by whoever watches it.
                self._in_trouble(str(error), told=isinstance(error, Silent))
            else:
                self._recovered("stores again")
                return True
            if self._stopping.wait(wait):
                return False
            wait = min(wait * 2, RETRY_MAX_S)
            # The broker is to know that we are here, and to keep the rest.
            with contextlib.suppress(BrokerUnavailable):
                self._link.keep_alive()

    def _finish(self) -> None:
        """Take what is on its way already, then go; the broker keeps the session."""
        deadline = time.monotonic() + self._settings.drain_s
        with contextlib.suppress(BrokerUnavailable):
            while self._link.up and time.monotonic() < deadline and self._turn(0):
                pass
        self._link.close(politely=True)

    def _tell_of_floods(self) -> None:
        for whose, flood in self.writer.flood.over(time.time()):
            seconds = flood.last - flood.began
            _log.warning(
                "a flood of %s is over: %d messages were dropped in %.0f s",
                *(printable(str(whose)), flood.dropped, seconds),
            )

    def _in_trouble(self, reason: str, told: bool = False) -> None:
        """Say it once, however often it is tried."""
        if self.trouble is None:
            self.counts["outages"] += 1
        self.trouble = reason
        if not told and self._told_at is None:
            self._told_at = time.monotonic()
            _log.warning("%s: %s; trying again", self.client_id, reason)

    @property
    def _taken(self) -> str:
        """What is to be done about a session that others take, where that is suspected."""
        if not self._takeovers.suspected:
            return ""
        return (
            f"another client probably uses the id '{self.client_id}':"
            " give each service its own client_id"
        )

    def _settle(self) -> None:
        """A session that others took again and again is ours again once it has lasted."""
        if self._takeovers.suspected and (self._link.session_s or 0.0) >= takeover.STEADY_S:
            self._takeovers.forget()
            self._recovered("nobody else takes the session any more")

    def _recovered(self, what: str) -> None:
        if self._taken:
            self.trouble = self._taken
            return
        if self._told_at is not None:
            after = time.monotonic() - self._told_at
            _log.warning("%s: %s after %.0f s", self.client_id, what, after)
        self.trouble = self._told_at = None


def _filters(writer: Writer) -> dict[str, int]:
    """Topic filter -> QoS, of all that a host listens to."""
    filters: dict[str, int] = {}
    for dialect in writer.inbound.dialects:
        for topic, qos in dialect.subscriptions("host"):
            filters[topic] = max(qos, filters.get(topic, 0))
    return filters
