"""The tables and what is written into them, on SQLite and PostgreSQL."""

import sqlite3
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldhand.records import Provenance, Reading, Status
from fieldhand.service.store import database as database_module
from fieldhand.service.store import deadletters, nodes, readings, schema
from fieldhand.service.store.database import Database, StoreError
from fieldhand.service.store.readings import Key
from fieldhand.service.store.window import Window


def reading(seq, time, at=1000.0, **quantities):
    return Reading(
        "g1",
        "plantnanny",
        quantities or {"air_temperature": 20.5},
        time,
        at,
        Provenance("1-a", seq),
    )


def node(database, name="g1", tenant=None):
    with database.writing() as connection:
        return nodes.ensure(
            connection, database, nodes.key_of("plantnanny", tenant or {}, name), 1.0
        )


def rows(node, *made):
    return [readings.row_of(node.id, readings.key_of(r, "t", b"", 0), r) for r in made]


def test_migrations_make_what_the_schema_says(database):
    with database.reading() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []


def test_opening_again_changes_nothing(database):
    node(database)
    database.open()
    with database.reading() as connection:
        assert nodes.count(connection) == 1


def test_a_newer_schema_is_refused_in_one_line(database):
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer Fieldhand") as caught:
        database.open()
    assert "\n" not in str(caught.value)


def test_two_that_start_together_make_it_once(database_url):
    made = [Database(database_url) for _ in range(2)]
    errors = []

    def opened(database):
        try:
            database.open()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=opened, args=(database,)) for database in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in made:
        database.close()
    assert errors == []


def test_a_new_file_that_another_is_making_is_waited_for(tmp_path, monkeypatch):
    """A write lock on a file that is not in WAL mode yet: SQLite itself does not wait for it."""
    path = tmp_path / "service.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, other.rollback)
    timer.start()
    database = Database(f"sqlite:///{path}")
    database.open()
    database.close()
    timer.join()
    # For ever, it is told.
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.1)
    with pytest.raises(StoreError, match="database is locked"):
        Database(f"sqlite:///{path}").open()
    other.close()


def test_a_reading_is_stored_once(database):
    g1 = node(database)
    with database.writing() as connection:
        first = rows(g1, reading(1, 100), reading(2, 130))
        assert readings.insert(connection, database, schema.reading, first) == [True, True]
    with database.writing() as connection:
        again = rows(g1, reading(2, 130), reading(3, 160), reading(3, 160))
        fresh = readings.insert(connection, database, schema.reading, again)
        assert fresh == [False, True, False]
    with database.reading() as connection:
        assert readings.count(connection, g1.id) == 3


def test_history_by_the_nodes_own_time_and_page_by_page(database):
    g1 = node(database)
    # 3 came late, 4 has no time of its own and counts from when it came
    made = rows(g1, reading(1, 100), reading(2, 130), reading(3, 110), reading(4, None, at=120.0))
    with database.writing() as connection:
        readings.insert(connection, database, schema.reading, made)
    with database.reading() as connection:
        found = readings.history(connection, g1.id)
        assert [row["seq"] for row in found] == [1, 3, 4, 2]
        newest = readings.history(connection, g1.id, Window(limit=2), newest_first=True)
        assert [row["seq"] for row in newest] == [2, 4]
        place = (newest[-1]["at"], newest[-1]["id"])
        rest = readings.history(connection, g1.id, Window(place=place), newest_first=True)
        assert [row["seq"] for row in rest] == [3, 1]
        some = readings.history(connection, g1.id, Window(110, 130))
        assert [row["seq"] for row in some] == [3, 4]
        assert readings.latest(connection, [g1.id])[g1.id]["seq"] == 2
        assert found[0]["quantities"] == {"air_temperature": 20.5}


def test_what_has_no_number_is_known_by_what_it_says():
    plain = Reading("g1", "plantnanny", {"soil_moisture": 4.0}, 100, 1000.5)
    key = readings.key_of(plain, "devices/g1/data", b"{}", 0)
    assert key == readings.key_of(plain, "devices/g1/data", b"{}", 0)
    others = [("devices/g2/data", b"{}", 0), ("devices/g1/data", b"[]", 0)]
    assert all(readings.key_of(plain, *other) != key for other in others)
    assert readings.key_of(plain, "devices/g1/data", b"{}", 1) != key
    untimed = Reading("g1", "plantnanny", {"soil_moisture": 4.0}, None, 1000.5)
    assert readings.key_of(untimed, "t", b"{}", 0).seq == 1_000_500_000  # µs
    # A node whose boots look like our stand-ins for them is not taken at its word.
    posing = replace(plain, provenance=Provenance(key.boot, key.seq))
    assert readings.key_of(posing, "t", b"{}", 0) not in (key, (key.boot, key.seq))


