# heapsize: 8M
"""Budgets, rest and the end of every run, through reboots, power cuts and a full flash."""

import json
import os

from fake_node import EPOCH, Bench, FakeHal, fresh_flash
from fieldtest import raises
from flash import Flash, umount

from fieldnode import runs, store
from fieldnode.relay import Refused

PUMP = {"name": "pump", "pin": 26, "max_run_s": 60}
DAY_S = 86400
WEAR = 0.3  # erases a run
COMMAND = "devices/n1/command"


def bench(epoch=EPOCH, cause="power", connect=True, **pump):
    """A node with a pump, booted with what is on the flash."""

    class Hal(FakeHal):
        pass

    Hal.cause = cause
    pumps = [dict(PUMP, **pump)]
    return Bench("plantnanny", hal=Hal, epoch=epoch, connect=connect, actuators=pumps)


def found(made):
    """The events published so far."""
    return [
        obj["_fh"]["event"] for topic, obj, _ in made.link.sent if "event" in obj.get("_fh", {})
    ]


def events(made):
    """Of the runs published so far: (by, reason, ran_ms)."""
    return [(event["by"], event["reason"], event.get("ran_ms")) for event in found(made)]


def run(made, seconds, by="schedule"):
    """Let the pump run for that long at most; how long it did, in s."""
    pump = made.relays[0]
    pump.on(seconds * 1000, by)
    made.run(seconds * 1000 + 100)
    assert not pump.running
    return pump.ran_ms / 1000


def pass_time(made, seconds):
    made.time.advance(seconds * 1000)
    if made.hal.epoch:
        made.hal.epoch += seconds
    made.node.step()
    made.link.sent = []


def refusal(made, by="schedule"):
    return str(raises(Refused, made.relays[0].on, 1000, by))


def test_the_reason_of_every_end_is_published():
    fresh_flash()
    made = bench()
    pump = made.relays[0]
    pump.on(2000, "schedule")
    made.run(3000)
    pump.on(9000)
    made.run(1000)
    pump.on(9000)  # a command replaces a run
    made.run(2000)
    pump.off("stopped")
    made.run(100)
    assert events(made) == [
        ("schedule", "done", 2000),
        ("command", "replaced", 1000),
        ("command", "stopped", 2000),
    ]
    assert all([not retain for topic, obj, retain in made.link.sent if "event" in obj["_fh"]])


def test_an_event_waits_for_the_link():
    fresh_flash()
    made = bench()
    made.link.lose()
    run(made, 5)
    assert events(made) == []
    made.link.connect()
    made.run(100)
    assert events(made) == [("schedule", "done", 5000)]


def test_a_run_is_shortened_to_the_budget_of_the_day_and_the_next_refused():
    fresh_flash()
    made = bench(daily_run_s=90)
    assert run(made, 50) == 50
    assert run(made, 50) == 40
    assert events(made) == [("schedule", "done", 50000), ("schedule", "budget", 40000)]
    assert "90 s of today" in refusal(made)
    answer = made.command(COMMAND, {"action": "pump_water", "durationMs": 1000})
    acks = [obj["_fh"]["ack"] for topic, obj, retain in answer if "ack" in obj.get("_fh", {})]
    assert acks[0]["state"] == "failed" and "90 s of today" in acks[0]["error"]
    assert made.hal.pins[26].levels.count(1) == 2


def test_what_a_run_did_not_use_is_given_back():
    fresh_flash()
    made = bench(daily_run_s=90)
    made.relays[0].on(60000)
    made.run(10000)
    made.relays[0].off("stopped")
    assert run(made, 60) == 60
    assert run(made, 60) == 20


def test_the_budget_in_ml_goes_by_the_calibration():
    fresh_flash()
    made = bench(daily_ml=1000, flow_ml_per_s=25)
    assert run(made, 30) == 30  # 750 ml
    assert run(made, 30) == 10  # and 250
    assert "1000 ml of today" in refusal(made)


def test_the_budget_survives_a_reboot():
    fresh_flash()
    run(bench(daily_run_s=90), 50)
    assert run(bench(daily_run_s=90, epoch=EPOCH + 600), 50) == 40


