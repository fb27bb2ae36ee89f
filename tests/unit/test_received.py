"""The record of what arrived: several writers, one file, nothing twice and nothing forgotten."""

import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldhand import received
from fieldhand.ranges import Ranges, Span
from fieldhand.received import News, NodeKey, ReceivedStore, StoreError
from fieldhand.recorder import Recorder
from fieldhand.records import Provenance, Reading, Status

NODE = NodeKey("dese", '{"org": "o"}', "pool")


def news(*numbers, at=1.0):
    return News(at, at, Ranges(Span(n, n, 1000 + n, 1000 + n) for n in numbers))


def arrived(store, boot="1-aa"):
    (found,) = [record for record in store.boots(NODE) if record.boot == boot]
    return list(found.arrived)


@pytest.fixture
def store(tmp_path):
    made = ReceivedStore(tmp_path / "new" / "received.db")
    yield made
    made.close()


BATCHES = st.lists(st.tuples(st.booleans(), st.sets(st.integers(1, 60))), max_size=12)


@given(BATCHES)
@settings(deadline=None, max_examples=40)
def test_two_writers_leave_the_union(tmp_path_factory, batches):
    path = tmp_path_factory.mktemp("record") / "received.db"
    one, other = ReceivedStore(path), ReceivedStore(path)
    model = set()
    for first, numbers in batches:
        if numbers:
            (one if first else other).write({(NODE, "1-aa"): news(*numbers)})
            model |= numbers
    if model:
        spans = arrived(one)
        assert [n for s in spans for n in range(s.first, s.last + 1)] == sorted(model)
        assert all(a.last + 1 < b.first for a, b in zip(spans, spans[1:], strict=False))
        assert all((s.first_time, s.last_time) == (1000 + s.first, 1000 + s.last) for s in spans)
    one.close()
    other.close()


WRITER = """
import sys
from pathlib import Path
from fieldhand.received import News, NodeKey, ReceivedStore
from fieldhand.ranges import Ranges, Span
path, first = Path(sys.argv[1]), int(sys.argv[2])
store = ReceivedStore(path)
node = NodeKey("dese", '{"org": "o"}', "pool")
for number in range(first, 401, 2):
    store.write({(node, "1-aa"): News(1.0, 1.0, Ranges([Span(number, number)]))})
"""


