"""Readings to an InfluxDB as they are stored: line protocol, written by InfluxData's client.

A point is: measurement = the dialect; tags = `node` and the tenant (org, company); fields = the
canonical quantities; time = the node's, or when the reading came in. `fieldhand export` makes a
Grafana dashboard and a Telegraf configuration of the same shape. A reading that comes twice writes
the same point again.

InfluxDB is never waited for: what it does not take stays in a bounded queue, and what that does not
hold is dropped, oldest first, and counted. The database here has it all the same.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from fieldhand.influxurl import InfluxUrl
from fieldhand.records import Reading
from fieldhand.service import moments
from fieldhand.service.arrivals import Arrival

# Points of one write, and how long the first of them waits for others.
BATCH_POINTS = 5_000
FLUSH_S = 1.0
TIMEOUT_S = 10.0
RETRY_MIN_S = 0.5
RETRY_MAX_S = 30.0
# Milliseconds: the finest a node's clock gives.
PRECISION = "ms"

_log = logging.getLogger(__name__)


class InfluxError(Exception):
    """A write that failed. `final`: trying again is of no use; `lost` points are, None: all."""

    def __init__(
        self, reason: str, final: bool = False, lost: int | None = None, wait_s: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.final = final
        self.lost = lost
        self.wait_s = wait_s


class Waiting(NamedTuple):
    """A reading in the queue."""

    dialect: str
    tags: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, float], ...]
    time_ms: int


class InfluxBridge:
    """A part and a hook of the service. `counts`: written, dropped, refused, writes, retries."""

    COUNTED = {
        "written": "readings InfluxDB has taken",
        "dropped": "readings the queue had no room for, or that waited at the end",
        "refused": "readings InfluxDB would not have",
        "writes": "requests it has answered",
        "retries": "requests that failed and were made again",
    }

    def __init__(self, url: str, token: str = "", queue: int = 50_000, drain_s: float = 10) -> None:
        self.target = InfluxUrl.of(url)
        self.counts: Counter[str] = Counter()
        self.trouble: str | None = None
        self._drain_s = drain_s
        self._limit = queue
        self._queue: deque[Waiting] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        target = self.target
        # Without a token none is sent: 1.x asks for none.
        given: dict[str, Any] = {"token": token or None, "org": target.org}
        self._client = InfluxDBClient(
            target.url, timeout=int(TIMEOUT_S * 1000), retries=urllib3.Retry(0), **given
        )
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)
        self._headers = {"Content-Type": "text/plain; charset=utf-8"}
        if target.user is not None:
            basic = urllib3.make_headers(basic_auth=f"{target.user}:{target.password or ''}")
            self._headers["Authorization"] = basic["authorization"]

    # -- from the ingest -------------------------------------------------------------------------

    def store(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        """Nothing of its own is stored."""

    def committed(self, arrivals: Sequence[Arrival]) -> None:
        # Those that came twice as well: a kill between commit and write sends them again.
        found = [
            waiting(arrival.event)
            for arrival in arrivals
            if arrival.stored and isinstance(arrival.event, Reading) and arrival.event.quantities
        ]
        if not found:
            return
        with self._lock:
            self._queue.extend(found)
            over = len(self._queue) - self._limit
            for _ in range(over):
                self._queue.popleft()
        if over > 0:
            self.counts["dropped"] += over
        self._wake.set()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="fieldhand-influx", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, for `drain_s` at most; the rest is dropped and counted."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(self._drain_s + TIMEOUT_S)
        left = len(self._queue)
        if left:
            self.counts["dropped"] += left
            _log.warning("%d readings were not written to InfluxDB", left)
        self._client.close()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            # Others come soon after the first.
            if len(self._queue) < BATCH_POINTS:
                self._stopping.wait(FLUSH_S)
            self._empty(self._stopping.is_set, None)
        # One that was away already gets one more chance.
        patience = self._drain_s if self.trouble is None else min(self._drain_s, RETRY_MIN_S)
        self._empty(lambda: False, time.monotonic() + patience)

    def _empty(self, give_up: Any, deadline: float | None) -> None:
        """Write until nothing waits, however often it takes."""
        wait = RETRY_MIN_S
        while self._queue and not give_up():
            if deadline is not None and time.monotonic() > deadline:
                return
            with self._lock:
                batch = [self._queue.popleft() for _ in range(min(BATCH_POINTS, len(self._queue)))]
            try:
                self._write([line(item) for item in batch])
            except InfluxError as error:
                if error.final:
                    lost = len(batch) if error.lost is None else min(error.lost, len(batch))
                    self.counts["refused"] += lost
                    self.counts["written"] += len(batch) - lost
                    _log.warning("InfluxDB refused %d readings: %s", lost, error)
                    continue
                self._put_back(batch)
                self._failed(str(error))
                pause = max(error.wait_s, random.uniform(wait / 2, wait))
                if deadline is not None:
                    time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
                else:
                    self._stopping.wait(pause)
                wait = min(wait * 2, RETRY_MAX_S)
            else:
                wait = RETRY_MIN_S
                self.counts["written"] += len(batch)
                self._recovered()

    def _put_back(self, batch: list[Waiting]) -> None:
        with self._lock:
            room = max(0, self._limit - len(self._queue))
            kept = batch[len(batch) - room :] if room < len(batch) else batch
            self._queue.extendleft(reversed(kept))
        self.counts["dropped"] += len(batch) - len(kept)

    def _failed(self, reason: str) -> None:
        self.counts["retries"] += 1
        if self.trouble is None:
            self.trouble = reason
            _log.warning("InfluxDB at %s: %s; trying again", self.target, reason)

    def _recovered(self) -> None:
        if self.trouble is not None:
            self.trouble = None
            _log.warning(
                "InfluxDB at %s takes readings again; %d were dropped so far",
                self.target,
                self.counts["dropped"],
            )

    def _write(self, lines: list[str]) -> None:
        """One request. Raises InfluxError."""
        target = self.target
        try:
            if target.database is not None:
                # The client writes to 2.x; 1.x before 1.8 has this route only.
                query = [("db", target.database), ("precision", PRECISION)]
                if target.policy is not None:
                    query.append(("rp", target.policy))
                self._client.api_client.call_api(
                    "/write",
                    "POST",
                    query_params=query,
                    header_params=dict(self._headers),
                    body="\n".join(lines),
                )
            else:
                where: dict[str, Any] = {"bucket": target.bucket, "write_precision": PRECISION}
                self._writer.write(record="\n".join(lines), **where)
        except ApiException as error:
            raise _explained(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise InfluxError(_reason(error)) from error
        self.counts["writes"] += 1


def waiting(reading: Reading) -> Waiting:
    """A reading as it waits."""
    # The node's own time, even if a little ahead: points of one moment would be one.
    told = reading.time if moments.credible(reading.time, reading.received_at) else None
    at = reading.received_at if told is None else float(told)
    tags = (("node", reading.node), *sorted(reading.tenant.items()))
    fields = tuple((name, float(value)) for name, value in reading.quantities.items())
    return Waiting(reading.dialect, tags, fields, int(at * 1000))


def line(item: Waiting) -> str:
    """A line of line protocol."""
    point = Point(item.dialect)
    for name, value in item.tags:
        point.tag(name, _tag(value))
    for name, number in item.fields:
        point.field(_tag(name), number)
    text: str = point.time(item.time_ms, PRECISION).to_line_protocol()
    return text


def _tag(text: str) -> str:
    # Line protocol has no way to write a backslash at the end: it would escape what follows.
    return text + "_" if text.endswith("\\") else text


def _explained(error: ApiException) -> InfluxError:
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body
    lines = str(body or error.reason or "").strip().splitlines()
    reason = f"HTTP {error.status}: {lines[0][:300] if lines else 'no reason given'}"
    # A database that is not there yet, a token that is wrong: somebody may put it right.
    final = error.status in (400, 413, 422)
    dropped = re.search(r"\bdropped=(\d+)", reason)
    lost = int(dropped[1]) if dropped else None
    headers: Mapping[str, str] = error.headers or {}
    retry_after = str(headers.get("Retry-After", ""))
    wait_s = min(float(retry_after), RETRY_MAX_S) if retry_after.isdecimal() else 0.0
    return InfluxError(reason, final, lost, wait_s)


def _reason(error: BaseException) -> str:
    cause = getattr(error, "reason", None) or error
    text = str(cause)
    return text.split(": ", 1)[-1] if text.startswith("<") else text
