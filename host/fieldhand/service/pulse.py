"""Whether the database answers: asked every second, by one thread, on a connection of its own.

One that refuses is an error to whoever asks it. One that says nothing would keep everybody who
asks waiting, so its silence is known here, for `/readyz`, the log and `Database.silence`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from fieldhand.service.store.database import Database, Silent

EVERY_S = 1.0
JOIN_S = 1.0

_log = logging.getLogger(__name__)


class Pulse:
    """A part of the service. `silent_s` without an answer are silence.

    `behind_s` tells how long what came in has been waiting for the database.
    """

    def __init__(self, database: Database, silent_s: float, behind_s: Callable[[], float]) -> None:
        self._watched = database
        self._own: Database | None = None
        self._silent_s = silent_s
        self._behind_s = behind_s
        # When it was asked what it has not answered yet; by whom it was refused.
        self._asked_at: float | None = None
        self._refused: str | None = None
        self._told = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stop.clear()
        self._own = Database(self._watched.url, self._silent_s, pre_ping=False)
        self._watched.silence = self.silence
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._watched.silence = lambda: None
        if self._thread is not None:
            # It may be waiting for an answer.
            self._thread.join(JOIN_S)

    def silence(self) -> float | None:
        """How long the database has said nothing, None while that is not too long."""
        asked_at = self._asked_at
        waited = 0.0 if asked_at is None else time.monotonic() - asked_at
        return waited if waited >= self._silent_s else None

    @property
    def trouble(self) -> str | None:
        """Why the database is of no use at present, None while it is."""
        waited = self.silence()
        if waited is not None:
            return f"database {self._watched.name}: has not answered for {waited:.0f} s"
        return self._refused

    def _run(self) -> None:
        assert self._own is not None
        while True:
            self._ask(self._own)
            if self._stop.wait(EVERY_S):
                break
        self._own.close()

    def _ask(self, database: Database) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        try:
            database.ping()
        except Silent:
            self._say()
            return
        except Exception as error:
            # A StoreError, or a database that is not as we left it.
            self._refused = str(error).splitlines()[0]
        else:
            self._refused = None
            if self._told:
                waited = time.monotonic() - self._asked_at
                _log.warning("database %s: answers again after %.0f s", database.name, waited)
                self._told = False
        self._asked_at = None

    def _say(self) -> None:
        if not self._told and (trouble := self.trouble) is not None:
            self._told = True
            behind = self._behind_s()
            _log.warning("%s; what comes in waits (%.0f s behind)", trouble, behind)
