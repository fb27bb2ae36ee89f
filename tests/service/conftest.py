"""Fixtures of the service's tests: a database of each kind."""

import itertools
from collections.abc import Iterator

import pytest
from conftest import missing
from postgres import Postgres, folder_of_programs
from service import influxdb
from service.influxdb import InfluxDB

from fieldhand.service.store.database import Database

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL shared by the session: take a database of your own from it."""
    if folder_of_programs() is None:
        missing("PostgreSQL is not installed: apt-get install postgresql")
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A running PostgreSQL of the test's own, to stop and start again."""
    if folder_of_programs() is None:
        missing("PostgreSQL is not installed: apt-get install postgresql")
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path) -> str:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/service.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.make_database(f"test{next(_numbers)}")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database, of each kind in turn."""
    made = Database(database_url)
    made.open()
    yield made
    made.close()


@pytest.fixture(scope="session")
def influx() -> Iterator[InfluxDB]:
    """A running InfluxDB 1.6 shared by the session."""
    if influxdb.executable() is None:
        missing("InfluxDB is not installed: apt-get install influxdb")
    server = InfluxDB()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def base(influx: InfluxDB) -> str:
    """The name of an empty database in it."""
    name = f"farm{next(_numbers)}"
    influx.query(f'CREATE DATABASE "{name}"')
    return name
