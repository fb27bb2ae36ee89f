"""The thread that down-samples and forgets, every so often."""

from __future__ import annotations

import logging
import threading
import time

from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import retention
from fieldhand.service.store.database import Database, StoreError

JOIN_S = 30.0
# At least so long nothing is down-sampled after each step, and half of the time: the ingest stores.
REST_S = 0.1

_log = logging.getLogger(__name__)


class Housekeeping:
    """A part of the service; `last_run` is when it last got through, `rolled` how far."""

    def __init__(self, database: Database, settings: ServiceSettings) -> None:
        self.last_run: float | None = None
        self._database = database
        self._settings = settings
        self._stop = threading.Event()
        self._trouble = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def once(self) -> None:
        """One run. Raises StoreError."""
        settings, day = self._settings, retention.DAY_S
        # Whoever waits for the lock of SQLite looks for it every tenth of a second, at the latest.
        retention.roll_up(self._database, lambda took: self._stop.wait(max(took, REST_S)))
        gone = retention.forget(
            self._database,
            readings_s=settings.keep_readings_days * day,
            minutes_s=settings.keep_minutes_days * day,
            hours_s=settings.keep_hours_days * day,
            events_s=settings.keep_events_days * day,
            dead_letters_s=settings.keep_dead_letters_days * day,
            commands_s=settings.keep_commands_days * day,
        )
        self.last_run = time.time()
        if any(gone.values()):
            parts = ", ".join(f"{count} of {name}" for name, count in gone.items() if count)
            _log.info("rows forgotten: %s", parts)

    def _run(self) -> None:
        while not self._stop.wait(self._settings.housekeeping_s):
            try:
                self.once()
                self._trouble = False
            except StoreError as error:
                if not self._trouble:
                    _log.warning("housekeeping waits: %s", error)
                self._trouble = True
            except Exception:
                _log.exception("housekeeping failed")
