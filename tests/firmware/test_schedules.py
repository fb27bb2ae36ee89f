# heapsize: 16M
"""Runs at times of day and when the soil is dry, offline, across power cuts. Time is virtual."""

import json

from fake_node import EPOCH, Bench, FakeSensor, fresh_flash
from fieldtest import raises

from fieldproto import nodeconfig
from fieldproto.schema import FieldError

MINUTE = 60000
HOUR = 3600000
PUMP = {"name": "pump", "pin": 26, "max_run_s": 30}
PROBE = {"type": "analog", "pin": 34, "raw": [3200, 1300], "value": [0, 100]}


def plant(*schedules, **options):
    """The clock of the bench starts at midnight UTC; no NTP where `epoch` is None."""
    epoch = options.pop("epoch", EPOCH)
    pump = dict(PUMP, **options.pop("pump", {}))
    bench = Bench(
        "plantnanny",
        connect=False,
        sensor=FakeSensor(soil_moisture=options.pop("soil", 50.0)),
        interval_ms=MINUTE,
        actuators=[pump],
        sensors=[dict(PROBE, quantity="soil_moisture")],
        schedules=[dict(entry) for entry in schedules],
        **options,
    )
    bench.hal.epoch = epoch
    if epoch is not None:
        bench.clock.set(epoch)
    return bench


def runs(bench):
    return bench.hal.pins[26].levels.count(1)


AT = {"actuator": "pump", "at": ["00:10", "12:00"], "run_s": 20}
DRY = {"actuator": "pump", "when": "soil_moisture", "below": 30, "run_s": 10, "every_s": 3600}


def test_runs_at_its_times_of_day_without_any_network():
    fresh_flash()
    bench = plant(AT)
    bench.run(9 * MINUTE)
    assert runs(bench) == 0
    bench.run(2 * MINUTE)
    assert runs(bench) == 1 and bench.relays[0].run_ms == 20000
    bench.run(11 * HOUR)
    assert runs(bench) == 1
    bench.run(HOUR)
    assert runs(bench) == 2
    bench.run(24 * HOUR)
    assert runs(bench) == 4, runs(bench)


def test_a_pump_that_rests_is_one_alert_and_not_one_for_each_attempt():
    fresh_flash()
    bench = plant(dict(AT, at=["00:02"]), pump={"min_rest_s": 900})
    bench.relays[0].on(1000)
    bench.run(14 * MINUTE)
    bench.link.connect()
    bench.run(1)
    told = [obj["_fh"]["alert"] for _, obj, _ in bench.link.sent if "alert" in obj.get("_fh", {})]
    assert len(told) == 1 and "pump rests for 900 s" in told[0]["message"], told
    bench.run(3 * MINUTE)
    assert runs(bench) == 2


def test_a_time_that_was_once_wrong_does_not_end_a_schedule():
    fresh_flash()
    with open("schedules.json", "w") as file:
        json.dump({"pump at 00:10 12:00": EPOCH + 10**9}, file)
    bench = plant(AT)
    bench.run(11 * MINUTE)
    assert runs(bench) == 1


def test_a_record_of_nonsense_is_left_out():
    for nonsense in ("x", [1], {"a": 1}, None):
        fresh_flash()
        with open("schedules.json", "w") as file:
            json.dump({"pump at 00:10 12:00": nonsense, "pump when soil_moisture": nonsense}, file)
        bench = plant(AT, DRY, soil=10.0)
        bench.run(12 * MINUTE)
        assert runs(bench) == 2, nonsense


def test_times_are_local():
    fresh_flash()
    bench = plant(AT, utc_offset_min=-60)  # it is 23:00 there
    bench.run(69 * MINUTE)
    assert runs(bench) == 0
    bench.run(2 * MINUTE)
    assert runs(bench) == 1


