"""Down-sampling and forgetting, by figures worked out by hand."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from fieldhand.records import Provenance, Reading
from fieldhand.service.store import deadletters, nodes, readings, retention, schema
from fieldhand.service.store.database import Database, StoreError

# A full hour, so that minutes and hours begin at round numbers: 498,611 * 3600
HOUR = 1_794_999_600


@pytest.fixture
def g1(database):
    with database.writing() as connection:
        return nodes.ensure(connection, database, nodes.key_of("plantnanny", {}, "g1"), 1.0)


def row(node, seq, at, received, quantities):
    """`at` and `received` are seconds after HOUR."""
    reading = Reading(
        "g1", "plantnanny", quantities, HOUR + at, HOUR + received, Provenance("1-a", seq)
    )
    return readings.row_of(node.id, readings.key_of(reading, "t", b"", 0), reading)


def store(database, node, *rows):
    """Rows are (seq, seconds after HOUR, received after HOUR, quantities)."""
    with database.writing() as connection:
        readings.storing(connection, database)
        readings.insert(connection, database, schema.reading, [row(node, *one) for one in rows])


def rolled(database, table, node, quantity=None):
    query = sa.select(table).where(table.c.node_id == node.id)
    with database.reading() as connection:
        rows = connection.execute(query.order_by(table.c.quantity, table.c.start)).all()
    return [
        (row.quantity, row.start - HOUR, row.n, row.min, row.mean, row.max)
        for row in rows
        if quantity in (None, row.quantity)
    ]


def test_minutes_and_hours(database: Database, g1):
    store(
        database,
        g1,
        (1, 0, 1, {"ph": 7.0, "orp": 600}),
        (2, 30, 31, {"ph": 7.5}),
        (3, 59, 60, {"ph": 6.5}),
        (4, 60, 61, {"ph": 8}),
        (5, 3600, 3601, {"ph": 9.0}),
    )
    assert retention.roll_up(database) == 5
    assert rolled(database, schema.rollup_minute, g1) == [
        ("orp", 0, 1, 600.0, 600.0, 600.0),
        ("ph", 0, 3, 6.5, 7.0, 7.5),
        ("ph", 60, 1, 8.0, 8.0, 8.0),
        ("ph", 3600, 1, 9.0, 9.0, 9.0),
    ]
    # (3 * 7 + 8) / 4 = 7.25
    assert rolled(database, schema.rollup_hour, g1, "ph") == [
        ("ph", 0, 4, 6.5, 7.25, 8.0),
        ("ph", 3600, 1, 9.0, 9.0, 9.0),
    ]
    assert retention.roll_up(database) == 0


def test_a_late_reading_counts_like_any_other(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 20, 21, {"ph": 8.0}))
    retention.roll_up(database)
    store(database, g1, (3, 10, 200, {"ph": 9.0}))
    assert retention.roll_up(database) == 1
    assert rolled(database, schema.rollup_minute, g1) == [("ph", 0, 3, 7.0, 8.0, 9.0)]
    assert rolled(database, schema.rollup_hour, g1) == [("ph", 0, 3, 7.0, 8.0, 9.0)]


def under_way(database, node, seq):
    """A transaction that has stored a reading and is not committed, as the ingest makes them."""
    writing = database.writing()
    connection = writing.__enter__()
    readings.storing(connection, database)
    readings.insert(connection, database, schema.reading, [row(node, seq, 0, 1, {"ph": 7.0})])
    return writing


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_is_still_under_way_is_not_passed_over(database, g1):
    """Another's reading with a higher number may be committed before."""
    first = under_way(database, g1, 1)
    under_way(database, g1, 2).__exit__(None, None, None)
    with ThreadPoolExecutor(1) as pool:
        rolled_up = pool.submit(retention.roll_up, database)
        time.sleep(0.2)
        first.__exit__(None, None, None)
        assert rolled_up.result() + retention.roll_up(database) == 2
    assert rolled(database, schema.rollup_hour, g1) == [("ph", 0, 2, 7.0, 7.0, 7.0)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_transaction_that_does_not_end_is_not_waited_for(database, g1, monkeypatch):
    monkeypatch.setattr(readings, "STORED_WAIT_S", 0.1)
    first = under_way(database, g1, 1)
    with pytest.raises(StoreError, match="lock timeout"):
        retention.roll_up(database)
    first.__exit__(None, None, None)
    assert retention.roll_up(database) == 1


def test_a_number_is_not_given_again(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 20, 21, {"ph": 8.0}))
    retention.roll_up(database)
    assert retention.forget(database, readings_s=60, now=HOUR + 950)["reading"] == 2
    store(database, g1, (3, 900, 901, {"ph": 9.0}))
    assert retention.roll_up(database) == 1


