"""Down-sampling and forgetting, by figures worked out by hand."""

import pytest

from fieldhand.records import Provenance, Reading
from fieldhand.service.store import deadletters, nodes, readings, retention, schema
from fieldhand.service.store.database import Database

# A full hour, so that minutes and hours begin at round numbers: 498,611 * 3600
HOUR = 1_794_999_600


@pytest.fixture
def g1(database):
    with database.writing() as connection:
        return nodes.ensure(connection, database, nodes.key_of("plantnanny", {}, "g1"), 1.0)


def store(database, node, *rows):
    """Rows are (seq, seconds after HOUR, received after HOUR, quantities)."""
    made = []
    for seq, at, received, quantities in rows:
        reading = Reading(
            "g1", "plantnanny", quantities, HOUR + at, HOUR + received, Provenance("1-a", seq)
        )
        made.append(readings.row_of(node.id, readings.key_of(reading, "t", b"", 0), reading))
    with database.writing() as connection:
        readings.insert(connection, database, schema.reading, made)


def rolled(database, table, node, quantity=None):
    with database.reading() as connection:
        rows = readings.rollups(connection, table, node.id, quantity, 0, 2e9)
    return [
        (row["quantity"], row["start"] - HOUR, row["n"], row["min"], row["mean"], row["max"])
        for row in rows
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
    assert retention.roll_up(database, now=HOUR + 4000) == 5
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
    assert retention.roll_up(database, now=HOUR + 4000) == 0


def test_a_late_reading_counts_like_any_other(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 20, 21, {"ph": 8.0}))
    retention.roll_up(database, now=HOUR + 100)
    store(database, g1, (3, 10, 200, {"ph": 9.0}))
    assert retention.roll_up(database, now=HOUR + 300) == 1
    assert rolled(database, schema.rollup_minute, g1) == [("ph", 0, 3, 7.0, 8.0, 9.0)]
    assert rolled(database, schema.rollup_hour, g1) == [("ph", 0, 3, 7.0, 8.0, 9.0)]


def test_what_may_still_be_under_way_waits(database, g1):
    store(database, g1, (1, 0, 100, {"ph": 7.0}))
    assert retention.roll_up(database, now=HOUR + 104) == 0
    assert retention.roll_up(database, now=HOUR + 105) == 1


def test_more_than_one_step(database, g1, monkeypatch):
    monkeypatch.setattr(retention, "STEP_ROWS", 7)
    store(database, g1, *((n, n, n // 3, {"ph": float(n)}) for n in range(60)))
    retention.roll_up(database, now=HOUR + 100)
    assert rolled(database, schema.rollup_minute, g1) == [("ph", 0, 60, 0.0, 29.5, 59.0)]


def test_readings_go_when_they_are_rolled_up_and_not_before(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 600, 601, {"ph": 8.0}))
    assert retention.forget(database, readings_s=60, now=HOUR + 900)["reading"] == 0
    retention.roll_up(database, now=HOUR + 900)
    store(database, g1, (3, 700, 701, {"ph": 9.0}))  # not rolled up yet
    assert retention.forget(database, readings_s=60, now=HOUR + 900)["reading"] == 1
    with database.reading() as connection:
        assert [row["seq"] for row in readings.history(connection, g1.id)] == [2, 3]
    assert len(rolled(database, schema.rollup_minute, g1)) == 2


def test_what_comes_after_its_minute_was_forgotten_is_added(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 20, 21, {"ph": 8.0}), (3, 900, 901, {"ph": 5}))
    retention.roll_up(database, now=HOUR + 1000)
    assert retention.forget(database, readings_s=60, now=HOUR + 950)["reading"] == 2
    store(database, g1, (4, 10, 1200, {"ph": 9.0}))
    retention.roll_up(database, now=HOUR + 1300)
    assert rolled(database, schema.rollup_minute, g1)[0] == ("ph", 0, 3, 7.0, 8.0, 9.0)
    # 7, 8, 9 and 5
    assert rolled(database, schema.rollup_hour, g1) == [("ph", 0, 4, 5.0, 7.25, 9.0)]


def test_an_hour_outlives_its_minutes(database, g1):
    store(database, g1, (1, 0, 1, {"ph": 7.0}), (2, 1800, 1801, {"ph": 8.0}))
    store(database, g1, (3, 3600, 3601, {"ph": 5.0}))
    retention.roll_up(database, now=HOUR + 4000)
    # until 3,900 s: hours are forgotten whole
    gone = retention.forget(database, minutes_s=600, now=HOUR + 4500)
    assert gone == {"rollup_minute": 2}
    store(database, g1, (4, 1801, 4600, {"ph": 9.0}), (5, 3700, 4600, {"ph": 6.0}))
    retention.roll_up(database, now=HOUR + 5000)
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