def test_a_power_cut_in_that_minute_neither_repeats_nor_skips_the_run():
    fresh_flash()
    bench = plant(AT)
    bench.run(10 * MINUTE + 5000)
    assert runs(bench) == 1
    again = plant(AT, epoch=EPOCH + 10 * 60 + 20)  # the same minute, after the power cut
    again.run(HOUR)
    assert runs(again) == 0
    fresh_flash()
    plant(AT).run(5 * MINUTE)
    early = plant(AT, epoch=EPOCH + 86400 + 12 * 60)  # new, it does not make up for 00:10
    early.run(MINUTE)
    assert runs(early) == 0
    early.run(12 * HOUR)
    late = plant(AT, epoch=EPOCH + 2 * 86400 + 14 * 60)  # off from 00:05 to 00:14
    late.run(MINUTE)
    assert runs(early) == 1 and runs(late) == 1
    later = plant(AT, epoch=EPOCH + 3 * 86400 + 40 * 60)  # half an hour is too late
    later.run(MINUTE)
    assert runs(later) == 0


def test_without_a_known_time_no_run_is_guessed():
    fresh_flash()
    bench = plant(AT, epoch=None)
    bench.run(26 * HOUR)
    assert runs(bench) == 0


def test_dry_soil_is_watered_with_pauses_and_without_any_time():
    fresh_flash()
    bench = plant(DRY, epoch=None, soil=40.0)
    bench.run(2 * HOUR)
    assert runs(bench) == 0
    bench.sensor.values["soil_moisture"] = 29.0
    bench.run(2 * MINUTE)
    assert runs(bench) == 1
    bench.run(58 * MINUTE)
    assert runs(bench) == 1
    bench.run(4 * MINUTE)
    assert runs(bench) == 2
    bench.sensor.values["soil_moisture"] = "open circuit"
    bench.run(3 * HOUR)
    assert runs(bench) == 2, "no reading is no dry soil"


def test_reboots_do_not_water_over_and_over():
    fresh_flash()
    dry = plant(DRY, epoch=None, soil=10.0)
    dry.run(2 * MINUTE)
    assert runs(dry) == 1
    for _ in range(5):
        dry = plant(DRY, epoch=None, soil=10.0)
        dry.run(30 * MINUTE)
        assert runs(dry) == 0
    dry.run(35 * MINUTE)
    assert runs(dry) == 1, "the pause counts from the boot where the time is unknown"


def test_a_known_time_ends_the_pause_of_an_earlier_boot():
    fresh_flash()
    bench = plant(DRY, soil=10.0)
    bench.run(2 * MINUTE)
    assert runs(bench) == 1
    again = plant(DRY, soil=10.0, epoch=EPOCH + 3 * 3600)
    again.run(2 * MINUTE)
    assert runs(again) == 1


def test_a_run_that_cannot_start_is_reported_once_and_in_the_status():
    fresh_flash()
    bench = plant(AT)
    bench.hal.timers = 0
    bench.run(13 * MINUTE)
    assert runs(bench) == 0
    bench.link.connect()
    bench.run(1000)
    said = [obj["_fh"] for topic, obj, _ in bench.link.sent if topic.endswith("/status")]
    texts = [ext["alert"]["message"] for ext in said if "alert" in ext]
    assert len([t for t in texts if "no hardware timer" in t]) == 1, texts
    assert "no hardware timer" in said[-1]["also"]["schedule_error"], said[-1]


def test_a_wrong_schedule_is_refused_in_node_json():
    base = {
        "version": 1,
        "dialect": "plantnanny",
        "broker": {"host": "b"},
        "actuators": [PUMP],
        "sensors": [dict(PROBE, quantity="soil_moisture")],
    }
    for wrong, where in (
        ({"at": ["25:00"]}, "schedules[0].at: '25:00' is not a time HH:MM"),
        ({"at": ["6:30"]}, "schedules[0].at: '6:30' is not a time HH:MM"),
        ({"at": [630]}, "schedules[0].at: 630 is not a time HH:MM"),
        ({"at": None}, "schedules[0]: give one of at, when"),
        ({"when": "soil_moisture", "below": 3}, "schedules[0]: give one of at, when"),
        ({"at": None, "when": "ph", "below": 3}, "schedules[0].when: no sensor measures ph"),
        ({"at": None, "when": "soil_moisture"}, "schedules[0]: when and below go together"),
        ({"actuator": "x"}, "schedules[0].actuator: there is no actuator x"),
        ({"run_s": 31}, "schedules[0].run_s: is over max_run_s of pump"),
    ):
        entry = {"actuator": "pump", "at": ["00:10"], "run_s": 20}
        entry.update(wrong)
        error = raises(FieldError, nodeconfig.load, dict(base, schedules=[entry]))
        assert str(error).startswith(where), str(error)