def test_a_new_local_day_brings_a_new_budget():
    fresh_flash()

    def at(epoch):
        made = Bench(
            "plantnanny",
            epoch=epoch,
            utc_offset_min=120,
            actuators=[dict(PUMP, daily_run_s=60)],
        )
        return made

    run(at(EPOCH), 60)  # 02:00 in local time
    assert "today" in refusal(at(EPOCH + 22 * 3600 - 2))
    made = at(EPOCH + 22 * 3600 - 2)
    made.run(3000)  # midnight
    assert run(made, 60) == 60
    # A clock that was put back empties no account, and the next day comes all the same.
    assert "today" in refusal(at(EPOCH - 9 * DAY_S))
    assert run(at(EPOCH - 8 * DAY_S), 60) == 60


def test_without_the_time_a_reboot_never_brings_a_new_budget():
    fresh_flash()
    run(bench(epoch=None, daily_run_s=60), 60)
    for _ in range(3):
        made = bench(epoch=None, daily_run_s=60)
        pass_time(made, DAY_S - 10)
        assert "today" in refusal(made)
    pass_time(made, 11)  # the node is up for 24 h
    assert run(made, 60) == 60
    made = bench(daily_run_s=60, epoch=EPOCH + 9 * DAY_S)
    assert "today" in refusal(made)  # used on a day that nobody knows: on this one, then


def test_a_power_cut_in_a_run_costs_the_whole_lease_and_is_not_resumed():
    fresh_flash()
    made = bench(daily_run_s=90)
    made.relays[0].on(60000, command={"id": "c1", "command": "pump_water"})
    made.run(1000)
    made = bench(daily_run_s=90)  # after the power cut
    assert made.hal.pins[26].levels == [0]
    assert run(made, 60) == 30


def test_the_reset_cause_tells_how_a_run_was_cut():
    for cause, reason in (
        ("power", "power"),
        ("hard", "crash"),
        ("watchdog", "watchdog"),
        ("soft", "restart"),
    ):
        fresh_flash()
        command = {"id": "c1", "command": "pump_water"}
        bench().relays[0].on(60000, "command", None, command)
        made = bench(cause=cause, connect=False)
        made.link.connect()
        made.run(1)
        assert events(made) == [("command", reason, None)], (cause, events(made))
        event = found(made)[0]
        assert event["id"] == "c1" and event["lease_ms"] == 60000, event
        made.run(70000)
        made = bench(connect=False)
        made.link.connect()
        made.run(1)
        assert events(made) == []  # told once


def test_a_minimum_rest_also_across_a_reboot():
    fresh_flash()
    made = bench(min_rest_s=300)
    run(made, 10)
    made.run(200000)
    assert "100 s are left" in refusal(made)
    made.run(100000)
    run(made, 10)
    made = bench(min_rest_s=300, epoch=EPOCH + 310 + 250)
    assert "are left" in refusal(made)
    assert run(bench(min_rest_s=300, epoch=EPOCH + 310 + 320), 10) == 10
    made = bench(min_rest_s=300, epoch=None)  # nobody knows how long it was off
    assert "are left" in refusal(made)
    made.run(300000)
    assert run(made, 10) == 10


def test_a_command_cannot_get_around_the_rest_by_replacing_a_run():
    fresh_flash()
    made = bench(min_rest_s=300)
    made.relays[0].on(10000)
    assert "rests" in refusal(made, "command")
    assert made.relays[0].running


def test_a_commanded_run_ends_when_the_link_is_lost_for_longer_than_the_grace_time():
    fresh_flash()
    made = bench(link_grace_s=20)
    pump = made.relays[0]
    pump.on(60000)
    made.run(5000)
    made.link.lose()
    made.run(19000)
    made.link.connect()
    made.run(5000)
    assert pump.running  # the broker was back in time
    made.link.lose()
    made.run(21200)
    assert not pump.running and pump.ended == "link lost" and made.hal.pins[26].value() == 0
    assert 49000 <= pump.ran_ms < 51100, pump.ran_ms  # 5 + 19 + 5 and 20 s of grace
    assert run(made, 50) == 50  # what began by itself goes on by itself
    made.link.connect()
    made.run(100)
    assert [reason for by, reason, ms in events(made)] == ["link lost", "done"]


def test_a_command_that_comes_before_the_link_is_up_again_has_its_grace_time():
    # As on a session that the broker kept, while the subscriptions are made anew.
    fresh_flash()
    made = bench(link_grace_s=20)
    pump = made.relays[0]
    made.link.lose()
    made.run(300000)
    pump.on(10000)
    made.run(4000)
    assert pump.running, pump.ended
    made.link.connect()
    made.run(6100)
    assert pump.ended == "done" and pump.ran_ms == 10000, (pump.ended, pump.ran_ms)


