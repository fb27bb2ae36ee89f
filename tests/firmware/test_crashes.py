# heapsize: 500k
"""Crashes in a row, safe mode, and what is kept for the day that a file is damaged."""

import json
import os

from fake_node import Bench, FakeNvs, FakeSensor, fresh_flash

from fieldnode import backup, store
from fieldnode.crashes import CRASH_LIMIT, MAX_PAUSE_MS, TRACEBACK, Crashes
from fieldnode.health import Health
from fieldproto import nodeconfig

fresh_flash()
COMMAND = "devices/n1/command"
PUMP = {"name": "pump", "pin": 26, "max_run_s": 60}
NODE_JSON = {
    "version": 1,
    "node": "n1",
    "dialect": "plantnanny",
    "extras": True,
    "wifi": {"ssid": "farm"},
    "broker": {"host": "192.0.2.1", "port": 1883},
    "interval_ms": 30000,
    "sensors": [{"type": "dht22", "pin": 4}],
    "actuators": [PUMP, {"name": "valve", "pin": 27, "active_low": True, "max_run_s": 5}],
}


def fault(text="boom"):
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        return error


def crashed(nvs, times, cause="hard"):
    """A start after `times` starts that crashed."""
    for _ in range(times):
        Crashes(nvs, cause).note(fault())
    return Crashes(nvs, cause)


class Health_:
    """A node with its health part, in virtual time."""

    def __init__(self, crashes, nvs, unsaved=None):
        self.bench = Bench("plantnanny", actuators=[PUMP])
        node, hal = self.bench.node, self.bench.hal
        hal.largest_block = lambda: 65536
        self.bench.link.up_ms = 0
        node.parts.append(Health(node, hal, self.bench.clock, nvs, crashes, unsaved))

    def status(self):
        return self.bench.node.reports.status()


def test_brown_outs_are_counted_and_are_no_crashes():
    nvs = FakeNvs()
    for cause in ("power", "brownout", "hard", "brownout"):
        start = Crashes(nvs, cause)
    assert nvs.get_str("brownouts") == "2"
    assert not start.safe and start.count == 0
    nvs.set_str("brownouts", "damaged")
    Crashes(nvs, "brownout")  # does not keep the node from its start


def test_a_first_start_is_an_ordinary_one():
    start = Crashes(FakeNvs(), "power")
    assert not start.safe and not start.fresh and start.count == 0


def test_three_crashes_in_a_row_make_the_next_start_safe():
    nvs = FakeNvs()
    for expected in (1, 2):
        start = crashed(nvs, 1)
        assert start.count == expected and not start.safe and start.fresh
    start = crashed(nvs, 1)
    assert CRASH_LIMIT == 3 and start.count == 3 and start.safe
    assert "RuntimeError: boom" in start.text and "test_crashes.py" in start.text


def test_after_safe_mode_one_start_is_as_usual_and_its_crash_leads_back():
    nvs = FakeNvs()
    assert crashed(nvs, 3).safe
    start = Crashes(nvs, "hard")  # a restart, or the power: whatever ends safe mode
    assert not start.safe and start.count == 3
    start.note(fault())
    start = Crashes(nvs, "hard")
    assert start.safe and start.count == 4
    start.note(fault())  # in safe mode
    assert Crashes(nvs, "hard").safe


def test_the_watchdog_counts_as_a_crash():
    nvs = FakeNvs()
    for count in (1, 2):
        start = Crashes(nvs, "watchdog")
        assert start.count == count and start.fresh and "hung" in start.text and not start.safe
    assert Crashes(nvs, "watchdog").safe


def test_power_cuts_do_not():
    nvs = FakeNvs()
    for _ in range(10):
        assert not Crashes(nvs, "power").safe


def test_the_pause_before_the_next_start_grows_and_is_bounded():
    nvs = FakeNvs()
    pauses = [Crashes(nvs, "hard").note(fault()) for _ in range(40)]
    # 5 s, doubled each time, 10 minutes at most.
    assert pauses[:8] == [5000, 10000, 20000, 40000, 80000, 160000, 320000, 600000]
    assert set(pauses[8:]) == {MAX_PAUSE_MS}


