# heapsize: 400k
"""What has to be told, is: bounded, in order, and after a power cut too."""

import json
import os

from fake_node import EPOCH, Bench, FakeHal, FakeSensor, fresh_flash

from fieldnode import notices as module
from fieldnode import store
from fieldnode.notices import FILE, LIMIT

ORG = {"org": "org-123"}
SECOND = 1000
BAND = {"ph": {"min": 7.0, "max": 7.8}}


def pool(ph=7.4, connect=True, **config):
    sensor = FakeSensor(ph=ph, chlorine=1.0, water_temperature=25.0)
    return Bench("dese", ORG, True, sensor, connect, interval_ms=SECOND, alerts=BAND, **config)


def told(bench, end):
    return [obj for topic, obj, _ in bench.link.sent if topic.endswith(end)]


class Writes:
    """Counts what `store` writes to and removes from flash."""

    def __enter__(self):
        self.count = 0
        self._save, self._remove = store.save, store.remove

        def save(path, obj):
            self.count += path == FILE
            self._save(path, obj)

        store.save = save
        return self

    def __exit__(self, *exc):
        store.save, store.remove = self._save, self._remove


def exists():
    return FILE in os.listdir()


def test_an_alert_of_an_outage_survives_a_power_cut_and_is_told_once():
    fresh_flash()
    bench = pool()
    bench.run(10 * SECOND)
    bench.link.lose()
    bench.sensor.values["ph"] = 6.9
    bench.run(SECOND)
    crossed = EPOCH + bench.clock.ms() // 1000
    boot = bench.node.reports.origin(0)[0]
    bench.run(6 * SECOND)
    assert exists()

    bench = pool(6.9, connect=False)  # the power was cut and is back, the broker still away
    bench.hal.epoch = EPOCH + 500
    bench.run(60 * SECOND)
    bench.link.connect()
    bench.run(10 * SECOND)
    (alert,) = told(bench, "/alert")
    assert alert["message"] == "ph below threshold" and alert["value"] == 6.9
    minutes, seconds = divmod(crossed - EPOCH, 60)
    assert alert["timestamp"] == "2026-01-01T00:%02d:%02dZ" % (minutes, seconds), alert
    assert alert["_fh"]["boot"] == boot and alert["_fh"]["q"] == "synced"
    bench.sensor.values["ph"] = 7.4
    bench.link.sent = []
    bench.run(SECOND)
    (alert,) = told(bench, "/alert")
    assert alert["message"] == "ph back in band" and alert["_fh"]["boot"] != boot
    bench.run(70 * SECOND)
    assert not exists(), "all went out and nothing stands: no file"


def test_a_standing_alert_is_not_told_again_after_a_reboot_and_is_cleared():
    fresh_flash()
    bench = pool()
    bench.sensor.values["ph"] = 6.9
    bench.run(10 * SECOND)
    assert len(told(bench, "/alert")) == 1
    bench = pool(6.9)
    bench.run(10 * SECOND)
    assert told(bench, "/alert") == []
    bench.sensor.values["ph"] = 7.4
    bench.run(SECOND)
    assert told(bench, "/alert")[0]["message"] == "ph back in band"


def test_cut_before_it_is_on_flash_a_crossing_is_told_afresh():
    fresh_flash()
    bench = pool()
    bench.link.lose()
    bench.sensor.values["ph"] = 6.9
    bench.run(4 * SECOND)
    assert not exists()
    bench = pool(6.9, connect=False)
    bench.link.connect()
    bench.run(SECOND)
    assert told(bench, "/alert")[0]["message"] == "ph below threshold"


def test_what_is_acknowledged_at_once_writes_nothing():
    fresh_flash()
    bench = pool()
    with Writes() as writes:
        for _ in range(50):
            bench.node.notices.append("event", {"event": "run", "reason": "done"})
            bench.run(10 * SECOND)
            bench.link.sent = []
    assert writes.count == 0 and not exists()


def test_however_much_happens_a_minute_has_one_write():
    fresh_flash()
    bench = pool()
    bench.link.lose()
    with Writes() as writes:
        for i in range(3600):
            bench.sensor.values["ph"] = (6.9, 7.4)[i % 2]
            bench.run(SECOND)
    assert 55 <= writes.count <= 61, writes.count


def test_flash_that_refuses_is_tried_again_and_stops_nothing():
    fresh_flash()
    bench = pool()
    bench.link.lose()
    save = store.save

    def refuse(path, obj):
        raise OSError(28)

    store.save = refuse
    try:
        bench.node.notices.append("event", {"event": "repaired", "what": "x"})
        bench.run(30 * SECOND)
    finally:
        store.save = save
    assert not exists()
    bench.run(61 * SECOND)
    assert exists()


