# heapsize: 400k
"""Thresholds: what raises an alert, what does not, what clears it; sensors that fail."""

import os

from fake_node import EPOCH, Bench, FakeSensor, fresh_flash

ORG = {"org": "org-123"}
POOL = "devices/org-123/n1/"
SECOND = 1000


def pool(ph=7.4, extras=True, connect=True, **config):
    fresh_flash()
    return again(ph, extras, connect, **config)


def again(ph=7.4, extras=True, connect=True, **config):
    """As `pool`, on the flash that is there: after a reset."""
    sensor = FakeSensor(ph=ph, chlorine=1.0, water_temperature=25.0)
    config.setdefault("interval_ms", SECOND)
    return Bench("dese", ORG, extras, sensor, connect, **config)


def alerts(bench):
    return [obj for topic, obj, _ in bench.link.sent if topic == POOL + "alert"]


def goes(bench, *values):
    """A reading of each pH, and the alerts it led to, as [(severity, message, value)]."""
    bench.link.sent = []
    for value in values:
        bench.sensor.values["ph"] = value
        bench.run(SECOND)
    return [(a["severity"], a["message"], a["value"]) for a in alerts(bench)]


BELOW = ("warning", "ph below threshold", 6.9)
BACK = ("info", "ph back in band", 7.0)


def test_one_alert_a_crossing_and_one_when_it_clears():
    bench = pool(alerts={"ph": {"min": 7.0, "max": 7.8}})
    assert goes(bench, 7.4, 7.0, 7.8) == []
    assert goes(bench, 6.9, 6.8, 6.7) == [BELOW]
    assert goes(bench, 7.0, 7.4) == [BACK]
    assert goes(bench, 7.9) == [("warning", "ph above threshold", 7.9)]
    (alert,) = alerts(bench)
    assert alert["sensor"] == "ph" and alert["threshold"] == 7.8
    assert alert["_fh"]["state"] == "raised" and alert["_fh"]["n"] == 3, alert
    assert goes(bench, 7.8) == [("info", "ph back in band", 7.8)]
    assert alerts(bench)[0]["threshold"] == 7.8 and alerts(bench)[0]["_fh"]["state"] == "cleared"


def test_hysteresis_keeps_a_value_that_wavers_from_ringing():
    bench = pool(alerts={"ph": {"min": 7.0, "max": 7.8, "hysteresis": 0.1}})
    assert goes(bench, 6.9, 7.0, 6.9, 7.09, 6.9, 7.05) == [BELOW]
    assert goes(bench, 7.1) == [("info", "ph back in band", 7.1)]
    assert goes(bench, 7.9, 7.8, 7.75, 7.9, 7.7) == [
        ("warning", "ph above threshold", 7.9),
        ("info", "ph back in band", 7.7),
    ]


def test_from_one_side_to_the_other_is_two_alerts_and_one_clearing():
    bench = pool(alerts={"ph": {"min": 7.0, "max": 7.8}})
    assert goes(bench, 6.9, 7.9, 7.5) == [
        BELOW,
        ("warning", "ph above threshold", 7.9),
        ("info", "ph back in band", 7.5),
    ]


def test_a_spike_shorter_than_the_hold_raises_nothing():
    bench = pool(alerts={"ph": {"min": 7.0, "hold_s": 5}})
    assert goes(bench, 6.0, 7.4, 6.0, 6.0, 6.0, 7.4) == []
    assert goes(bench, 6.0, 6.0, 6.0, 6.0, 6.0) == []
    began = EPOCH + bench.clock.ms() // 1000 - 4
    assert goes(bench, 6.9) == [BELOW]
    stamp = alerts(bench)[0]["timestamp"]
    assert stamp == "2026-01-01T00:00:%02dZ" % (began - EPOCH), stamp  # when it began


def test_a_silent_sensor_neither_raises_nor_clears():
    bench = pool(alerts={"ph": {"min": 7.0}})
    assert goes(bench, 6.9) == [BELOW]
    other = FakeSensor(water_temperature=25.0)
    other.name = "other@1"
    bench.node.sampler.sensors.append(other)
    assert goes(bench, "no answer", "no answer", 6.9) == []
    assert goes(bench, 7.0) == [BACK]


def test_the_severity_is_the_configured_one():
    bench = pool(alerts={"ph": {"min": 7.0, "severity": "critical"}})
    assert goes(bench, 6.9) == [("critical", "ph below threshold", 6.9)]


def test_a_threshold_taken_away_clears_its_alert():
    bench = pool(alerts={"ph": {"min": 7.0}})
    assert goes(bench, 6.9) == [BELOW]
    bench.node.alerts.bands = {}
    bench.link.sent = []
    bench.run(SECOND)
    (alert,) = alerts(bench)
    assert alert["message"] == "ph has no threshold any more" and alert["severity"] == "info"
    assert "value" not in alert and "threshold" not in alert


