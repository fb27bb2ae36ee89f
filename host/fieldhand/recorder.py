"""Notes what a fleet hears, and writes it to the record at most once a second."""

from __future__ import annotations

import atexit
import logging
import threading
from pathlib import Path

from fieldhand.received import News, NodeKey, ReceivedStore, Said, StoreError, tenant_text
from fieldhand.records import Reading, Status

# Between two writes: what a killed host forgets to have seen.
FLUSH_S = 1.0
# Ranges that wait for a disk that is full or a file that is locked; then they are given up.
MAX_UNWRITTEN = 200_000
# Numbers above are no count of readings: one a millisecond for 30,000 years.
MAX_SEQ = 10**15

_log = logging.getLogger(__name__)


class Recorder:
    """Writes in a thread of its own; thread-safe.

    `error` says why the last write failed, None where it did not. A write that fails is
    tried again with the next; it never disturbs whoever listens.
    """

    def __init__(self, path: Path, interval_s: float = FLUSH_S) -> None:
        self.path = path
        self.error: StoreError | None = None
        self._interval_s = interval_s
        self._news: dict[tuple[NodeKey, str], News] = {}
        # The last status of a node, and how many readings have come since that it may count as
        # waiting: they may have been on their way when it was sent.
        self._came_since: dict[NodeKey, tuple[str, int, int]] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._store: ReceivedStore | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def open(self) -> None:
        """Make the file now rather than with the first reading. Raises StoreError."""
        with self._writing:
            self._opened()

    def note(self, event: Reading | Status) -> None:
        """Something that a node said and somebody listens for."""
        if isinstance(event, Reading):
            self._reading(event)
        else:
            self._status(event)

    def _reading(self, event: Reading) -> None:
        """A reading reached a listener; one without a number is nobody's loss and ignored."""
        origin = event.provenance
        boot, seq = origin.boot, origin.seq
        if boot is None or seq is None or seq > MAX_SEQ:
            return
        known = event.time if origin.quality != "unknown" else None
        node = NodeKey(event.dialect, tenant_text(event.tenant), event.node)
        with self._lock:
            news = self._of(node, boot, event.received_at)
            news.arrived.add(seq, first_time=known)
            last = self._came_since.get(node)
            if last is not None and (last[0] != boot or seq <= last[1]):
                self._came_since[node] = (last[0], last[1], last[2] + 1)
        self._wake()

    def _status(self, event: Status) -> None:
        """A node said how many readings it took, and how many wait."""
        boot = event.provenance.boot
        taken = _count(event.values.get("seq"))
        if boot is None or taken is None:
            return
        node = NodeKey(event.dialect, tenant_text(event.tenant), event.node)
        said = Said(
            taken,
            _count(event.values.get("queued")) or 0,
            _count(event.values.get("dropped")),
            _count(event.values.get("unsendable")),
            _count(event.values.get("corrupt")),
            event.received_at,
            event.retained,
        )
        with self._lock:
            self._of(node, boot, event.received_at).said = said
            self._came_since[node] = (boot, taken, 0)
        self._wake()

    def flush(self) -> None:
        """Write what is noted. What cannot be written stays, and `error` says why."""
        with self._writing:
            with self._lock:
                news, self._news = self._news, {}
                for (node, boot), item in news.items():
                    if item.said is not None:
                        since = self._came_since.get(node)
                        if since is not None and since[0] == boot:
                            del self._came_since[node]
                            queued = max(0, item.said.queued - since[2])
                            item.said = item.said._replace(queued=queued)
            if not news:
                return
            try:
                self._opened().write(news)
                self.error = None
            except StoreError as error:
                if self.error is None:
                    _log.warning("what arrives is not recorded: %s", error)
                self.error = error
                self._keep(news)

    def close(self) -> None:
        """Write what is noted and end. What is noted afterwards is written at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            atexit.unregister(self.flush)
        self.flush()
        with self._writing:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _of(self, node: NodeKey, boot: str, at: float) -> News:
        news = self._news.get((node, boot))
        if news is None:
            news = self._news[node, boot] = News(at, at)
        news.last_heard = at
        return news

    def _opened(self) -> ReceivedStore:
        if self._store is None:
            self._store = ReceivedStore(self.path)
        return self._store

    def _keep(self, news: dict[tuple[NodeKey, str], News]) -> None:
        with self._lock:
            for key, old in news.items():
                newer = self._news.setdefault(key, old)
                if newer is not old:
                    newer.first_heard = old.first_heard
                    newer.said = newer.said or old.said
                    for span in old.arrived:
                        newer.arrived.add(*span)
            if sum(len(item.arrived) for item in self._news.values()) > MAX_UNWRITTEN:
                _log.error("%s: too much waits to be written: given up", self.path)
                self._news.clear()

    def _wake(self) -> None:
        if self._stop.is_set():
            self.flush()
            return
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(
                target=self._run, name="fieldhand-recorder", daemon=True
            )
            self._thread.start()
        # A program that never closes its fleet loses nothing either.
        atexit.register(self.flush)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.flush()


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEQ:
        return value
    return None
