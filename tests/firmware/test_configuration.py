# heapsize: 600k
"""What is changed from afar: whole or not at all, kept, taken back when it cuts the node off."""

import json
import os

from fake_node import Bench, FakeSensor, fresh_flash

from fieldnode.change import CONFIRM_MS, REVERT_BOOTS, REVERT_MS

fresh_flash()

WITH_AGE = "2026-01-01T00:00:00Z"
TOPIC = "devices/org-123/n1/"


def pool(**config):
    sensor = FakeSensor(ph=7.2, chlorine=2.5, water_temperature=25.5)
    return Bench("dese", {"org": "org-123"}, sensor=sensor, **config)


def configure(bench, settings):
    payload = {"device_id": "n1", "config": settings, "timestamp": WITH_AGE}
    sent = bench.command(TOPIC + "config", payload)
    return [obj["message"] for topic, obj, _ in sent if topic == TOPIC + "alert"]


def alerts(bench):
    return [obj["message"] for topic, obj, _ in bench.link.sent if topic == TOPIC + "alert"]


def kept():
    with open("settings.json") as file:
        return json.load(file)


def test_a_keepalive_is_tried_at_once_and_stays_when_the_connection_holds():
    bench = pool()
    assert configure(bench, {"mqtt_keepalive": 30, "telemetry_interval": 10000}) == []
    assert kept()["trial"]["old"] == {"keepalive_s": None, "interval_ms": None}
    bench.run(5)
    assert bench.link.keepalive == 30 and bench.link.up
    bench.run(CONFIRM_MS - 1000)
    assert "trial" in kept()
    bench.run(2000)
    assert kept() == {"keepalive_s": 30, "interval_ms": 10000}
    bench.link.lose()
    bench.run(2 * REVERT_MS)  # an outage later on is none of its business
    assert bench.node.configuration.keepalive_s == 30 and kept()["keepalive_s"] == 30


def test_a_keepalive_that_cuts_the_node_off_is_taken_back_and_said():
    bench = pool(broker={"host": "b", "keepalive_s": 60}, interval_ms=20000)
    link = bench.link
    link.fails = lambda: link.keepalive == 600  # as a NAT or a broker may have it
    configure(bench, {"mqtt_keepalive": 600, "telemetry_interval": 10000})
    link.sent = []
    bench.run(REVERT_MS - 5000)
    assert not link.up and link.sent == []
    assert link.keepalive == 600 and bench.node.sampler.interval_ms == 10000
    bench.run(10000)
    assert link.up and link.keepalive == 60
    assert bench.node.sampler.interval_ms == 20000  # whole
    assert kept() == {}
    told = [text for text in alerts(bench) if "taken back" in text]
    assert len(told) == 1 and "keepalive_s 600" in told[0], alerts(bench)
    bench.run(2 * REVERT_MS)
    assert len([text for text in alerts(bench) if "taken back" in text]) == 1


