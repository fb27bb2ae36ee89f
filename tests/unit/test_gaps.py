"""What is missing, worked out by hand from what is on record."""

import json
import time

import pytest

from fieldhand import fleetfile, gaps
from fieldhand.cli import main
from fieldhand.fleetfile import template
from fieldhand.gaps import BEFORE_RECORD, Gap, NoRecord, UnheardBoots
from fieldhand.ranges import Ranges, Span
from fieldhand.received import (
    BootRecord,
    News,
    NodeKey,
    ReceivedStore,
    Said,
    StoreError,
    path_beside,
)

POOL = NodeKey("dese", '{"org": "org-123"}', "pool")
HEARD = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def boot(name, *spans, taken=None, waiting_from=None, live=True, **said):
    return BootRecord(
        name, HEARD, HEARD + 60, Ranges(spans), taken, None,
        said.get("dropped"), said.get("unsendable"), None, HEARD if live else None, waiting_from,
    )  # fmt: skip


def missing(*boots):
    """[(boot, first, last)] of what is missing."""
    found = gaps.assess(POOL, boots)
    return [(boot.boot, gap.first, gap.last) for boot in found.boots for gap in boot.missing]


def test_all_there():
    found = gaps.assess(POOL, [boot("1-aa", Span(1, 9), taken=9), boot("2-bb", Span(1, 3))])
    assert found.complete and (found.received, found.missing, found.waiting) == (12, 0, 0)


def test_a_hole_lies_between_the_times_of_its_neighbours():
    (found,) = gaps.assess(
        POOL, [boot("1-aa", Span(1, 4, 10, 40), Span(7, 9, 70, 90), Span(11, 11, None, None))]
    ).boots
    assert found.missing == (Gap(5, 6, 40, 70), Gap(10, 10, 90, None))
    assert (found.taken, found.received) == (11, 8)


def test_what_was_taken_last_is_missing_too_unless_it_waits():
    assert missing(boot("1-aa", Span(1, 4), taken=9)) == [("1-aa", 5, 9)]
    found = gaps.assess(POOL, [boot("1-aa", Span(1, 4), taken=9, waiting_from=8)])
    (only,) = found.boots
    assert [(g.first, g.last) for g in only.missing] == [(5, 7)]
    assert [(g.first, g.last, g.why) for g in only.waiting] == [(8, 9, "waiting on the node")]
    assert not found.complete and (found.missing, found.waiting) == (3, 2)


def test_what_only_waits_is_not_missing():
    found = gaps.assess(POOL, [boot("1-aa", Span(1, 4), taken=9, waiting_from=5)])
    assert found.complete and found.waiting == 5


def test_a_boot_of_which_nothing_arrived_but_a_status():
    assert missing(boot("1-aa", taken=3)) == [("1-aa", 1, 3)]


def test_readings_before_the_record_began_are_missing_and_say_so():
    found = gaps.assess(POOL, [boot("4-aa", Span(5, 9)), boot("5-bb", Span(2, 3))])
    first, second = (record.missing[0] for record in found.boots)
    assert (first.first, first.last, first.why) == (1, 4, BEFORE_RECORD)
    assert (second.first, second.last, second.why) == (1, 1, None)


@pytest.mark.parametrize(
    ("names", "unheard"),
    [
        (["3-aa", "4-bb", "5-cc"], []),
        (["3-aa", "7-bb"], [(4, 6)]),
        (["3-aa", "5-bb", "9-cc"], [(4, 4), (6, 8)]),
        # The queue of a boot that never got through comes after the birth of the next.
        (["3-aa", "5-bb", "4-cc offline"], []),
        # The flash was erased: the count began anew.
        (["57-aa", "1-bb", "2-cc"], []),
        (["57-aa", "1-bb", "3-cc"], [(2, 2)]),
        (["1-aa", "1-bb", "1-cc"], []),
        # Names without a number.
        (["0badf00d", "cafe", "9-aa", "-aa", "x-y"], []),
    ],
)
def test_boots_never_heard_of(names, unheard):
    boots = [
        boot(name.split()[0], Span(1, 2), live="offline" not in name and name != "")
        for name in names
    ]
    found = gaps.assess(POOL, boots)
    assert found.unheard_boots == tuple(UnheardBoots(*pair) for pair in unheard)
    assert found.complete is not bool(unheard)


# -- from the fleet file and the record ----------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    template.write(tmp_path)
    return fleetfile.load(tmp_path / "fleet.toml")


def write(project, *entries):
    """(node, boot, ranges of numbers, Said or None)."""
    store = ReceivedStore(path_beside(project.path))
    for node, name, spans, said in entries:
        store.write({(node, name): News(HEARD, HEARD, Ranges(Span(*span) for span in spans), said)})
    store.close()


