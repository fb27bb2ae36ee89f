import io
import time

from rich.console import Console

from fieldhand.client import BrokerAddress, FleetCounts, NodeView
from fieldhand.livetable import SPARK_WIDTH, LiveTable, age, sparkline
from fieldhand.records import Alert, NodeEvent, Reading, Status


def test_sparkline_spans_its_own_range():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▄▄"
    assert sparkline([]) == ""
    assert sparkline([-1, 1]) == "▁█"


def test_age():
    assert [age(s) for s in (None, -1, 3, 600, 36000)] == ["-", "0 s", "3 s", "10 min", "10 h"]


class View:
    """What LiveTable asks of a fleet."""

    broker = BrokerAddress("h", 1)
    connected = True
    counts = FleetCounts(readings=2, invalid=1)

    def __init__(self, *views):
        self.views = views

    def nodes(self):
        return list(self.views)


def text_of(table, fleet):
    out = io.StringIO()
    Console(file=out, width=140).print(table.render(fleet))
    return out.getvalue()


def test_a_row_shows_state_values_sparklines_queue_and_age():
    now = time.time()
    table = LiveTable()
    for value in range(SPARK_WIDTH + 5):
        reading = Reading("p[1]", "dese", {"ph": 7.0 + value, "orp": 650}, None, now)
        table.add(reading)
    table.add(Alert("p[1]", "dese", "warning", "pH above 7.8", "ph", 8.0, 7.8, None, now))
    table.add(NodeEvent("p[1]", "dese", "run", {"reason": "dry run"}, None, now))
    status = Status("p[1]", "dese", "online", {"queued": 4}, None, now)
    shown = text_of(
        table,
        View(
            NodeView("p[1]", "dese", True, {}, status, reading, now - 3),
            NodeView("quiet", "farm", True, {}, None, None, None),
        ),
    )
    assert "p[1]" in shown and "online" in shown and "650 mV" in shown and " 3 s" in shown
    spark = next(line for line in shown.splitlines() if "ph" in line and "▁" in line)
    assert sum(spark.count(block) for block in "▁▂▃▄▅▆▇█") == SPARK_WIDTH
    assert "pH above 7.8" in shown and "not heard" in shown
    assert "p[1] run reason=dry run" in shown
    assert "2 readings" in shown and "1 refused" in shown
    assert " 4 " in shown


def test_a_node_that_needs_help_says_so_in_place_of_what_it_does():
    for values, word in (
        ({"safe_mode": True, "activity": "idle"}, "safe mode"),
        ({"config_error": "node.json: ..."}, "config error"),
    ):
        status = Status("n", "plantnanny", "online", values, None, time.time())
        view = NodeView("n", "plantnanny", True, {}, status, None, time.time())
        shown = text_of(LiveTable(), View(view))
        assert word in shown and "idle" not in shown and "online" not in shown


def test_names_of_strangers_do_not_move_the_terminal():
    now = time.time()
    name = "evil\x1b[2J\nnode\u202e"
    reading = Reading(name, "dese", {"q\x07": 1.0}, None, now)
    status = Status(name, "dese", "on\x9bline", {}, None, now)
    table = LiveTable()
    table.add(Alert(name, "dese", "warning", "\rhigh", "ph", 8.0, 7.8, None, now))
    shown = text_of(table, View(NodeView(name, "dese", False, {}, status, reading, now)))
    assert "evil\\x1b[2J\\nnode\\u202e" in shown and "\\rhigh" in shown
    assert not {"\x1b", "\x9b", "\x07", "\r", "\u202e"} & set(shown)


def test_one_node_only():
    views = [NodeView(name, "farm", True, {}, None, None, None) for name in ("aaa", "bbb")]
    shown = text_of(LiveTable("aaa"), View(*views))
    assert "aaa" in shown and "bbb" not in shown
