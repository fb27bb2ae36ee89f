"""A desk of each kind for the tests of commands."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from mosquitto import Mosquitto
from postgres import Postgres
from service.commands.desk import Desk

from fieldhand.service.commands import lifecycle as commands_module
from fieldhand.service.store import schema


@pytest.fixture(autouse=True, scope="module")
def no_grace() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands_module, "GRACE_S", 0.05)
        yield


@pytest.fixture(scope="module")
def desk_on_sqlite(
    mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    with Desk(f"sqlite:///{tmp_path_factory.mktemp('desk')}/service.db", mosquitto.port) as made:
        yield made


@pytest.fixture(scope="module")
def desk_on_postgresql(
    request: pytest.FixtureRequest, mosquitto: Mosquitto, postgres: Postgres
) -> Iterator[Desk]:
    name = "commands_" + request.module.__name__.rpartition(".")[2]
    with Desk(postgres.make_database(name), mosquitto.port) as made:
        yield made


@pytest.fixture
def desk(desk_on_sqlite: Desk) -> Desk:
    desk_on_sqlite.clear()
    return desk_on_sqlite


@pytest.fixture(params=["desk_on_sqlite", "desk_on_postgresql"])
def desk_on_each(request: pytest.FixtureRequest) -> Desk:
    found: Desk = request.getfixturevalue(request.param)
    found.clear()
    return found


@pytest.fixture
def shared(desk_on_sqlite: Desk) -> Iterator[Desk]:
    """For what leaves no command behind."""
    desk_on_sqlite.clear()
    yield desk_on_sqlite
    with desk_on_sqlite.service.database.reading() as connection:
        count = sa.select(sa.func.count()).select_from(schema.command)
        assert connection.execute(count).scalar_one() == 0