def test_to_the_letter_dese_alerts_are_the_document_s():
    bench = pool(extras=False, alerts={"ph": {"min": 7.0}})
    assert goes(bench, 6.9) == [BELOW]
    assert set(alerts(bench)[0]) == {
        "severity", "message", "sensor", "value", "threshold", "timestamp"
    }  # fmt: skip


def test_others_carry_alerts_on_a_status_that_the_broker_does_not_keep():
    for dialect, options, topic in (
        ("plantnanny", {}, "devices/n1/status"),
        ("solar", {"company": "acme"}, "company/acme/machine/n1/status"),
        ("iotnode", {}, "iot/node/n1/status"),
        ("farm", {}, "farm/telemetry"),
    ):
        fresh_flash()
        values = {"air_temperature": 24.0, "soil_moisture": 50.0, "relative_humidity": 40.0}
        values.update({"npk": 300.0, "battery_voltage": 12.0, "solar_voltage": 14.0})
        values.update({"solar_current": 1.0, "luminosity": 10.0})
        band = {"air_temperature": {"max": 30.0}}
        bench = Bench(
            dialect, options, sensor=FakeSensor(**values), interval_ms=SECOND, alerts=band
        )
        bench.sensor.values["air_temperature"] = 31.5
        bench.run(SECOND)
        ((where, obj, retained),) = [
            each for each in bench.link.sent if "alert" in each[1].get("_fh", {})
        ]
        assert where == topic and not retained, (dialect, where)
        alert = obj["_fh"]["alert"]
        assert alert["state"] == "raised" and alert["severity"] == "warning", alert
        assert alert["message"] == "air temperature above threshold"
        assert (alert["value"], alert["threshold"]) == (31.5, 30.0)
        assert alert["time"] == EPOCH + 1 and alert["q"] == "synced" and alert["n"] == 1, alert
        if dialect == "farm":
            assert obj["type"] == "STATUS" and obj["farm_id"] == "n1"


def test_an_alert_from_before_the_clock_was_set_has_the_time_of_its_crossing():
    bench = pool(connect=False, alerts={"ph": {"min": 7.0}})
    bench.hal.epoch = None
    goes(bench, 7.4, 7.4, 6.9)
    crossed = bench.clock.ms() // 1000
    bench.hal.epoch = EPOCH
    bench.time.advance(120000)
    bench.link.connect()
    bench.run(10)
    (alert,) = alerts(bench)
    assert alert["_fh"]["q"] == "backfilled", alert
    assert alert["timestamp"] == "2025-12-31T23:58:00Z", (alert, crossed)  # EPOCH is midnight


def test_thresholds_from_afar_keep_the_other_keys_of_the_band():
    band = {"min": 7.0, "max": 7.8, "hysteresis": 0.2, "severity": "critical"}
    bench = pool(alerts={"ph": band, "chlorine": {"max": 3.0}})
    configure(bench, {"ph": {"min": 7.2, "max": None}})
    assert bench.node.alerts.bands == {
        "ph": {"min": 7.2, "max": 7.8, "hysteresis": 0.2, "severity": "critical"},
        "chlorine": {"max": 3.0},
    }
    configure(bench, {"ph": {"max": 7.7}})
    bench = again(alerts={"ph": band, "chlorine": {"max": 3.0}})
    assert bench.node.alerts.bands["ph"]["min"] == 7.2, "of two updates both are kept"
    assert bench.node.alerts.bands["ph"]["max"] == 7.7
    before = dict(bench.node.alerts.bands["ph"])
    for wrong in ({"min": 7.75}, {"min": 7.6}, {"max": 7.3}):
        configure(bench, {"ph": wrong})
        assert "ph" in alerts(bench)[0]["message"], wrong
        assert bench.node.alerts.bands["ph"] == before, wrong
    os.remove("settings.json")


def configure(bench, thresholds):
    message = {
        "device_id": "n1",
        "timestamp": "2026-01-01T00:00:00Z",
        "config": {"alert_thresholds": thresholds},
    }
    return bench.command(POOL + "config", message)


def events(bench, kind):
    found = []
    for _, obj, _ in bench.link.sent:
        event = obj.get("_fh", {}).get("event", {})
        if event.get("event") == kind:
            found.append(event)
    return found


