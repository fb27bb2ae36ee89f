"""How an answer finds its command, without a broker between."""

import threading
import time
from dataclasses import replace

import pytest

from fieldhand import dialects
from fieldhand.errors import CommandFailed, CommandTimeout
from fieldhand.pending import MAX_ENDED, CommandBook, Pending
from fieldhand.records import Provenance, Reading, Reply, Status


class Desk:
    """A book whose packets go into a list."""

    def __init__(self):
        self.sent = []
        self.book = CommandBook(self.sent.append)
        self.number = 0

    def send(self, dialect, action, params=None, timeout=30.0, retries=0, node="n", options=None):
        self.number += 1
        params = params or {}
        pending = Pending(
            node, dialect, action, params, f"id-{self.number}", timeout, retries, options or {}
        )
        command = dialects.unbound(dialect).command(action)
        canonical = dict(command.fixed)
        for field in command.params:
            if field.name in params:
                canonical[field.means] = field.read(params[field.name])
        self.book.open(pending, command, canonical, pending.id)
        return pending


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    desk.book.close()


def reply(state="done", id=None, command=None, dialect="dese", node="n", data=None, error=None):
    return Reply(node, dialect, state, id, command, error, data or {}, None, time.time())


def status(dialect, node="n", boot=None, tenant=None, **values):
    origin, tenant = Provenance(boot), tenant or {}
    return Status(
        node, dialect, "online", values, None, time.time(), provenance=origin, tenant=tenant
    )


def test_by_id_in_any_order(desk):
    first, second = desk.send("dese", "reboot"), desk.send("dese", "reboot")
    desk.book.on_event("command_response", reply(id=second.id, data={"x": 1}))
    assert (first.state, second.state) == ("sent", "done")
    assert second.result() == {"x": 1}
    desk.book.on_event("command_response", reply("failed", id=first.id, error="busy"))
    with pytest.raises(CommandFailed, match="node 'n': reboot failed: busy"):
        first.result()


def test_an_id_of_another_node_is_nobodys(desk):
    pending = desk.send("dese", "reboot")
    assert desk.book.on_event("command_response", reply(id=pending.id, node="m")) is None
    assert pending.state == "sent"


def test_by_command_name_where_there_is_no_id_oldest_first(desk):
    first, second = (desk.send("iotnode", "set_led", {"state": "on"}) for _ in range(2))
    desk.book.on_event("status", reply(command="set_led", dialect="iotnode"))
    assert (first.state, second.state) == ("done", "sent")


def test_by_effect_only_when_it_is_the_effect(desk):
    on = desk.send("farm", "irrigation", {"state": 1})
    desk.book.on_event("STATUS", reply(dialect="farm", data={"irrigation": 0}))
    desk.book.on_event("STATUS", reply(dialect="farm", data={"fertilization": 1}))
    desk.book.on_event("STATUS", reply(dialect="farm", node="m", data={"irrigation": 1}))
    assert on.state == "sent"
    desk.book.on_event("STATUS", reply(dialect="farm", data={"irrigation": 1}))
    assert on.state == "done"


def test_by_effect_a_fixed_word_and_the_tenant_count(desk):
    start = desk.send("solar", "start_cleaning", options={"company": "c"})
    desk.book.on_event("status", status("solar", activity="idle", tenant={"company": "c"}))
    desk.book.on_event("status", status("solar", activity="running", tenant={"company": "d"}))
    assert start.state == "sent"
    desk.book.on_event("status", status("solar", activity="running", tenant={"company": "c"}))
    assert start.state == "done" and start.reply is None
    assert start.settled_by.values["activity"] == "running"


def test_a_heartbeat_of_a_node_that_answers_by_id_is_no_answer(desk):
    start = desk.send("solar", "start_cleaning")
    desk.book.on_event("status", status("solar", boot="b1", activity="running"))
    assert start.state == "sent"


def test_the_next_reading_answers_send_now_one_each(desk):
    first, second = desk.send("plantnanny", "send_now"), desk.send("plantnanny", "send_now")
    reading = Reading("n", "plantnanny", {"air_temperature": 20.0}, None, time.time())
    desk.book.on_event("data", reading)
    assert (first.state, second.state) == ("done", "sent")


def test_by_effect_every_command_that_wanted_it_until_something_else_was_wanted(desk):
    commands = [desk.send("farm", "irrigation", {"state": state}) for state in (1, 1, 0, 1)]
    other = desk.send("farm", "fertilization", {"state": 1})
    shown = reply(dialect="farm", data={"irrigation": 1, "fertilization": 1})
    assert desk.book.on_event("STATUS", shown) is commands[0]
    assert [one.state for one in commands] == ["done", "done", "sent", "sent"]
    assert other.state == "done"