def test_two_processes_write_at_once(store):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.path), str(first)],
            env={"PYTHONPATH": ":".join(sys.path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in (1, 2)
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert writer.returncode == 0, said
    assert arrived(store) == [Span(1, 400)]


def test_a_killed_writer_leaves_what_it_had_written(store):
    store.write({(NODE, "1-aa"): news(1, 2)})
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM arrived")
    other.close()  # as if it had been killed: never committed
    assert arrived(store) == [Span(1, 2, 1001, 1002)]


def test_the_oldest_boots_are_forgotten_with_their_ranges(store, monkeypatch):
    monkeypatch.setattr(received, "KEPT_BOOTS", 3)
    for n in range(1, 6):
        store.write({(NODE, f"{n}-aa"): news(n)})
    assert [record.boot for record in store.boots(NODE)] == ["3-aa", "4-aa", "5-aa"]
    (count,) = sqlite3.connect(store.path).execute("SELECT count(*) FROM arrived").fetchone()
    assert count == 3


def test_the_same_name_in_another_dialect_or_tenant_is_another_node(store):
    others = [NODE._replace(dialect="farm"), NODE._replace(tenant="{}")]
    store.write({(node, "1-aa"): news(1) for node in [NODE, *others]})
    store.write({(NODE, "1-aa"): news(2)})
    assert set(store.nodes()) == {NODE, *others}
    assert [record.arrived.count for node in others for record in store.boots(node)] == [1, 1]


def test_a_file_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "received.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"received\.db: .*not a database.*delete it"):
        ReceivedStore(path)
    with pytest.raises(StoreError, match="nothing has been recorded"):
        ReceivedStore(tmp_path / "other.db", create=False)
    assert not (tmp_path / "other.db").exists()
    with pytest.raises(StoreError, match=str(path)):
        ReceivedStore(path / "below a file")


def test_a_record_of_a_newer_fieldhand_is_left_alone(store):
    with sqlite3.connect(store.path) as db:
        db.execute(f"PRAGMA user_version = {received.VERSION + 1}")
    with pytest.raises(StoreError, match="newer"):
        ReceivedStore(store.path)


# -- the recorder --------------------------------------------------------------------------------


def reading(seq, boot="1-aa", quality="synced", time=None):
    time = 1000 + (seq or 0) if time is None else time
    return Reading(
        "pool", "dese", {"ph": 7.2}, time, 5.0, Provenance(boot, seq, 1, quality), {"org": "o"}
    )


def status(seq, queued=0, boot="1-aa", retained=False, **values):
    values = {"seq": seq, "queued": queued, **values}
    return Status(
        "pool", "dese", "online", values, 1, 6.0, retained, Provenance(boot), {"org": "o"}
    )


@pytest.fixture
def recorder(tmp_path):
    # Written when the test says so.
    made = Recorder(tmp_path / "received.db", interval_s=3600)
    yield made
    made.close()


def on_record(recorder, boot="1-aa"):
    recorder.flush()
    store = ReceivedStore(recorder.path)
    try:
        (found,) = [record for record in store.boots(NODE) if record.boot == boot]
        return found
    finally:
        store.close()


def test_readings_without_a_number_are_not_recorded(recorder):
    for event in (reading(None), reading(1, boot=None), reading(10**16)):
        recorder.note(event)
    recorder.flush()
    assert not recorder.path.exists()


def test_a_made_up_time_is_no_time(recorder):
    recorder.note(reading(1, quality="unknown"))
    recorder.note(reading(2, quality="backfilled"))
    assert list(on_record(recorder).arrived) == [Span(1, 2, None, 1002)]


def test_it_writes_by_itself(tmp_path):
    recorder = Recorder(tmp_path / "received.db", interval_s=0.01)
    recorder.note(reading(1))
    path = tmp_path / "received.db"
    for _ in range(3000):
        if path.exists() and ReceivedStore(path).nodes():
            break
        recorder._stop.wait(0.01)
    assert ReceivedStore(path).nodes() == [NODE]
    recorder.close()


def test_what_comes_after_the_close_is_written_at_once(recorder):
    recorder.note(reading(1))
    recorder.close()
    recorder.note(reading(2))
    store = ReceivedStore(recorder.path, create=False)
    assert arrived(store) == [Span(1, 2, 1001, 1002)]


def test_what_cannot_be_written_now_is_written_later(recorder, monkeypatch, caplog):
    monkeypatch.setattr(received, "BUSY_TIMEOUT_S", 0.01)
    recorder.open()
    other = sqlite3.connect(recorder.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorder.note(reading(1))
    recorder.note(status(1))
    recorder.flush()
    recorder.note(reading(3))
    recorder.flush()
    assert "locked" in str(recorder.error) and len(caplog.records) == 1
    other.execute("COMMIT")
    other.close()
    found = on_record(recorder)
    assert recorder.error is None
    assert [span[:2] for span in found.arrived] == [(1, 1), (3, 3)] and found.taken == 1


def test_a_status_says_what_waits(recorder):
    for seq in (1, 2, 5):
        recorder.note(reading(seq))
    recorder.note(status(9, queued=4, dropped=2, unsendable=1, corrupt=3))
    found = on_record(recorder)
    assert (found.taken, found.queued, found.dropped) == (9, 4, 2)
    assert (found.unsendable, found.corrupt, found.said_at) == (1, 3, 6.0)
    # 3, 4, 6, 7, 8 and 9 are missing; the four newest wait.
    assert found.waiting_from == 6


def test_what_arrives_right_after_a_status_waits_no_more(recorder):
    recorder.note(status(9, queued=4))
    for seq in (6, 7):
        recorder.note(reading(seq))
    recorder.note(reading(10))  # taken later: was not in the queue
    # 1 to 5, 8 and 9 are missing, two of them wait.
    assert on_record(recorder).waiting_from == 8


def test_the_queue_spans_boots(recorder):
    recorder.note(reading(1, boot="1-aa"))
    recorder.note(reading(9, boot="1-aa"))
    recorder.note(reading(9, boot="2-bb"))
    recorder.flush()
    recorder.note(status(2, queued=12, boot="3-cc"))
    # Two of boot 3, the eight of boot 2, so two of boot 1.
    assert on_record(recorder, "3-cc").waiting_from == 1
    assert on_record(recorder, "2-bb").waiting_from == 1
    assert on_record(recorder, "1-aa").waiting_from == 7
    recorder.note(status(4, queued=0, boot="3-cc"))
    for boot in ("1-aa", "2-bb", "3-cc"):
        assert on_record(recorder, boot).waiting_from is None


def test_an_old_status_changes_nothing(recorder):
    recorder.note(status(9, queued=0))
    recorder.flush()
    recorder.note(status(5, queued=5))
    recorder.flush()
    recorder.note(status(9, queued=3, retained=True))  # told again to a new subscriber
    found = on_record(recorder)
    assert (found.taken, found.queued, found.waiting_from) == (9, 0, None)
    recorder.note(status(9, queued=3))
    assert on_record(recorder).waiting_from == 7


@pytest.mark.parametrize("seq", [None, "9", True, -1, 1.5, 10**16])
def test_a_status_without_a_count_is_not_recorded(recorder, seq):
    recorder.note(status(seq))
    recorder.flush()
    assert not recorder.path.exists()
