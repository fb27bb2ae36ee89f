"""A database: its engine, its transactions, and its schema brought up to date.

    database = Database("sqlite:////var/lib/fieldhand/service.db")
    database.open()
    with database.writing() as connection:
        ...

SQLite has one writer: `writing()` takes its lock at once rather than half-way through.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from pydantic_core import from_json, to_json

from fieldhand.errors import FieldhandError

if TYPE_CHECKING:
    from fieldhand.service.store.postgresql import Patience

# How long a SQLite connection waits for another's lock.
BUSY_TIMEOUT_S = 10.0
BUSY_RETRY_S = 0.02
# PostgreSQL: connections kept, and those made beyond them under load.
POOL_SIZE = 8
POOL_OVERFLOW = 16
POOL_WAIT_S = 5.0
CONNECT_TIMEOUT_S = 5
SILENCE_S = 30  # of a PostgreSQL server that is to answer, or of its machine
MIGRATIONS = Path(__file__).parent / "migrations"
DRIVERS = ("sqlite", "postgresql")


class StoreError(FieldhandError):
    """The database cannot be reached, opened, read or written; `reason` is one line.

    `database` is its URL without the password.
    """

    def __init__(self, database: str, reason: str) -> None:
        super().__init__(f"database {database}: {reason}")
        self.database = database
        self.reason = reason


class Silent(StoreError):
    """The database is there and does not answer."""


class Database:
    """One database of the service. Any thread may ask it for connections.

    `silence_s`: so long one answer of a PostgreSQL server may take. `pre_ping`: a connection that
    was lost meanwhile is replaced before it is used. `silence` tells how long the database has
    been silent, where somebody watches that, else None: then nobody else is let in, to wait for
    the same.
    """

    def __init__(
        self, url: str | sa.URL, silence_s: float = SILENCE_S, pre_ping: bool = True
    ) -> None:
        self.silence: Callable[[], float | None] = lambda: None
        self._silence_s = silence_s
        self._pre_ping = pre_ping
        self._patience: Patience | None = None
        self._silent: tuple[type[Exception], ...] = ()
        try:
            self.url = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise StoreError(str(url), "is not a database URL") from None
        self.name = self.url.render_as_string(hide_password=True)
        if self.url.get_backend_name() not in DRIVERS:
            raise StoreError(self.name, "is neither sqlite:///... nor postgresql+psycopg://...")
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = self._engine()

    def is_there(self) -> bool:
        """False for a SQLite file that `open` would make."""
        name = self.url.database
        if not self.sqlite or not name or name == ":memory:" or name.startswith("file:"):
            return True
        return Path(name).exists()

    def open(self) -> None:
        """Make the database if need be and bring its schema up to date. Raises StoreError."""
        if self.sqlite and self.url.database not in (None, "", ":memory:"):
            folder = Path(str(self.url.database)).absolute().parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(self.name, error.strerror or str(error)) from error
        if self._patience is not None:
            self._patience.silence_s = self._silence_s
        with self.translated():
            self._migrate()

    def give_up(self) -> None:
        """Whoever waits for a silent PostgreSQL server waits no longer."""
        if self._patience is not None:
            self._patience.silence_s = 0.0

    def close(self) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that sees one state and changes none.

        Raises StoreError, also for what the caller's own statements meet.
        """
        self._let_in()
        with self.translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that is committed at the end. Raises StoreError."""
        self._let_in()
        with self.translated(), self.engine.connect() as connection:
            connection = connection.execution_options(fieldhand_writes=True)
            with connection.begin():
                yield connection

    def ping(self) -> None:
        """Have it answer, from a table of ours. Raises StoreError."""
        with self.translated(), self.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1 FROM node LIMIT 1"))

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """What goes wrong inside is a StoreError; a wrong statement stays what it is."""
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            kind = Silent if isinstance(getattr(error, "orig", None), self._silent) else StoreError
            raise kind(self.name, _reason(error)) from error
        except sa.exc.DatabaseError as error:
            if isinstance(
                error, (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError)
            ):
                raise
            raise StoreError(self.name, _reason(error)) from error
        except CommandError as error:
            raise StoreError(self.name, str(error)) from error

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT."""
        if self.sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    # -- inside ----------------------------------------------------------------------------------

    def _let_in(self) -> None:
        waited = self.silence()
        if waited is not None:
            raise Silent(self.name, f"has not answered for {waited:.0f} s")

    def _engine(self) -> sa.Engine:
        options: dict[str, Any] = {
            "json_serializer": lambda value: to_json(value).decode(),
            "json_deserializer": from_json,
        }
        if self.sqlite:
            options["connect_args"] = {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
            if self.url.database in (None, "", ":memory:"):
                raise StoreError(self.name, "names no file")
        else:
            options |= {
                "pool_size": POOL_SIZE,
                "max_overflow": POOL_OVERFLOW,
                "pool_timeout": POOL_WAIT_S,
                "pool_pre_ping": self._pre_ping,
                # A server gone without a word: libpq's own wait is the kernel's, a quarter hour.
                "connect_args": {
                    "connect_timeout": min(CONNECT_TIMEOUT_S, math.ceil(self._silence_s)),
                    "keepalives_idle": SILENCE_S,
                    "keepalives_interval": SILENCE_S // 3,
                    "keepalives_count": 3,
                    "tcp_user_timeout": SILENCE_S * 1000,
                },
            }
        try:
            engine = sa.create_engine(self.url, **options)
        except ImportError as error:
            raise StoreError(
                self.name, f"needs {error.name}: pip install 'fieldhand[postgresql]'"
            ) from error
        if self.sqlite:
            sa.event.listen(engine, "connect", _prepare_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
        else:
            from fieldhand.service.store import postgresql

            self._patience = postgresql.Patience(self._silence_s)
            postgresql.be_patient(engine, self._patience)
            self._silent = postgresql.SILENT
        return engine

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        scripts = ScriptDirectory.from_config(config)
        head = scripts.get_current_head()

        def steps(revision: Any, context: MigrationContext) -> Any:
            return scripts._upgrade_revs(head or "head", revision)

        with self.engine.connect() as connection:
            connection = connection.execution_options(fieldhand_writes=True)
            if not self.sqlite:
                from fieldhand.service.store import postgresql

                postgresql.take_time(connection)
            with connection.begin():
                if not self.sqlite:  # two services that start together
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(7245001)"))
                have = MigrationContext.configure(connection).get_current_revision()
                if have == head:
                    return
                known = {script.revision for script in scripts.walk_revisions()}
                if have is not None and have not in known:
                    raise StoreError(
                        self.name, f"was written by a newer Fieldhand (its schema is {have})"
                    )
                with EnvironmentContext(config, scripts, fn=steps) as environment:
                    environment.configure(connection=connection, transactional_ddl=False)
                    environment.run_migrations()


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    # SQLAlchemy's BEGIN, not the module's, which comes late and not before a SELECT.
    connection.isolation_level = None
    cursor = connection.cursor()
    _write_ahead(cursor)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    # Waited for here: changing the mode of a new file promotes a read lock, where SQLite calls no
    # busy handler while another does the same, lest both wait for ever.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= deadline:
                raise
        time.sleep(BUSY_RETRY_S)


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("fieldhand_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _reason(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines()
    return lines[0] if lines else type(original).__name__