def test_what_was_before_the_command_does_not_show_its_effect(desk):
    """By the node's own time: a backlog tells of what was."""
    on = desk.send("farm", "irrigation", {"state": 1})
    shown = reply(dialect="farm", data={"irrigation": 1})
    desk.book.on_event("STATUS", replace(shown, time=int(on.sent_at) - 3600))
    assert on.state == "sent"
    desk.book.on_event("STATUS", replace(shown, time=int(on.sent_at)))
    assert on.state == "done"
    sample = desk.send("plantnanny", "send_now")
    reading = Reading("n", "plantnanny", {}, int(sample.sent_at) - 7200, time.time())
    desk.book.on_event("data", reading)
    assert sample.state == "sent"
    desk.book.on_event("data", replace(reading, time=0))  # a clock that was never set
    assert sample.state == "done"


def test_an_effect_after_the_time_limit_is_a_late_answer_once(desk):
    on = desk.send("farm", "irrigation", {"state": 1}, timeout=0.05)
    assert on.wait(2) == "timeout"
    shown = reply(dialect="farm", data={"irrigation": 1})
    assert desk.book.on_event("STATUS", replace(shown, data={"irrigation": 0})) is None
    assert desk.book.on_event("STATUS", shown) is on
    assert desk.book.on_event("STATUS", shown) is None
    assert list(on.late) == [shown] and on.state == "timeout"


def test_an_effect_is_no_late_answer_where_something_was_asked_since(desk):
    on = desk.send("farm", "irrigation", {"state": 1}, timeout=0.05)
    assert on.wait(2) == "timeout"
    desk.send("farm", "irrigation", {"state": 0})
    assert desk.book.on_event("STATUS", reply(dialect="farm", data={"irrigation": 1})) is None
    assert not on.late


def test_accepted_extends_the_time_by_the_actuation(desk):
    pending = desk.send("plantnanny", "pump_water", {"durationMs": 400}, timeout=0.2)
    desk.book.on_event("status", reply("accepted", id=pending.id, dialect="plantnanny"))
    assert pending.wait(state="accepted") == "accepted"
    time.sleep(0.3)
    assert pending.state == "accepted"
    assert pending.wait(2) == "timeout"


def test_an_amount_takes_as_long_as_the_node_says(desk):
    pending = desk.send("plantnanny", "pump_water", {"amountMl": 10}, timeout=0.2)
    told = replace(
        reply("accepted", id=pending.id, dialect="plantnanny"), data={"duration_ms": 400}
    )
    desk.book.on_event("status", told)
    time.sleep(0.3)
    assert pending.state == "accepted"
    assert pending.wait(2) == "timeout"


def test_time_out_then_a_late_answer_is_kept_and_changes_nothing(desk):
    pending = desk.send("dese", "reboot", timeout=0.05)
    assert pending.wait(2) == "timeout"
    with pytest.raises(CommandTimeout, match="no answer within 0.05 s"):
        pending.result()
    late = reply(id=pending.id)
    assert desk.book.on_event("command_response", late) is pending
    assert list(pending.late) == [late] and pending.state == "timeout"


def test_retries_repeat_the_same_packet(desk):
    pending = desk.send("dese", "reboot", timeout=0.05, retries=2)
    assert pending.wait(2) == "timeout"
    assert desk.sent == [pending.id] * 3 and pending.attempts == 3


def test_no_retry_after_the_node_accepted(desk):
    pending = desk.send("dese", "reboot", timeout=0.1, retries=5)
    desk.book.on_event("command_response", reply("accepted", id=pending.id))
    assert pending.wait(2) == "timeout"
    assert pending.attempts == 1


def test_a_retry_that_cannot_be_published_is_an_attempt_all_the_same():
    calls = []

    def publish(packet):
        calls.append(packet)
        if len(calls) == 2:
            raise OSError("gone")

    book = CommandBook(publish)
    pending = Pending("n", "dese", "reboot", {}, "x", 0.05, 2, {})
    book.open(pending, dialects.unbound("dese").command("reboot"), {}, "p")
    assert pending.wait(2) == "timeout"
    assert len(calls) == 3
    book.close()


def test_a_command_that_cannot_be_published_is_not_remembered():
    def publish(packet):
        raise OSError("gone")

    book = CommandBook(publish)
    pending = Pending("n", "dese", "reboot", {}, "x", 0.05, 0, {})
    with pytest.raises(OSError, match="gone"):
        book.open(pending, dialects.unbound("dese").command("reboot"), {}, "p")
    assert book.on_event("command_response", reply(id="x")) is None
    book.close()


def test_close_ends_what_is_open_and_wakes_who_waits(desk):
    pending = desk.send("dese", "reboot")
    states = []
    waiter = threading.Thread(target=lambda: states.append(pending.wait(5)))
    waiter.start()
    desk.book.close()
    waiter.join(5)
    assert states == ["timeout"]
    with pytest.raises(CommandTimeout, match="reboot: the fleet was closed before an answer came"):
        pending.result()


def test_what_ended_is_remembered_up_to_a_limit(desk):
    pendings = [desk.send("dese", "reboot") for _ in range(MAX_ENDED + 1)]
    for pending in pendings:
        desk.book.on_event("command_response", reply(id=pending.id))
    assert desk.book.on_event("command_response", reply(id=pendings[0].id)) is None
    assert desk.book.on_event("command_response", reply(id=pendings[1].id)) is pendings[1]