def test_of_a_long_traceback_the_end_is_kept():
    nvs = FakeNvs()
    Crashes(nvs, "hard").note(fault("x" * 1000 + "the end"))
    text = Crashes(nvs, "hard").text
    assert len(text) == TRACEBACK and text.strip().endswith("xthe end")
    Crashes(nvs, "hard").note(fault("\U0001f4a5" * 300))
    assert len(nvs.strings["crashes"].encode()) <= 1024  # what hal.py reads
    assert Crashes(nvs, "hard").count == 2


def test_a_crash_that_cannot_be_noted_is_no_second_one():
    class Full(FakeNvs):
        def set_str(self, key, text):
            raise OSError(-0x1105)

    assert Crashes(Full(), "hard").note(fault()) == 5000


def test_a_damaged_count_is_none():
    for text in ("", "{", "7", "3 x 1 text", "3 3 1"):
        nvs = FakeNvs()
        nvs.strings["crashes"] = text
        start = Crashes(nvs, "hard")
        assert not start.safe and start.count == 0, text


def test_a_start_that_held_begins_a_new_row():
    nvs = FakeNvs()
    held = Health_(crashed(nvs, 2), nvs)
    held.bench.run(290000)
    assert Crashes(nvs, "hard").count == 2
    assert held.status()["crashes"] == 2
    held.bench.run(20000)
    start = Crashes(nvs, "hard")
    assert start.count == 0 and not start.fresh
    assert "crashes" not in held.status()


def test_safe_mode_ends_by_itself_with_a_start_as_usual():
    nvs = FakeNvs()
    held = Health_(crashed(nvs, 3), nvs)
    held.bench.run(3590000)
    assert held.bench.hal.resets == 0
    status = held.status()
    assert status["safe_mode"] is True and status["crashes"] == 3
    held.bench.run(20000)
    assert held.bench.hal.resets > 0
    start = Crashes(nvs, "hard")
    assert not start.safe and start.count == 3


def test_in_safe_mode_nothing_is_moved_and_the_reason_is_said():
    bench = Bench("plantnanny", actuators=[PUMP])
    bench.node.commands.safe = True
    said = bench.command(COMMAND, {"action": "pump_water", "durationMs": 1000})
    (ack,) = [obj["_fh"]["ack"] for _, obj, _ in said if "ack" in obj["_fh"]]
    assert ack["state"] == "failed" and ack["error"] == "safe mode"
    assert bench.hal.pins[26].levels.count(1) == 0
    bench.command(COMMAND, {"action": "set_interval", "intervalMs": 5000})
    assert bench.node.sampler.interval_ms == 5000
    bench.command(COMMAND, {"action": "restart"})
    bench.run(4000)
    assert bench.hal.resets


def test_dese_reports_the_state_error_in_safe_mode():
    nvs = FakeNvs()
    start = crashed(nvs, 3)
    pool = FakeSensor(ph=7.2, chlorine=2.5, water_temperature=25.5)
    bench = Bench("dese", {"org": "o"}, sensor=pool)
    bench.hal.largest_block = lambda: 65536
    bench.node.parts.append(Health(bench.node, bench.hal, bench.clock, nvs, start))
    assert bench.node.reports.status()["state"] == "error"
    config = {"telemetry_interval": 45000, "mqtt_keepalive": 60}
    sent = {"device_id": "n1", "config": config, "timestamp": "2026-01-01T00:00:00Z"}
    bench.command("devices/o/n1/config", sent)
    assert bench.node.sampler.interval_ms == 45000


def test_the_longest_turn_is_told_once():
    nvs = FakeNvs()
    held = Health_(Crashes(nvs, "power"), nvs)
    held.bench.node.loop_ms = 120
    held.bench.link.sent = []
    held.bench.node.sender.status_due()
    held.bench.run(1)
    held.bench.node.sender.status_due()
    held.bench.run(1)
    first, second = [obj["_fh"]["also"] for t, obj, _ in held.bench.link.sent if "status" in t]
    assert first["loop_ms"] == 120 and second["loop_ms"] == 0
    assert first["largest_block"] == 65536


