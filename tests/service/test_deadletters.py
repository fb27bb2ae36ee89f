"""`fieldhand dead-letter`: what was refused is looked at and tried once more."""

import json

import pytest
from click.testing import CliRunner

from fieldhand.cli import cli
from fieldhand.service.store import deadletters, nodes, readings
from fieldhand.service.store.database import Database

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