def test_a_name_is_found_among_tenants(database):
    one = node(database, "pump", {"org": "a"})
    two = node(database, "pump", {"org": "b"})
    with database.reading() as connection:
        assert nodes.find(connection, "pump") == [one, two]
        assert nodes.find(connection, "pump", "b") == [two]
        assert nodes.find(connection, "plantnanny:a:pump") == [one]
        assert nodes.find(connection, "plantnanny:a:pump", "b") == []
        assert nodes.find(connection, "other") == []


@pytest.mark.parametrize("name", ["'; DROP TABLE node; --", "a:b:c", "<b>ü</b>", "%s", "?"])
def test_any_name_is_only_a_name(database, name):
    made = node(database, name)
    with database.reading() as connection:
        assert nodes.find(connection, name) == [made]
        assert nodes.find(connection, made.public_id) == [made]


# What an escape looks like is tried often.
WORDS = st.lists(st.sampled_from([":", "~", "3A", "7E", "a", "%3A", "é"]), min_size=1, max_size=5)
PLACES = st.sets(st.tuples(WORDS.map("".join), WORDS.map("".join)), min_size=1, max_size=20)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(PLACES)
def test_a_public_id_means_one_node(database, places):
    with database.writing() as connection:
        connection.execute(schema.node.delete())
        for org, name in places:
            for key in (
                nodes.key_of("dese", {"org": org}, name),
                nodes.key_of("solar", {"company": org}, name),
                nodes.key_of("farm", {}, name),
            ):
                nodes.ensure(connection, database, key, 1.0)
        for row in nodes.listing(connection):
            assert nodes.find(connection, row.public_id) == [row]


@pytest.mark.parametrize(
    ("tenant", "name", "id"),
    [
        ({}, "g1", "x:g1"),
        ({}, "a:b", "x:a:b"),
        ({"org": "a"}, "AA:BB", "x:a:AA:BB"),
        ({"org": "a:b"}, "c", "x:a~3Ab:c"),
        ({"org": "a"}, "b:c", "x:a:b:c"),
        ({"org": "~a%3A"}, "~3A", "x:~a%3A:~3A"),
        ({"org": "a~3Ab"}, "c", "x:a~7E3Ab:c"),
        ({"org": "a~7E3Ab"}, "c", "x:a~7E7E3Ab:c"),
    ],
)
def test_only_a_tenants_colon_is_written_otherwise(tenant, name, id):
    assert nodes.public_id("x", tenant, name) == id


def test_a_kept_status_counts_where_it_says_something_new(database):
    g1 = node(database)

    def say(state, received, retained):
        said = Status("g1", "plantnanny", state, {}, None, received, retained)
        with database.writing() as connection:
            nodes.set_status(connection, database, {g1.id: said})
        with database.reading() as connection:
            found = nodes.statuses(connection, [g1.id])[g1.id]
        return found["state"], found["received"], found["retained"]

    assert say("online", 10.0, False) == ("online", 10.0, False)
    assert say("online", 20.0, True) == ("online", 10.0, False)
    assert say("offline", 30.0, True) == ("offline", 30.0, True)
    assert say("online", 40.0, False) == ("online", 40.0, False)


def test_a_reading_of_no_node_is_refused(database):
    with pytest.raises(sa.exc.IntegrityError), database.writing() as connection:
        made = readings.row_of(77, Key("a", 1), reading(1, 1))
        readings.insert(connection, database, schema.reading, [made])


def test_a_dead_letter_keeps_its_bytes(database):
    payload = bytes(range(256)) * 300
    with database.writing() as connection:
        row = deadletters.row_of("a/b", payload, "is not JSON", 5.0)
        deadletters.add(connection, [row, deadletters.row_of("c", b"\0", "x\0y", 6.0)])
    with database.reading() as connection:
        second, first = deadletters.listing(connection)
        assert first.payload == payload[:65_536] and first.size == 76_800 and not first.whole
        assert second.payload == b"\0" and second.whole and second.reason == "x\\0y"
        assert deadletters.count(connection) == 2


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://h/d",
        "sqlite://",
        "sqlite:////proc/nothing/x.db",
        "postgresql+psycopg://u:secret@127.0.0.1:9/d",
    ],
)
def test_a_database_that_cannot_be_had_is_one_line(url):
    with pytest.raises(StoreError) as caught:
        Database(url).open()
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Database(f"sqlite:///{path}").open()