def run(capsys, *arguments):
    code = main(["gaps", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_nothing_missing(project, capsys):
    write(project, (POOL, "1-aa", [(1, 40)], Said(40, 0, 0, None, None, HEARD, False)))
    code, out, err = run(capsys, "pool")
    assert (code, err) == (0, "")
    assert out.startswith("pool: nothing missing; 40 arrived of 1 boot since 2026-01-01 ")


def test_every_kind_of_gap_in_words_and_json(project, capsys):
    t = int(HEARD)
    write(
        project,
        (POOL, "1-aa", [(3, 9, t, t + 6)], None),
        (POOL, "1-aa", [(12, 20, t + 9, t + 17)], Said(20, 0, 2, 1, 3, HEARD, False)),
        (POOL, "4-bb", [(1, 5, t, t + 4)], Said(9, 2, 0, None, None, HEARD, False)),
    )
    code, out, err = run(capsys, "pool")
    assert (code, err) == (1, "")
    assert out.splitlines()[1:] == [
        "  boot 1-aa: readings 1-2 (2) missing, before the first that was heard here,"
        " before 2026-01-01 00:00:00",
        "  boot 1-aa: readings 10-11 (2) missing,"
        " between 2026-01-01 00:00:06 and 2026-01-01 00:00:09",
        "  boot 1-aa: the node says: 2 dropped from its full queue",
        "  boot 1-aa: the node says: 1 could not be sent",
        "  boot 1-aa: the node says: 3 found damaged on its flash",
        "  boot 4-bb: readings 6-7 (2) missing, after 2026-01-01 00:00:04",
        "  boot 4-bb: readings 8-9 (2) waiting on the node",
        "  boots 2-3: never heard of",
    ]
    code, out, _ = run(capsys, "pool", "--json")
    found = json.loads(out)
    assert code == 1 and (found["missing"], found["waiting"], found["received"]) == (6, 2, 21)
    assert found["boots"][0]["missing"][1] == {
        "first": 10, "last": 11, "count": 2, "after": t + 6, "before": t + 9, "why": None,
    }  # fmt: skip
    assert found["unheard_boots"] == [{"first": 2, "last": 3, "count": 2}]
    assert set(found) == {
        "node", "dialect", "tenant", "complete", "recorded_since", "received", "missing",
        "waiting", "boots", "unheard_boots",
    }  # fmt: skip


def test_no_record_says_how_to_get_one(project, capsys):
    code, out, err = run(capsys, "pool")
    assert (code, out) == (2, "") and "nothing is on record" in err and "fieldhand watch" in err
    write(project, (NodeKey("farm", "{}", "farm_001"), "1-aa", [(1, 2)], None))
    code, out, err = run(capsys, "pool")
    assert (code, out) == (2, "") and "fieldhand watch" in err


def test_a_node_without_extras_has_no_numbers(tmp_path, project):
    text = project.path.read_text().replace("[node.pool]", "[node.pool]\nextras = false")
    project.path.write_text(text)
    with pytest.raises(NoRecord, match="extras = false"):
        gaps.of_node("pool", fleetfile.load(project.path))


def test_an_unknown_node_is_named_with_those_there_are(project, capsys):
    for _ in range(2):
        code, out, err = run(capsys, "pol")
        assert (code, out) == (2, "") and "did you mean 'pool'?" in err
        write(project, (POOL, "1-aa", [(1, 2)], None))


def test_a_stranger_that_was_heard_has_gaps_too(project, capsys):
    stranger = NodeKey("farm", "{}", "shed")
    write(project, (stranger, "1-aa", [(1, 1), (3, 3)], None))
    code, out, _ = run(capsys, "shed")
    assert code == 1 and "reading 2 missing" in out
    write(project, (NodeKey("dese", '{"org": "x"}', "shed"), "1-aa", [(1, 3)], None))
    code, _, err = run(capsys, "shed")
    assert code == 2 and "dese x" in err and "farm" in err


def test_another_tenants_pool_is_not_ours(project):
    write(project, (POOL._replace(tenant='{"org": "other"}'), "1-aa", [(2, 2)], None))
    with pytest.raises(NoRecord):
        gaps.of_node("pool", project)


def test_the_whole_fleet_a_line_each(project, capsys):
    code, out, err = run(capsys)
    assert code == 2 and len(out.splitlines()) == len(project.nodes) and "nothing" in err
    write(project, (POOL, "1-aa", [(1, 5)], None))
    code, out, err = run(capsys)
    assert code == 0 and out.count("\n") == len(project.nodes) and "pool: nothing missing" in out
    write(project, (NodeKey("farm", "{}", "farm_001"), "1-aa", [(2, 2)], None))
    code, out, err = run(capsys, "--json")
    found = {entry["node"]: entry["complete"] for entry in json.loads(out)}
    assert code == 1 and found["pool"] is True and found["farm_001"] is False
    assert found["greenhouse"] is None


def test_a_record_elsewhere(project, tmp_path, capsys):
    write(project, (POOL, "1-aa", [(1, 5)], None))
    elsewhere = tmp_path / "elsewhere.db"
    path_beside(project.path).rename(elsewhere)
    assert run(capsys, "pool", "--record", str(elsewhere))[0] == 0
    project.path.unlink()
    assert run(capsys, "pool", "--record", str(elsewhere))[0] == 0
    elsewhere.write_text("not a record, and rather longer than a header" * 9)
    with pytest.raises(StoreError):
        gaps.of_node("pool", None, elsewhere)
    assert run(capsys, "pool", "--record", str(elsewhere))[0] == 2
