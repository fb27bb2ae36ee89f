"""A database that stops: nothing that the broker acknowledged is lost, and what it takes after.

    python tools/bench_service.py --outage 60

Debian's PostgreSQL under a steady load: first it is stopped, so that it refuses connections, then
all its processes are paused, so that it neither refuses nor answers; each for so many seconds.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.error import URLError

from bench_crowd import status_of
from mosquitto import Mosquitto
from postgres import Postgres, folder_of_programs
from service_load import BROKER_LINES, DRAIN_S, Load, Served, kept, memory, rows, serving

from fieldhand.service.store.database import Database

NODES = 100
RATE = 200.0
BEFORE_S = 10.0
AFTER_S = 10.0
LOOK_S = 0.25
# Neither waits for a database that hangs.
LOOK_WAIT_S = 5.0


@contextlib.contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


class Watcher:
    """Looks at the service all the time: when it was not ready, and what it used."""

    def __init__(self, served: Served) -> None:
        self.unready_at: float | None = None
        self.ready_at: float | None = None
        self.unhealthy = 0
        self.most_mb = 0.0
        self._served = served
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.most_mb = max(self.most_mb, memory(self._served.pid).total)
            self.unhealthy += not self._is_well("/healthz")
            if not self._is_well("/readyz"):
                self.unready_at = self.unready_at or time.monotonic()
                self.ready_at = None
            elif self.unready_at is not None and self.ready_at is None:
                self.ready_at = time.monotonic()

    def _is_well(self, path: str) -> bool:
        try:
            return status_of(self._served.url + path, LOOK_WAIT_S) == 200
        except (URLError, TimeoutError):
            return False


def outage(how: str, seconds: float) -> dict[str, Any]:
    server = Postgres()
    with (
        contextlib.closing(server),
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(persistent=False, extra=BROKER_LINES, log_types="error") as broker,
    ):
        server.start()
        with serving(folder, broker, server.url()) as served:
            load = Load(broker, NODES, RATE)
            time.sleep(BEFORE_S)
            before = memory(served.pid)
            watcher = Watcher(served)
            with stopped(server) if how == "stopped" else server.paused():
                began = time.monotonic()
                time.sleep(seconds)
            back, waiting = time.monotonic(), load.sent
            caught_up = _caught_up(load, served)
            time.sleep(AFTER_S)
            load.stop()
            result = kept(load, served.database)
            watcher.stop()
            found = {
                "database": how,
                "seconds": round(back - began, 1),
                "readings_per_s": RATE,
                "sent_meanwhile": waiting - round(BEFORE_S * RATE),
                "accepted": load.accepted,
                **result._asdict(),
                "unready_after_s": _since(watcher.unready_at, began),
                "ready_again_after_s": _since(watcher.ready_at, back),
                "caught_up_after_s": _since(caught_up, back),
                "healthz_failed": watcher.unhealthy,
                "mb_before": round(before.total, 1),
                "mb_at_most": round(watcher.most_mb, 1),
            }
    return found


def _caught_up(load: Load, served: Served) -> float | None:
    """When no more was waiting than comes in a second."""
    database = Database(served.database)
    deadline = time.monotonic() + DRAIN_S
    with contextlib.closing(database):
        while time.monotonic() < deadline:
            if rows(database) >= load.accepted - RATE:
                return time.monotonic()
            time.sleep(LOOK_S)
    return None


def _since(at: float | None, then: float) -> float | None:
    return None if at is None else round(at - then, 1)


def measure(seconds: float) -> list[dict[str, Any]]:
    if folder_of_programs() is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    return [outage(how, seconds) for how in ("stopped", "paused")]


def show(found: list[dict[str, Any]]) -> None:
    for one in found:
        for name, value in one.items():
            print(f"  {name.replace('_', ' '):22} {value}")
        print(
            f"  (the load went on for {AFTER_S:g} s after it; what is missing when nothing more "
            f"came for {DRAIN_S:g} s counts as lost)"
        )
