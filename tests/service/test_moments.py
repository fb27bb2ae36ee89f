"""A node's clock that is wrong for a while: what is newest, and where history has it."""

import json

import pytest

from fieldhand.records import Alert
from fieldhand.service import settings
from fieldhand.service.arrivals import Message
from fieldhand.service.ingest.writer import NodeTable, Writer
from fieldhand.service.live.hub import Hub
from fieldhand.service.moments import credible, moment
from fieldhand.service.store import arrived, events, nodes, readings, retention, schema, series

# 2026-11-21T13:00:00Z, a full hour.
NOW = 1_795_266_000
# 2099-01-01T00:00:00Z
FAR = 4_070_908_800


@pytest.mark.parametrize(
    "time, received, at, is_credible",
    [
        (None, NOW + 0.5, NOW + 0.5, True),
        (NOW, NOW + 0.5, NOW, True),
        (NOW - 86_400, NOW + 0.5, NOW - 86_400, True),  # from the node's queue
        (NOW + 30, NOW + 0.5, NOW + 0.5, True),
        (NOW + 61, NOW + 0.5, NOW + 0.5, False),
        (FAR, NOW + 0.5, NOW + 0.5, False),
        (2**62, NOW + 0.5, NOW + 0.5, False),
        (5, NOW + 0.5, NOW + 0.5, False),  # 5 s after the power came: Unix
        (946_684_805, NOW + 0.5, NOW + 0.5, False),  # MicroPython
        (5, 7.0, 5, True),  # where the service's own clock is not set, the node's may as well be
    ],
)
def test_when_it_was(time, received, at, is_credible):
    assert moment(time, received) == at
    assert credible(time, received) is is_credible


class Node:
    """What a third party's device sends, through the ingest into a database."""

    def __init__(self, database):
        self.database = database
        chosen = settings.load({}, environment={})
        self._writer = Writer(database, chosen, NodeTable(database, 10), Hub(), ())
        self.seq = 0

    def says(self, time, received, degrees=20.0):
        self.seq += 1
        payload = {"temperatureC": degrees, "humidityPct": 50.0, "luminosityPct": 70.0}
        payload |= {"ts": time} if time is not None else {}
        quality = "unknown" if time is None else "synced"
        ext = {"boot": "1-ab", "seq": self.seq, "ms": self.seq, "q": quality}
        text = json.dumps({**payload, "_fh": ext}).encode()
        message = Message("devices/g1/data", text, len(text), False, False, received)
        self._writer.write(self._writer.prepare([message]))
        assert not self._writer.counts["invalid"]

    @property
    def row(self):
        with self.database.reading() as connection:
            return nodes.find(connection, "g1")[0]

    def latest(self):
        with self.database.reading() as connection:
            return readings.latest(connection, [self.row.id])[self.row.id]["seq"]


def test_the_latest_is_the_newest_whatever_the_clock_says(database):
    node = Node(database)
    node.says(NOW, NOW + 0.5)
    assert node.latest() == 1
    node.says(FAR, NOW + 30.5)
    assert node.latest() == 2
    node.says(NOW + 60, NOW + 60.5)  # corrected
    assert node.latest() == 3
    node.says(NOW + 15, NOW + 61.5)  # from its queue
    node.says(FAR - 3600, NOW + 62.5)  # measured while it was wrong: nobody knows when
    node.says(NOW + 70, NOW + 70.5)
    assert node.latest() == 6
    node.says(None, NOW + 80.5)
    assert node.latest() == 7
    node.says(946_684_810, NOW + 90.5)  # the power was away
    assert node.latest() == 8
    node.says(NOW + 100, NOW + 100.5)
    assert node.latest() == 9
    with database.reading() as connection:
        found = readings.history(connection, node.row.id)
        assert [row["seq"] for row in found] == [1, 4, 2, 3, 5, 6, 7, 8, 9]
        # What it said is kept.
        assert [row["time"] for row in found][2] == FAR


def test_no_series_goes_beyond_now(database):
    node = Node(database)
    node.says(NOW, NOW + 0.5, 40.0)
    node.says(FAR, NOW + 30.5, 60.0)
    node.says(FAR + 30, NOW + 60.5, 80.0)
    retention.roll_up(database)
    with database.reading() as connection:
        for resolution, at, mean in (("1m", [NOW, NOW + 60], [50, 80]), ("1h", [NOW], [60])):
            found, _ = series.history(
                connection, node.row.id, resolution, quantities=["air_temperature"]
            )
            assert found["air_temperature"].at == at
            assert found["air_temperature"].mean == mean


def test_a_gap_is_not_said_to_be_in_2099(database):
    node = Node(database)
    node.says(NOW, NOW + 0.5)
    node.seq += 1  # never sent
    node.says(FAR, NOW + 30.5)
    with database.reading() as connection:
        (boot,) = arrived.boots(connection, node.row, 0.0)
    assert [tuple(span) for span in boot.arrived] == [(1, 1, NOW, NOW), (3, 3, None, None)]


def test_events_too(database):
    with database.writing() as connection:
        key = nodes.key_of("plantnanny", {}, "g1")
        node = nodes.ensure(connection, database, key, 1.0)
        for seq, (time, received) in enumerate([(FAR, NOW + 1.0), (NOW + 5, NOW + 6.0)]):
            alert = Alert("g1", "plantnanny", "info", "m", None, None, None, time, received)
            row = events.row_of(node.id, readings.Key("a", seq), alert)
            readings.insert(connection, database, schema.event, [row], events.KEY)
        assert [row["at"] for _, row in events.history(connection, node_id=node.id)] == [
            NOW + 5,
            NOW + 1,
        ]