def test_a_budget_that_cannot_be_written_refuses_the_run():
    def full(path, obj):
        raise OSError(28)

    fresh_flash()
    save, store.save = store.save, full
    try:
        made = bench(daily_run_s=90)
        assert "cannot be written" in refusal(made)
        assert made.hal.pins[26].levels.count(1) == 0
        plain = bench()  # the lease bounds the harm, and a plant that gets no water dies
        assert run(plain, 10) == 10
    finally:
        store.save = save
    assert run(made, 60) == 60  # what was refused is not charged
    assert run(made, 60) == 30


def test_an_end_that_could_not_be_written_is_written_later():
    def full(path, obj):
        raise OSError(28)

    fresh_flash()
    made = bench(daily_run_s=90)
    made.relays[0].on(50000)
    save, store.save = store.save, full
    made.run(51000)
    store.save = save
    assert "run" in store.load(runs.FILE)["pump"]
    made.run(61000)
    assert (
        store.load(runs.FILE)["pump"]["ms"] == 50000 and "run" not in store.load(runs.FILE)["pump"]
    )


def test_no_timer_no_charge():
    class Busy(FakeHal):
        timers = 0

    fresh_flash()
    made = Bench("plantnanny", hal=Busy, actuators=[dict(PUMP, daily_run_s=90)])
    assert "timer" in refusal(made)
    record = store.load(runs.FILE)["pump"]
    assert record.get("ms", 0) == 0 and "run" not in record and events(made) == []


def test_the_record_is_written_before_the_pump_is_on_and_the_timer_is_armed_in_between():
    seen = []

    class Watched(FakeHal):
        def one_shot(self, ms, callback):
            seen.append(("armed", self.pins[26].value(), "run" in store.load(runs.FILE)["pump"]))
            return super().one_shot(ms, callback)

    fresh_flash()
    made = Bench("plantnanny", hal=Watched, actuators=[dict(PUMP, daily_run_s=90)])
    made.relays[0].on(1000)
    assert seen == [("armed", 0, True)] and made.hal.pins[26].value() == 1


def test_a_damaged_record_counts_as_used_up_until_tomorrow():
    for content in ("", "{", "[]", '{"pump": 5}', '{"pump": {"ms": "x"}}'):
        fresh_flash()
        with open(runs.FILE, "w") as file:
            file.write(content)
        made = bench(daily_run_s=90, daily_ml=100, flow_ml_per_s=1)
        assert "today" in refusal(made), content
        pass_time(made, DAY_S)
        assert run(made, 60) == 60, content
    fresh_flash()
    with open(runs.FILE, "w") as file:
        file.write("{")
    assert run(bench(), 10) == 10  # without a budget there is nothing to lose
    fresh_flash()
    store.damaged.append("file system")  # made anew: who knows what was on it
    try:
        assert "today" in refusal(bench(daily_run_s=90))
    finally:
        store.damaged.clear()


def test_records_of_relays_that_are_gone_are_dropped():
    fresh_flash()
    run(bench(), 1)
    Bench("plantnanny", actuators=[dict(PUMP, name="valve")]).relays[0].on(1000)
    with open(runs.FILE) as file:
        assert list(json.load(file)) == ["valve"]
    assert runs.FILE + ".new" not in os.listdir()


def on_flash(path="/runs"):
    """An empty littlefs of a board's block size as the node's file system."""
    flash = Flash(16).format().mount(path)
    os.chdir(path)
    return flash


def test_a_power_cut_at_any_write_of_a_run_leaves_the_budget_charged():
    flash = on_flash()
    made = bench(daily_run_s=90)
    run(made, 10)
    cuts = []

    def cut(flash):
        cuts.append((made.hal.pins[26].value(), flash.torn(flash.pending() // 2)))

    flash.before = cut
    made.relays[0].on(60000)
    made.run(20000)
    made.relays[0].off("stopped")
    flash.before = None
    umount("/runs")
    assert len(cuts) >= 4
    for level, copy in cuts:  # before the run, in it, after it
        copy.mount("/runs")
        os.chdir("/runs")
        used = store.load(runs.FILE)["pump"]["ms"]
        assert used == 70000 if level else used in (10000, 70000, 30000), (level, used)
        umount("/runs")


def test_runs_do_not_wear_the_flash():
    flash = on_flash()
    made = bench(daily_run_s=86400)
    run(made, 1)
    before = flash.erases
    for _ in range(200):
        run(made, 1)
    umount("/runs")
    print("erases a run: %.3f" % ((flash.erases - before) / 200))
    assert (flash.erases - before) / 200 <= WEAR