def test_a_connection_that_never_holds_is_none():
    bench = pool()
    configure(bench, {"mqtt_keepalive": 5})
    flaps = 0
    while bench.node.configuration.keepalive_s == 5:
        flaps += 1
        assert flaps * (CONFIRM_MS - 10000) < 2 * REVERT_MS, "never taken back"
        bench.run(CONFIRM_MS // 2)
        bench.link.lose()
        bench.run(2000)
        bench.link.connect()
    assert flaps * CONFIRM_MS >= REVERT_MS


def test_starts_that_bring_no_connection_take_it_back():
    bench = pool()
    configure(bench, {"mqtt_keepalive": 5})
    for boot in range(REVERT_BOOTS):
        bench = pool(connect=False)
        assert bench.node.configuration.keepalive_s == 5, boot
        bench.run(1000)
    bench = pool(connect=False)
    assert bench.node.configuration.keepalive_s == 60 and kept() == {}
    bench.link.connect()
    bench.run(2)
    assert [text for text in alerts(bench) if "taken back" in text], alerts(bench)


def test_a_trial_goes_on_after_a_power_cut_and_can_still_be_won():
    configure(pool(), {"mqtt_keepalive": 30})
    bench = pool(connect=False)
    bench.run(1000)
    bench = pool()
    assert bench.link.keepalive == 30
    bench.run(CONFIRM_MS + 2000)
    assert kept() == {"keepalive_s": 30}
    bench = pool(connect=False)
    bench.run(REVERT_MS + 5000)
    assert bench.node.configuration.keepalive_s == 30


def test_two_changes_in_a_row_lead_back_to_what_had_proved_itself():
    bench = pool(broker={"host": "b", "keepalive_s": 60})
    configure(bench, {"mqtt_keepalive": 30})
    configure(bench, {"mqtt_keepalive": 5})
    bench.run(5)
    bench.link.lose()
    bench.run(REVERT_MS + 5000)
    assert bench.node.configuration.keepalive_s == 60


def test_what_is_changed_otherwise_during_a_trial_stays():
    bench = pool()
    configure(bench, {"mqtt_keepalive": 5})
    bench.run(5)
    configure(bench, {"sensor_calibration": {"ph": {"offset": 0.25, "scale": 1}}})
    bench.link.lose()
    bench.run(REVERT_MS + 5000)
    assert bench.node.configuration.keepalive_s == 60
    assert bench.sensor.applied["ph"] == (0.25, 1)
    assert kept() == {"calibration": {"ph": {"offset": 0.25, "scale": 1}}}


def test_a_calibration_that_is_taken_back_gives_way_to_the_provisioned_one():
    bench = pool()
    configure(bench, {"mqtt_keepalive": 5, "sensor_calibration": {"ph": {"offset": 1, "scale": 1}}})
    assert bench.sensor.calibration("ph") == (1, 1)
    bench.link.lose()
    bench.run(REVERT_MS + 5000)
    assert bench.sensor.calibration("ph") == (0, 1)


def test_the_answers_are_out_before_the_connection_is_parted_from():
    bench = pool()
    bench.node.notices.append("reply", {"id": "x", "command": "reboot", "state": "done"})
    bench.node.configuration.change({"keepalive_s": 30})
    bench.link.sent = []
    bench.node.step()
    assert "command_response" in bench.link.sent[0][0] and bench.link.keepalive == 60
    bench.link.ack_all()
    bench.node.step()
    assert bench.link.keepalive == 30


def test_what_does_not_concern_the_connection_is_not_on_trial():
    bench = pool()
    configure(bench, {"telemetry_interval": 10000, "mqtt_keepalive": 60})
    assert "trial" not in kept()
    bench.link.lose()
    bench.run(2 * REVERT_MS)
    assert bench.node.sampler.interval_ms == 10000


def test_a_bad_configuration_is_refused_whole_and_said():
    bench = pool()
    for wrong, word in (
        ({"telemetry_interval": 20000, "mqtt_keepalive": 4}, "mqtt_keepalive"),
        ({"telemetry_interval": 10**12, "mqtt_keepalive": 30}, "interval_ms"),
        ({"mqtt_keepalive": 30, "sensor_calibration": {"salt": {"offset": 1}}}, "salt"),
        ({"mqtt_keepalive": 30, "alert_thresholds": {"ph": {"min": 8, "max": 7}}}, "min"),
        ({"mqtt_keepalive": 30, "alert_thresholds": {"pH": {"min": 7}}}, "pH"),
    ):
        told = configure(bench, wrong)
        assert len(told) == 1 and "config" in told[0] and word in told[0], (wrong, told)
        assert bench.node.configuration.keepalive_s == 60
        assert bench.node.sampler.interval_ms == 30000
        assert "settings.json" not in os.listdir(), wrong


def test_a_null_leaves_what_is_there():
    bench = pool(alerts={"ph": {"max": 8}})
    nothing = {"sensor_calibration": {"ph": None}, "alert_thresholds": {"ph": None}}
    assert not configure(bench, nothing)
    assert kept() == {"calibration": {}, "alerts": {}}
    assert bench.node.alerts.bands == {"ph": {"max": 8}}


def test_no_fault_of_ours_that_a_message_brings_about_ends_the_node():
    bench = pool()
    bench.node.configuration.change = lambda settings: None + 1
    configure(bench, {"telemetry_interval": 10000})
    assert bench.node.commands.refused == 1


def test_safe_mode_takes_what_is_told_about_the_sensors_it_does_not_use():
    bench = pool()
    bench.node.commands.safe = True
    bench.node.sampler.sensors = []
    assert not configure(bench, {"sensor_calibration": {"ph": {"offset": 0.25}}})
    assert kept() == {"calibration": {"ph": {"offset": 0.25}}}
    assert len(configure(bench, {"sensor_calibration": {"ph": {"scale": 0}}})) == 1


def test_what_a_sensor_will_not_take_is_not_kept():
    bench = pool()

    def refuse(quantity, offset=0, scale=1):
        raise RuntimeError("no")

    bench.sensor.apply_calibration = refuse
    told = configure(
        bench, {"telemetry_interval": 10000, "sensor_calibration": {"ph": {"offset": 1}}}
    )
    assert len(told) == 1 and "applied" in told[0], told
    assert kept() == {} and bench.node.sampler.interval_ms == 30000


def test_flash_that_is_full_leaves_all_as_it_was():
    bench = pool()
    os.mkdir("settings.json.new")  # where the new contents would be written
    told = configure(bench, {"telemetry_interval": 10000, "mqtt_keepalive": 30})
    assert len(told) == 1, told
    assert bench.node.sampler.interval_ms == 30000 and bench.node.configuration.keepalive_s == 60
    os.rmdir("settings.json.new")


def test_everything_told_survives_a_reboot_and_reset_config_undoes_it():
    bench = pool(alerts={"ph": {"max": 8, "hold_s": 5}})
    configure(bench, {"telemetry_interval": 10000, "mqtt_keepalive": 30})
    configure(bench, {"sensor_calibration": {"ph": {"offset": 0.25, "scale": 2}}})
    configure(bench, {"alert_thresholds": {"ph": {"min": 6.5}}})
    bench = pool(alerts={"ph": {"max": 8, "hold_s": 5}})
    assert bench.node.sampler.interval_ms == 10000 and bench.node.configuration.keepalive_s == 30
    assert bench.sensor.applied["ph"] == (0.25, 2)
    assert bench.node.alerts.bands["ph"] == {"min": 6.5, "max": 8, "hold_s": 5}
    payload = {"command_id": "reset", "device_id": "n1", "command": "reset_config"}
    payload["timestamp"] = WITH_AGE
    bench.command(TOPIC + "commands", payload)
    assert "settings.json" not in os.listdir()
    bench.run(300)
    assert bench.hal.resets
    bench = pool(alerts={"ph": {"max": 8, "hold_s": 5}})
    assert bench.node.sampler.interval_ms == 30000 and bench.node.configuration.keepalive_s == 60
    assert bench.sensor.applied == {} and bench.node.configuration.settings.trial is None
    assert bench.node.alerts.bands["ph"] == {"max": 8, "hold_s": 5}
    sent = bench.command(TOPIC + "commands", payload)  # comes again
    assert [obj["success"] for topic, obj, _ in sent if topic.endswith("_response")] == [True]
    bench.run(300)
    assert not bench.hal.resets  # and is not carried out again


def test_nothing_told_while_reset_config_restarts_the_node_outlives_it():
    bench = pool()
    bench.sensor.slow = "slow"  # a calibration that takes a second
    payload = {"command_id": "slow", "device_id": "n1", "command": "calibrate_sensor"}
    payload["parameters"] = {"sensor_type": "ph", "value": 7.0}
    payload["timestamp"] = WITH_AGE
    bench.command(TOPIC + "commands", payload)
    bench.link.window = 0  # the answer does not get out: the restart waits for it
    payload = {"command_id": "undo", "device_id": "n1", "command": "reset_config"}
    payload["timestamp"] = WITH_AGE
    bench.command(TOPIC + "commands", payload)
    configure(bench, {"telemetry_interval": 10000})
    bench.run(2500)
    assert not bench.hal.resets and bench.node.sampler.interval_ms == 30000
    assert "settings.json" not in os.listdir()
    bench.run(1000)
    assert bench.hal.resets


def test_a_damaged_trial_does_not_stop_the_node():
    for text in ('{"trial": 5, "keepalive_s": 30}', '{"trial": {"old": {}, "boots": "x"}}'):
        with open("settings.json", "w") as file:
            file.write(text)
        bench = pool()
        bench.run(1000)
        assert bench.link.up


def test_a_power_cut_at_any_write_leaves_the_old_or_the_new_configuration():
    from flash import Flash, umount

    from fieldnode.settings import Settings

    flash = Flash(16).format().mount("/flash")
    os.chdir("/flash")
    settings = Settings()
    settings.update({"keepalive_s": 60, "interval_ms": 5000})
    old = ({"keepalive_s": 60, "interval_ms": 5000}, None)
    new = (
        {"keepalive_s": 5, "interval_ms": 1000},
        {"old": {"keepalive_s": 60, "interval_ms": 5000}, "boots": 0},
    )
    seen = []

    def check(flash):
        for done in (0, flash.pending() // 2 + 1, flash.pending() - 1):
            flash.torn(done).mount("/cut")
            found = Settings("/cut/settings.json")
            os.umount("/cut")
            state = (found.values, found.trial)
            assert state in (old, new), state
            seen.append(state == new)

    flash.before = check
    settings.update({"keepalive_s": 5, "interval_ms": 1000}, True)
    flash.before = None
    assert seen.count(False) >= 6, seen
    found = Settings()
    assert (found.values, found.trial) == new and found.before() == old[0]
    umount("/flash")
