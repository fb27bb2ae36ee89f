"""`fieldhand dead-letter`: what was refused is looked at and tried once more."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from service.test_ingest import ingesting, packet, publisher, until

from fieldhand.cli import cli
from fieldhand.records import Status
from fieldhand.service.store import (
    commands,
    deadletters,
    events,
    nodes,
    readings,
    retention,
    schema,
)
from fieldhand.service.store.commands import CommandRow
from fieldhand.service.store.database import Database

ROOT = Path(__file__).resolve().parents[2]

# As the PlantNanny document prints a reading (seeds, "devices/{id}/data").
GOOD = b'{"temperatureC": 24.3, "humidityPct": 55, "luminosityPct": 75, "ts": 1737972000}'


@pytest.fixture
def run(database_url):
    def run(*arguments):
        result = CliRunner().invoke(
            cli, ["dead-letter", *arguments, "--database", database_url], standalone_mode=False
        )
        return result.return_value or 0, result.stdout, result.exception

    return run


@pytest.fixture
def letters(database_url):
    """Five letters: 1 can be read, 2 and 3 cannot, 4 came whole but is kept in part, 5 as 1."""
    database = Database(database_url)
    database.open()
    rows = [
        ("devices/g1/data", GOOD, "an old version knew it not", 100.0, None),
        ("devices/g1/data", b"\xff\x00", "is not UTF-8", 110.0, None),
        ("nobody/knows", b"{}", "no dialect has this topic", 120.0, None),
        ("devices/g1/data", GOOD, "is 99999 bytes, more than 65536", 130.0, 99_999),
        ("devices/g1/data", GOOD, "came again", 140.0, None),
    ]
    with database.writing() as connection:
        made = [deadletters.row_of(t, p, r, at, size=size) for t, p, r, at, size in rows]
        deadletters.add(connection, made)
    yield database
    database.close()


def test_list(run, letters):
    code, out, _ = run("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["5", "4", "3", "2", "1"]
    assert "nobody/knows: no dialect has this topic" in out
    _, out, _ = run("list", "--topic", "nobody/knows", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [3]


def test_show(run, letters):
    code, out, _ = run("show", "2")
    assert code == 0 and "payload   2 bytes" in out and "\\xff\\x00" in out
    _, out, _ = run("show", "4")
    assert f"99999 bytes, the first {len(GOOD)} of them kept" in out
    _, _, error = run("show", "77")
    assert "no dead letter 77" in error.format_message()


def test_replay(run, letters):
    code, out, _ = run("replay", "--all")
    assert code == 1
    refused = {int(line.split()[0]): line for line in out.splitlines()}
    assert sorted(refused) == [2, 3, 4]
    assert "UTF-8" in refused[2] and "99999 bytes were kept" in refused[4]
    with letters.reading() as connection:
        (node,) = nodes.find(connection, "g1")
        (row,) = readings.history(connection, node.id)  # 1 and 5 say the same
        assert (row["received"], row["time"]) == (140.0, 1737972000)
        assert row["quantities"]["air_temperature"] == 24.3
        assert deadletters.count(connection) == 5
        waiting = [letter.id for letter in deadletters.listing(connection, waiting=True)]
    assert waiting == [4, 3, 2]
    assert run("replay", "1")[0] == 0  # once more changes nothing
    with letters.reading() as connection:
        assert readings.count(connection) == 1


def test_replay_says_what_to_give(run, letters):
    for arguments in ([], ["--all", "1"]):
        _, _, error = run("replay", *arguments)
        assert "NUMBERS" in error.format_message()


def reading_letters(database, *moments):
    """A refused reading of g1 at each of these Unix seconds, with 20 °C and then a degree more."""
    rows = []
    for nth, at in enumerate(moments):
        payload = {**json.loads(GOOD), "temperatureC": 20.0 + nth, "ts": at}
        rows.append(
            deadletters.row_of("devices/g1/data", json.dumps(payload).encode(), "of old", at + 1.0)
        )
    with database.writing() as connection:
        deadletters.add(connection, rows)


def hours(database):
    """(hour's start, n, lowest, mean, highest) of the air's temperature."""
    table = schema.rollup_hour
    with database.reading() as connection:
        found = connection.execute(
            sa.select(table).where(table.c.quantity == "air_temperature").order_by(table.c.start)
        )
        return [(row.start, row.n, row.min, row.mean, row.max) for row in found]


def test_what_is_replayed_after_its_hour_was_rolled_up_is_in_it(run, database):
    hour = 1_737_972_000  # 482,770 * 3600
    # One that is newer than all that is replayed.
    reading_letters(database, hour + 7200)
    assert run("replay", "--all")[0] == 0
    assert retention.roll_up(database) == 1
    reading_letters(database, hour, hour + 600, hour + 3600)
    assert run("replay", "--all")[0] == 0
    assert retention.roll_up(database) == 3
    assert hours(database) == [
        (hour, 2, 20.0, 20.5, 21.0),
        (hour + 3600, 1, 22.0, 22.0, 22.0),
        (hour + 7200, 1, 20.0, 20.0, 20.0),
    ]


def test_a_replay_stores_as_often_as_the_fleet_file_says(run, database, tmp_path):
    file = tmp_path / "fleet.toml"
    file.write_text("[service]\nstore_every = { plantnanny = 60 }\n")
    start = 1_737_972_000
    reading_letters(database, *range(start, start + 100, 10))
    assert run("replay", "1", "7", "10", "--file", str(file))[0] == 0
    assert run("replay", "--all", "--file", str(file))[0] == 0
    with database.reading() as connection:
        (node,) = nodes.find(connection, "g1")
        found = sorted(row["time"] - start for row in readings.history(connection, node.id))
        assert deadletters.listing(connection, waiting=True) == []
    # 90 s is too near to 60 s, and each of the others to one of both.
    assert found == [0, 60]


def test_a_replay_knows_no_more_nodes_than_the_service(run, database, monkeypatch):
    monkeypatch.setenv("FIELDHAND_SERVICE_MAX_NODES", "1")
    with database.writing() as connection:
        key = nodes.key_of("plantnanny", {}, "g0")
        nodes.ensure(connection, database, key, None)
    reading_letters(database, 1_737_972_000)
    code, out, _ = run("replay", "--all")
    assert code == 1 and "1 nodes are known" in out
    with database.reading() as connection:
        assert [node.name for node in nodes.listing(connection)] == ["g0"]
        assert deadletters.count(connection) == 1
    monkeypatch.setenv("FIELDHAND_SERVICE_MAX_NODES", "2")
    assert run("replay", "--all")[0] == 0


# -- schemas that evolve ---------------------------------------------------------------------------


def carrying(number, document=None, **ext):
    """A reading of g2 with more in its document and in its extension."""
    topic, payload = packet("g2", number)
    obj = {**json.loads(payload), **(document or {})}
    obj["_fh"].update(ext)
    return topic, obj


@pytest.fixture
def newer_host(tmp_path):
    """Runs `fieldhand dead-letter` of a host that knows version 2 and one more field."""
    tree = tmp_path / "protocol"
    shutil.copytree(ROOT / "protocol", tree, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in [
        ("uplink.py", "EXT_VERSION = 1 ", "EXT_VERSION = 2 "),
        (
            "dialects/plantnanny.py",
            'F("uptime", "int"',
            'F("leafWetPct", "number", means="leaf_wetness", unit="%"), F("uptime", "int"',
        ),
    ]:
        file = tree / "fieldproto" / name
        text = file.read_text("utf-8")
        assert text.count(old) == 1
        file.write_text(text.replace(old, new), "utf-8")

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "fieldhand.cli", "dead-letter", *arguments],
            env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{ROOT / 'host'}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_what_newer_firmware_sends_is_stored_now_or_after_the_update(
    mosquitto, newer_host, tmp_path
):
    """Over the wire: keys that only it knows, a newer version, and a document's new field."""
    url = f"sqlite:///{tmp_path}/service.db"
    store = Database(url)
    store.open()
    with ingesting(mosquitto, store, client_id="evolution") as ingest:
        with publisher(mosquitto) as publish:
            publish(*carrying(1, floor_dbm=-90, sky={"cover": [1, 2]}))
            publish(*carrying(2, v=2))
            publish(*carrying(2, v=2))  # as a broker does that missed the acknowledgement
            publish(*carrying(3, {"leafWetPct": 12.5}))
            publish(*carrying(4))
        until(lambda: ingest.counts["reading"] == 2 and ingest.counts["invalid"] == 3)

    def stored():
        with store.reading() as connection:
            (node,) = nodes.find(connection, "g2")
            return {row["seq"]: row for row in readings.history(connection, node.id)}

    def waiting():
        with store.reading() as connection:
            return deadletters.listing(connection, waiting=True)

    assert sorted(stored()) == [1, 4]
    assert stored()[1]["quantities"] == stored()[4]["quantities"]
    learnt, again, version = waiting()
    assert learnt.reason == "plantnanny data: leafWetPct: is not a field of this message"
    assert (learnt.dialect, learnt.field) == ("plantnanny", "leafWetPct")
    assert (version.dialect, version.field) == ("plantnanny", "_fh.v")
    assert again.reason == version.reason
    assert version.reason == (
        "plantnanny data: _fh.v: is 2, understood only by a newer Fieldhand "
        "(this one: up to 1); update the host, then `fieldhand dead-letter replay --all`"
    )
    replay = ["dead-letter", "replay", "--all", "--database", url]
    same_host = CliRunner().invoke(cli, replay, standalone_mode=False)
    assert same_host.return_value == 1 and len(waiting()) == 3

    assert newer_host("replay", "--all", "--database", url) == (
        0, "", "3 stored, 0 refused again\n",
    )  # fmt: skip
    assert waiting() == [] and sorted(stored()) == [1, 2, 3, 4]
    assert stored()[2]["quantities"] == stored()[1]["quantities"]
    assert stored()[3]["quantities"] == {**stored()[1]["quantities"], "leaf_wetness": 12.5}
    store.close()


# -- a replay tells of the past --------------------------------------------------------------------

STATUS = "devices/g1/status"


def letter(database, payload, received):
    with database.writing() as connection:
        row = deadletters.row_of(STATUS, json.dumps(payload).encode(), "of old", received)
        deadletters.add(connection, [row])


def node_of(database):
    with database.writing() as connection:
        key = nodes.key_of("plantnanny", {}, "g1")
        return nodes.ensure(connection, database, key, None)


def state(database, node):
    with database.reading() as connection:
        return nodes.statuses(connection, [node.id])[node.id]["state"]


def test_a_replayed_status_is_the_state_of_a_node_only_if_none_came_since(run, database):
    node = node_of(database)
    letter(database, {"status": "online"}, 100.0)
    letter(database, {"status": "offline"}, 200.0)
    assert run("replay", "--all")[0] == 0
    assert state(database, node) == "offline"
    letter(database, {"status": "online", "_fh": {"event": {"event": "run"}}}, 300.0)
    with database.writing() as connection:
        gone = Status("g1", "plantnanny", "offline", {}, None, 500.0)
        nodes.set_status(connection, database, {node.id: gone})
        nodes.heard(connection, {node.id: 500.0})
    assert run("replay", "--all")[0] == 0
    assert state(database, node) == "offline"
    with database.reading() as connection:
        assert nodes.get(connection, node.id).last_heard == 500.0
        assert [row["name"] for _, row in events.history(connection, node_id=node.id)] == ["run"]


def asked(database, node, id, created, **values):
    row = CommandRow(
        id=id, node_id=node.id, action="send_now", params={}, state="sent", caller="test",
        idempotency=None, created=created, sent=created, accepted=None, ended=None,
        deadline=created + 30, timeout_s=30, retries=0, attempts=1, error=None, data=None,
    )  # fmt: skip
    with database.writing() as connection:
        assert commands.add(connection, database, row.with_values(values))


def answer(id, **ack):
    return {"status": "online", "_fh": {"boot": "1-a", "ack": {
        "command": "send_now", "state": "done", **({"id": id} if id else {}), **ack}}}  # fmt: skip


def test_a_replayed_answer_is_noted_with_the_command_it_names(run, database):
    node = node_of(database)
    asked(database, node, "old", 100.0, state="timeout", ended=130.0, deadline=None)
    asked(database, node, "now", time.time())
    letter(database, answer("old", data={"pulses": 4}), 104.0)
    letter(database, answer(None), 105.0)
    for _ in range(2):
        assert run("replay", "1", "2")[0] == 0
    with database.reading() as connection:
        (found,) = commands.answers(connection, "old")
        assert (found["state"], found["late"], found["received"]) == ("done", True, 104.0)
        assert found["data"] == {"pulses": 4}
        # What names no command is of long ago: it is not the answer to what was asked since.
        assert commands.get(connection, "now").state == "sent"
        assert commands.answers(connection, "now") == []