def test_a_status_with_everything_wrong_fits_a_packet():
    nvs = FakeNvs()
    for _ in range(3):
        Crashes(nvs, "hard").note(fault('  File "fieldnode/node.mpy", line 118, in step\n' * 20))
    for dialect, options in (("plantnanny", {}), ("dese", {"org": "o" * 36}), ("farm", {})):
        start = Crashes(nvs, "hard")
        sensor = FakeSensor(ph=7.2, chlorine=2.5, water_temperature=25.5)
        bench = Bench(dialect, options, sensor=sensor, connect=False, actuators=[PUMP])
        bench.hal.largest_block = lambda: 65536
        node = bench.node
        node.parts.append(Health(node, bench.hal, bench.clock, nvs, start))
        node.reports._fault = "node.json: " + "x" * 300
        node.sampler.failed["ezo@63"] = "y" * 300
        node.link.cause = "z" * 160
        event = {"event": "crash", "traceback": start.text, "count": start.count}
        node.notices.append("event", event)
        packet = node.reports.notice(node.notices.next())
        assert packet and b"traceback" in packet.payload, dialect
        assert len(packet.payload) + len(packet.topic) < 2048 - 64 - 8, len(packet.payload)
        bench.link.connect()


def test_what_is_written_to_flash_is_counted():
    nvs = FakeNvs()
    held = Health_(Crashes(nvs, "power"), nvs)
    before = held.status()["flash_bytes"]
    store.save("a.json", {"a": 1})  # 8 bytes
    store.overwrite("a.json", {"a": 1})  # 7, without the space
    assert held.status()["flash_bytes"] - before == 15
    outbox = held.bench.node.outbox
    outbox.append(1, 1000, {"air_temperature": 20.0})
    outbox.flush()
    assert 15 < held.status()["flash_bytes"] - before < 200


def test_the_backup_has_the_way_to_the_broker_and_the_pins():
    nvs = FakeNvs()
    key, text = backup.due(NODE_JSON, nvs)
    nvs.set_str(key, text)
    assert backup.due(NODE_JSON, nvs) is None
    kept = backup.load(nvs)
    assert kept["broker"] == NODE_JSON["broker"] and kept["wifi"] == {"ssid": "farm"}
    assert kept["actuators"] == [{"pin": 26}, {"pin": 27, "active_low": True}]
    assert "sensors" not in kept
    del kept["actuators"]
    assert nodeconfig.load(kept)["node"] == "n1"
    moved = dict(NODE_JSON, broker={"host": "192.0.2.9"})
    assert backup.due(moved, nvs) is not None


def test_the_backup_waits_until_the_connection_has_proven_itself():
    nvs = FakeNvs()
    held = Health_(Crashes(nvs, "power"), nvs, ("backup", "{}"))
    held.bench.link.up_ms = 9999
    held.bench.run(2000)
    assert "backup" not in nvs.strings
    held.bench.link.up_ms = 10000
    held.bench.link.up = False
    held.bench.run(2000)
    assert "backup" not in nvs.strings
    held.bench.link.up = True
    held.bench.run(2000)
    assert nvs.strings["backup"] == "{}"


def test_a_damaged_backup_is_none():
    for text in ("", "{", "[]", "\xff", '"x"'):
        nvs = FakeNvs()
        nvs.strings["backup"] = text
        assert backup.load(nvs) is None, text
    assert backup.due(dict(NODE_JSON, options={"org": "x" * 1000}), FakeNvs()) is None


def test_a_damaged_file_is_removed_and_named():
    for content in (b"", b"{", b"[]", b"\xff\x00\xfe", b'{"a": 1'):
        del store.damaged[:]
        with open("small.json", "wb") as file:
            file.write(content)
        assert store.load("small.json") == {} and store.damaged == ["small.json"]
        assert "small.json" not in os.listdir()
        assert store.load("small.json") == {} and store.damaged == ["small.json"]
    with open("small.json", "w") as file:
        json.dump({"a": 1}, file)
    assert store.load("small.json") == {"a": 1}