def test_a_step_is_no_longer_than_a_step(database, g1, monkeypatch):
    """A minute that is still filling is not reckoned anew at each of its readings."""
    monkeypatch.setattr(retention, "STEP_ROWS", 7)
    store(database, g1, *((n, n % 60, 60, {"ph": float(n)}) for n in range(20)))
    steps = []
    assert retention.roll_up(database, lambda took: bool(steps.append(took))) == 20
    assert len(steps) == 2
    assert retention.roll_up(database) == 0
    store(database, g1, *((n, n % 60, 60, {"ph": float(n)}) for n in range(20, 40)))
    assert retention.roll_up(database, lambda took: True) == 7


def test_more_than_one_step(database, g1, monkeypatch):
    monkeypatch.setattr(retention, "STEP_ROWS", 7)
    store(database, g1, *((n, n, n // 3, {"ph": float(n)}) for n in range(60)))
    retention.roll_up(database)
    assert rolled(database, schema.rollup_minute, g1) == [("ph", 0, 60, 0.0, 29.5, 59.0)]


def test_readings_go_when_they_are_rolled_up_and_not_before(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 600, 601, {"ph": 8.0}))
    assert retention.forget(database, readings_s=60, now=HOUR + 900)["reading"] == 0
    retention.roll_up(database)
    store(database, g1, (3, 700, 701, {"ph": 9.0}))  # not rolled up yet
    assert retention.forget(database, readings_s=60, now=HOUR + 900)["reading"] == 2
    with database.reading() as connection:
        assert [row["seq"] for row in readings.history(connection, g1.id)] == [3]
    assert len(rolled(database, schema.rollup_minute, g1)) == 2


def test_what_comes_after_its_minute_was_forgotten_is_added(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 20, 21, {"ph": 8.0}), (3, 900, 901, {"ph": 5}))
    retention.roll_up(database)
    assert retention.forget(database, readings_s=60, now=HOUR + 950)["reading"] == 2
    store(database, g1, (4, 10, 1200, {"ph": 9.0}))
    retention.roll_up(database)
    assert rolled(database, schema.rollup_minute, g1)[0] == ("ph", 0, 3, 7.0, 8.0, 9.0)
    # 7, 8, 9 and 5
    assert rolled(database, schema.rollup_hour, g1) == [("ph", 0, 4, 5.0, 7.25, 9.0)]


def test_an_hour_outlives_its_minutes(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 1800, 1801, {"ph": 8.0}))
    store(database, g1, (3, 3600, 3601, {"ph": 5.0}))
    retention.roll_up(database)
    # those that began before 3,900 s
    gone = retention.forget(database, minutes_s=600, now=HOUR + 4500)
    assert gone == {"rollup_minute": 3}
    store(database, g1, (4, 1801, 4600, {"ph": 9.0}), (5, 3700, 4600, {"ph": 6.0}))
    retention.roll_up(database)
    assert rolled(database, schema.rollup_hour, g1) == [
        ("ph", 0, 3, 7.0, 8.0, 9.0),
        ("ph", 3600, 2, 5.0, 5.5, 6.0),
    ]


def test_dead_letters_go_too(database):
    with database.writing() as connection:
        for received in (10.0, 20.0):
            deadletters.add(connection, [deadletters.row_of("t", b"", "no", received)])
    assert retention.forget(database, dead_letters_s=5, now=20.0) == {"dead_letter": 1}
    with database.reading() as connection:
        assert [letter.received for letter in deadletters.listing(connection)] == [20.0]