def test_a_sensor_that_fails_is_one_event_and_one_when_it_works_again():
    bench = pool(interval_ms=2 * SECOND)
    bench.run(2 * SECOND)
    began = bench.clock.ms()
    bench.sensor.values["ph"] = "no answer"
    bench.run(61 * SECOND)
    assert not events(bench, "sensor"), "a loose plug"
    bench.run(130 * SECOND)
    (event,) = events(bench, "sensor")
    assert event["sensor"] == "fake@0" and event["state"] == "failed"
    assert event["reason"] == "no answer" and began <= event["ms"] <= began + 2 * SECOND, event
    bench.link.sent = []
    bench.sensor.values["ph"] = 7.4
    bench.run(130 * SECOND)
    (event,) = events(bench, "sensor")
    assert event["state"] == "works" and "reason" not in event
    bench.link.sent = []
    for _ in range(8):  # flaps: fails 2 s, works 28 s
        bench.sensor.values["ph"] = "no answer"
        bench.run(2 * SECOND)
        bench.sensor.values["ph"] = 7.4
        bench.run(28 * SECOND)
        assert not events(bench, "sensor")
        bench.link.sent = []
    assert not bench.node._sensor_watch._since


def test_to_the_letter_a_failed_sensor_is_an_alert_in_plain_words():
    bench = pool(extras=False)
    bench.sensor.values["ph"] = "no answer"
    bench.run(70 * SECOND)
    bench.sensor.values["ph"] = 7.4
    bench.run(70 * SECOND)
    assert [(a["severity"], a["message"]) for a in alerts(bench)] == [
        ("warning", "fake@0 failed: no answer"),
        ("info", "fake@0 works again"),
    ]


def test_an_unwanted_end_of_a_run_is_dese_s_alert_to_the_letter_and_an_event_else():
    run = {"event": "run", "actuator": "acid", "by": "dosing", "reason": "budget", "ran_ms": 9000}
    bench = pool(extras=False)
    bench.node.notices.append("event", dict(run))
    bench.node.notices.append("event", dict(run, reason="done"))
    bench.node.notices.append("event", dict(run, reason="dry run"))  # an alert says so
    bench.node.notices.append("event", {"event": "outage", "cause": "x", "seconds": 3, "count": 1})
    bench.node.notices.append(
        "event", {"event": "crash", "traceback": "Traceback\n  line 1\nValueError: 7\n", "count": 2}
    )
    bench.run(SECOND)
    assert [(a["severity"], a["message"]) for a in alerts(bench)] == [
        ("warning", "acid ended: budget"),
        ("warning", "the node crashed: ValueError: 7"),
    ]
    assert not len(bench.node.notices), "what it has no word for is dropped, without an error"
    bench = pool()
    bench.node.notices.append("event", dict(run))
    bench.run(SECOND)
    (event,) = events(bench, "run")
    for key in run:
        assert event[key] == run[key]
    assert event["time"] == EPOCH and event["n"] == 1 and not alerts(bench)


def test_a_reading_without_a_required_quantity_still_counts():
    bench = pool()
    ph = FakeSensor(ph="no answer")
    ph.name = "ph@1"
    del bench.sensor.values["ph"]
    bench.node.sampler.sensors.append(ph)
    bench.run(2 * SECOND)
    parts = [
        (obj["_fh"]["partial"], retained)
        for topic, obj, retained in bench.link.sent
        if topic == POOL + "status" and "partial" in obj["_fh"]
    ]
    assert [part["seq"] for part, _ in parts] == [2, 3] and not any([r for _, r in parts])
    assert parts[0][0]["values"] == {"chlorine": 1.0, "water_temperature": 25.0}, parts
    assert parts[0][0]["time"] == EPOCH + 1 and parts[0][0]["q"] == "synced"
    ph.values["ph"] = 7.4
    bench.link.sent = []
    bench.run(SECOND)
    (reading,) = [obj for topic, obj, _ in bench.link.sent if topic == POOL + "telemetry"]
    assert reading["_fh"]["seq"] == 4 and reading["sensors"]["ph"] == 7.4
    assert bench.node.sender.unsendable == 0


def test_to_the_letter_a_reading_without_a_required_quantity_is_counted_as_unsendable():
    bench = pool(extras=False)
    del bench.sensor.values["ph"]
    bench.run(3 * SECOND)
    assert not [1 for topic, _, _ in bench.link.sent if topic == POOL + "telemetry"]
    assert bench.node.sender.unsendable == 3 and len(bench.node.outbox) == 0


def test_a_farm_s_partial_reading_is_on_its_status_message():
    fresh_flash()
    sensor = FakeSensor(soil_moisture=40.0, air_temperature=20.0, relative_humidity=50.0)
    bench = Bench("farm", {}, sensor=sensor, interval_ms=SECOND)
    bench.run(SECOND)
    ((topic, obj, _),) = bench.link.sent
    assert topic == "farm/telemetry" and obj["type"] == "STATUS", obj
    assert obj["_fh"]["partial"]["values"] == sensor.values