def test_a_damaged_file_stops_nothing():
    for text in ('{"waiting": 5}', '{"waiting": [[1, 2]]}', '{"open": [3]}', "{", "[]",
                 '{"waiting": [["alert", {}, 1, 1, 7]]}'):  # fmt: skip
        fresh_flash()
        with open(FILE, "w") as file:
            file.write(text)
        bench = pool(6.9, connect=False)
        bench.link.connect()
        bench.run(SECOND)
        assert len(told(bench, "/alert")) == 1, text


def test_no_room_costs_the_oldest_event_then_alerts_and_answers_last():
    fresh_flash()
    bench = pool()
    bench.link.lose()
    queue = bench.node.notices
    queue.append("event", {"event": "a"})
    for i in range(LIMIT - 2):
        queue.append("reply", {"id": str(i), "command": "c", "state": "done", "data": {}})
    queue.append("alert", {"severity": "info", "message": "m"})
    queue.append("event", {"event": "b"})  # over the limit: "a" goes
    queue.append("event", {"event": "c"})  # "b" goes
    queue.append("reply", {"id": "x", "command": "c", "state": "done", "data": {}})  # "c" goes
    queue.append("reply", {"id": "y", "command": "c", "state": "done", "data": {}})  # the alert
    queue.append("event", {"event": "d"})  # itself: an answer is worth more
    queue.append("reply", {"id": "z", "command": "c", "state": "done", "data": {}})  # answer 0
    kept = [(entry[0], entry[1].get("id")) for entry in queue._entries]
    wanted = [("reply", str(i)) for i in range(1, LIMIT - 2)]
    assert kept == wanted + [("reply", "x"), ("reply", "y"), ("reply", "z")], kept
    assert queue.dropped == 6 and len(queue) == LIMIT
    bench.link.connect()
    bench.run(SECOND)
    bench.node.sender.status_due()
    bench.run(SECOND)
    assert told(bench, "/status")[-1]["_fh"]["also"]["notices_dropped"] == 6


def test_answers_and_events_survive_too_and_in_order():
    fresh_flash()
    bench = pool()
    bench.link.lose()
    bench.node.notices.append("event", {"event": "run", "actuator": "acid", "reason": "link lost"})
    bench.node.notices.append(
        "reply", {"id": "c1", "command": "set_pump", "state": "done", "data": {"ran_ms": 5}}
    )
    bench.run(10 * SECOND)
    bench = pool(connect=False)
    bench.link.connect()
    bench.run(10)
    first = [
        (topic.rsplit("/", 1)[1], obj.get("command_id"))
        for topic, obj, _ in bench.link.sent
        if "command_id" in obj or "event" in obj["_fh"]
    ]
    assert first == [("status", None), ("command_response", "c1")], first


def test_without_a_clock_before_the_cut_the_host_hears_that_the_time_is_unknown():
    fresh_flash()
    bench = pool(connect=False)
    bench.hal.epoch = None
    bench.run(SECOND)
    bench.node.notices.append("event", {"event": "run", "reason": "power"})
    bench.run(10 * SECOND)
    bench = pool(connect=False)
    bench.link.connect()
    bench.run(SECOND)
    (event,) = [o["_fh"]["event"] for _, o, _ in bench.link.sent if "event" in o["_fh"]]
    assert event["q"] == "unknown" and "time" not in event and event["ms"] == 1000, event


def test_a_restart_takes_what_waits_along():
    fresh_flash()
    bench = pool()
    bench.link.window = 0  # nothing gets out
    bench.node.notices.append("event", {"event": "run", "reason": "done"})
    bench.node.restart_after_replies()
    bench.run(4 * SECOND)
    assert bench.hal.resets and json.load(open(FILE))["waiting"][0][0] == "event"
    assert module.SAVE_AFTER_MS == 5000 and module.SAVE_EVERY_MS == 60000  # as the README says


def test_an_event_of_a_boot_without_a_clock_is_dated_by_the_next():
    fresh_flash()
    before = pool(connect=False, epoch=None)
    before.run(SECOND)
    before.node.notices.append("event", {"event": "run", "reason": "link lost"})
    before.run(9 * SECOND)

    def after_a_reset(time):
        hal = FakeHal(time)
        hal.strings, hal.rtc_kept = before.hal.strings, before.hal.rtc_kept
        hal._powered = time.now - 10 * SECOND
        return hal

    bench = pool(connect=False, hal=after_a_reset, epoch=EPOCH + 100)
    bench.run(SECOND)
    bench.link.connect()  # NTP answers, EPOCH + 100 at second 11 since the power came
    bench.run(SECOND)
    (event,) = [o["_fh"]["event"] for _, o, _ in bench.link.sent if "event" in o["_fh"]]
    assert event["q"] == "backfilled" and event["boot"].startswith("1-"), event
    assert EPOCH + 89 <= event["time"] <= EPOCH + 91, event
