"""A connection to PostgreSQL that does not wait for ever for a server that says nothing.

A server whose processes stand still, on a machine that swaps or a disk that hangs, acknowledges
what it is sent: no limit of TCP's, and none of the server's own, ends a wait for its answer.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa


class NoAnswer(psycopg.OperationalError):
    """The server has said nothing for too long; the connection is closed."""


# What says that a server was there, and silent.
SILENT: tuple[type[Exception], ...] = (NoAnswer, psycopg.errors.ConnectionTimeout)


@dataclass
class Patience:
    """How long connections wait for the next word (s); may be changed while they do."""

    silence_s: float


class PatientConnection(psycopg.Connection[Any]):
    """Raises NoAnswer when nothing comes for so long of what it waits for."""

    patience = Patience(float("inf"))

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        return super().wait(self._within(gen), *arguments, **options)

    def _within(self, gen: Any) -> Generator[Any, Any, Any]:
        # psycopg's generators yield what they wait for and are sent what happened, which is
        # nothing (0) every tenth of a second.
        heard_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                happened = yield wanted
                now = time.monotonic()
                if happened:
                    heard_at = now
                elif (waited := now - heard_at) >= self.patience.silence_s:
                    self.pgconn.finish()
                    raise NoAnswer(f"has not answered for {waited:.1f} s")
                wanted = gen.send(happened)
        except StopIteration as end:
            return end.value


def be_patient(engine: sa.Engine, patience: Patience) -> None:
    """Have all connections of this engine be of this kind."""

    def connect(dialect: Any, record: Any, arguments: Any, options: Any) -> PatientConnection:
        made = PatientConnection.connect(*arguments, **options)
        made.patience = patience
        return made

    sa.event.listen(engine, "do_connect", connect)


def take_time(connection: sa.Connection) -> None:
    """For this connection, which is then not used again, whatever long there is to do."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, PatientConnection)
    driver.patience = PatientConnection.patience
    connection.detach()
