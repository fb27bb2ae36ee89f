# heapsize: 600k
"""Commands and their answers, all five dialects, as mosquitto_sub would see them."""

from fake_node import Bench, FakeSensor, fresh_flash

fresh_flash()

PUMP = {"name": "pump", "pin": 26, "max_run_s": 60, "flow_ml_per_s": 25}
COMMAND = "devices/n1/command"


def plant(**config):
    return Bench("plantnanny", actuators=[dict(PUMP)], **config)


def acks(sent):
    return [obj["_fh"]["ack"] for _, obj, _ in sent if "ack" in obj.get("_fh", {})]


def test_pump_water_is_accepted_runs_and_is_done():
    bench = plant()
    pin = bench.hal.pins[26]
    assert pin.value() == 0
    ack = acks(bench.command(COMMAND, {"action": "pump_water", "durationMs": 3000}))[0]
    assert ack["command"] == "pump_water" and ack["state"] == "accepted", ack
    assert pin.value() == 1
    bench.link.sent = []
    bench.run(2999)
    assert pin.value() == 1
    bench.run(200)
    assert pin.value() == 0
    ack = acks(bench.link.sent)[0]
    assert ack["state"] == "done" and ack["data"]["ended"] == "done", ack
    assert ack["data"]["ran_ms"] == 3000 and ack["data"]["amount_ml"] == 75, ack


def test_pump_ends_though_the_loop_hangs():
    bench = plant()
    bench.command(COMMAND, {"action": "pump_water", "durationMs": 3000})
    bench.time.advance(3001)  # no step of the node in between
    assert bench.hal.pins[26].value() == 0


def test_amount_becomes_time():
    bench = plant()
    bench.command(COMMAND, {"action": "pump_water", "amountMl": 100})
    bench.time.advance(3999)
    assert bench.hal.pins[26].value() == 1
    bench.time.advance(1)
    assert bench.hal.pins[26].value() == 0


def test_the_amount_asked_for_is_the_amount_reported():
    for flow in (7, 8.3, 33.3):  # none of them gives whole milliseconds
        bench = Bench("plantnanny", actuators=[dict(PUMP, flow_ml_per_s=flow)])
        for amount in (1, 83, 100, 299):
            bench.command(COMMAND, {"action": "pump_water", "amountMl": amount})
            bench.link.sent = []
            bench.run(amount * 1000 // int(flow) + 200)
            data = acks(bench.link.sent)[0]["data"]
            assert data["amount_ml"] == amount, (flow, amount, data)


def test_amount_and_duration_end_at_the_shorter():
    bench = plant()
    bench.command(COMMAND, {"action": "pump_water", "amountMl": 1000, "durationMs": 500})
    bench.time.advance(500)
    assert bench.hal.pins[26].value() == 0


def refused(payload, *words):
    bench = plant()
    before = bench.node.commands.refused
    ack = acks(bench.command(COMMAND, payload))[0]
    assert ack["state"] == "failed", ack
    for word in words:
        assert word in ack["error"], ack
    assert bench.hal.pins[26].levels.count(1) == 0
    good = bench.command(COMMAND, {"action": "pump_water", "durationMs": 10})
    assert acks(good)[0]["state"] == "accepted"
    return bench.node.commands.refused - before


def test_bad_commands_are_answered_and_move_nothing():
    assert refused({"action": "pump_water"}, "duration") == 0
    assert refused({"action": "pump_water", "durationMs": 60001}, "60001", "maximum") == 0
    assert refused({"action": "pump_water", "durationms": 5}, "durationms") == 1
    assert refused({"action": "pump_water", "durationMs": "5"}, "durationMs", "string") == 1
    assert refused({"action": "pump_water", "durationMs": -5}, "durationMs") == 1
    assert refused({"action": "pump"}, "pump_water") == 1
    assert refused({}, "action") == 1
    assert refused(b"{", "JSON") == 1
    assert refused(b"\xff\xfe", "UTF-8") == 1
    assert refused(b'{"action" "restart"}', "JSON") == 1
    assert refused(b'{"action":"pump_water","durationMs":NaN}', "JSON") == 1
    assert refused(b'{"action":"pump_water","durationMs":1e999}', "finite") == 1
    assert refused(b"[" * 500, "nested") == 1
    assert refused(b'{"action":"send_now","x":"' + b"y" * 20000 + b'"}', "limit") == 1


def test_retained_command_is_refused():
    bench = plant()
    sent = bench.command(COMMAND, {"action": "pump_water", "durationMs": 10}, retained=True)
    assert acks(sent)[0]["state"] == "failed" and "retained" in acks(sent)[0]["error"]
    assert bench.hal.pins[26].levels.count(1) == 0


def test_another_nodes_command_is_refused():
    bench = plant()
    bench.command("devices/n2/command", {"action": "pump_water", "durationMs": 10})
    assert bench.node.commands.refused == 1 and bench.hal.pins[26].levels.count(1) == 0


def test_send_now():
    bench = plant()
    sent = bench.command(COMMAND, {"action": "send_now"})
    bench.run(1)
    topics = [topic for topic, _, _ in bench.link.sent]
    assert "devices/n1/data" in topics, topics
    assert acks(sent)[0]["state"] == "done"


def test_set_interval_survives_a_reboot():
    bench = plant()
    sent = bench.command(COMMAND, {"action": "set_interval", "intervalMs": 5000})
    assert acks(sent)[0]["state"] == "done"
    bench.link.sent = []
    bench.run(20000)
    data = [obj for topic, obj, _ in bench.link.sent if topic.endswith("/data")]
    assert len(data) == 4, len(data)
    assert plant().node.sampler.interval_ms == 5000


def test_restart_answers_first_and_leaves_the_will():
    bench = plant()
    bench.command(COMMAND, {"action": "pump_water", "durationMs": 60000})
    sent = bench.command(COMMAND, {"action": "restart"})
    assert acks(sent)[0]["state"] == "done"
    bench.run(300)
    assert bench.hal.resets and bench.link.closed
    assert bench.hal.pins[26].value() == 0


def test_ota_says_that_it_cannot():
    ack = acks(plant().command(COMMAND, {"action": "ota_update", "url": "http://h/x.bin"}))[0]
    assert ack["state"] == "failed" and "update" in ack["error"]


def test_without_extras_the_document_is_kept_to_the_letter():
    bench = plant(extras=False)
    sent = bench.command(COMMAND, {"action": "pump_water", "durationMs": 10})
    bench.run(100)
    for topic, obj, retain in bench.link.sent:
        if topic == "devices/n1/status":
            assert obj == {"status": "online"} and retain
    assert bench.hal.pins[26].levels.count(1) == 1 and sent


def test_solar_cleaning():
    cleaner = {"name": "cleaner", "pin": 26, "max_run_s": 600, "per_hour": {"area": 3600}}
    bench = Bench("solar", {"company": "1"}, actuators=[cleaner])
    topic = "company/1/machine/n1/"
    sent = bench.command(
        topic + "command", {"command": "start_cleaning", "params": {"speed": 5, "mode": "auto"}}
    )
    status = [obj for t, obj, _ in sent if t == topic + "status"][-1]
    assert status["status"] == "Running" and bench.hal.pins[26].value() == 1
    bench.run(10000)
    sent = bench.command(topic + "command", {"command": "stop_cleaning"})
    status = [obj for t, obj, retain in sent if t == topic + "status" and retain][-1]
    assert status["status"] == "Idle" and bench.hal.pins[26].value() == 0
    assert 9.9 < status["area"] < 10.2, status


def pool(**config):
    pumps = [{"name": "filter", "id": 1, "pin": 26, "max_run_s": 7200, "active_low": True}]
    sensor = FakeSensor(ph=7.2, chlorine=2.5, water_temperature=25.5)
    return Bench("dese", {"org": "org-123"}, actuators=pumps, sensor=sensor, **config)


_ids = [0]


def dese(bench, command, params=None, **over):
    _ids[0] += 1
    payload = {
        "command_id": "cmd-%d" % _ids[0],
        "device_id": "n1",
        "command": command,
        "timestamp": "2026-01-01T00:00:00Z",
    }
    if params is not None:
        payload["parameters"] = params
    payload.update(over)
    bench.command("devices/org-123/n1/commands", payload)
    bench.run(2)
    sent = bench.link.sent
    return [obj for topic, obj, _ in sent if topic.endswith("/command_response")][0]


def test_dese_set_pump():
    bench = pool()
    assert bench.hal.pins[26].value() == 1  # active low: off
    answer = dese(bench, "set_pump", {"pump_id": 1, "state": "on", "duration": 3600})
    assert answer["command_id"] == "cmd-%d" % _ids[0] and answer["success"] is True, answer
    assert answer["response"] == {"pump_state": "on", "pump_duration": 3600}, answer
    assert answer["timestamp"].startswith("2026-01-01T00:00:") and "error" not in answer
    assert bench.hal.pins[26].value() == 0
    answer = dese(bench, "set_pump", {"pump_id": 1, "state": "off"})
    assert answer["response"]["pump_state"] == "off" and bench.hal.pins[26].value() == 1


def test_dese_refusals():
    answer = dese(pool(), "set_pump", {"pump_id": 9, "state": "on"})
    assert answer["success"] is False and "actuator 9" in answer["error"]
    answer = dese(pool(), "set_pump", {"pump_id": 1, "state": "maybe"})
    assert answer["command_id"] == "cmd-%d" % _ids[0] and "maybe" in answer["error"]
    answer = dese(pool(), "set_pump", {"pump_id": 1, "state": "on"}, device_id="n2")
    assert answer["success"] is False and "device_id" in answer["error"]
    answer = dese(pool(), "set_pump", {"pump_id": 1, "state": "on"}, timestamp="yesterday")
    assert answer["success"] is False and "timestamp" in answer["error"]
    answer = dese(pool(), "explode")
    assert answer["success"] is False and "explode" in answer["error"]


def test_parameters_left_out_altogether_are_missed():
    answer = dese(pool(), "set_pump")
    assert answer["success"] is False and "parameters.pump_id" in answer["error"], answer
    answer = dese(pool(), "set_pump", None, parameters=None)
    assert answer["success"] is False and "parameters.pump_id" in answer["error"], answer
    answer = dese(pool(), "calibrate_sensor")
    assert answer["success"] is False and "required" in answer["error"], answer
    bench = Bench("iotnode", node="01", led={"pin": 2})
    sent = bench.command("iot/node/01/command", {"command": "set_led"})
    assert sent[0][1]["result"] == "failed" and "params.state" in sent[0][1]["error"]


def test_a_run_that_ends_as_the_next_begins_is_answered_too():
    bench = plant()
    bench.command(COMMAND, {"action": "pump_water", "durationMs": 1000, "_fh": {"id": "one"}})
    bench.time.advance(1000)  # the timer fires, and the loop has not seen it yet
    sent = bench.command(
        COMMAND, {"action": "pump_water", "durationMs": 1000, "_fh": {"id": "two"}}
    )
    found = [(ack["id"], ack["state"]) for ack in acks(sent)]
    assert ("one", "done") in found and ("two", "accepted") in found, found


def test_dese_calibration_and_reset():
    bench = pool()
    answer = dese(bench, "calibrate_sensor", {"sensor_type": "ph", "value": 7.0})
    assert answer["success"] and abs(answer["response"]["offset"] + 0.2) < 0.01, answer
    answer = dese(bench, "calibrate_sensor", {"sensor_type": "salt", "value": 7.0})
    assert answer["success"] is False and "salt" in answer["error"]
    again = pool()
    assert abs(again.sensor.applied["ph"][0] + 0.2) < 0.01
    assert dese(again, "reset_config")["success"]
    again.run(300)
    assert again.hal.resets and pool().sensor.applied == {}


def test_a_calibration_that_takes_its_time_is_answered_when_it_is_over():
    for slow, success in (("slow", True), ("refused", False)):
        bench = pool()
        bench.sensor.slow = slow
        payload = {"command_id": "c-" + slow, "device_id": "n1", "command": "calibrate_sensor"}
        payload["parameters"] = {"sensor_type": "ph", "value": 7.0}
        payload["timestamp"] = "2026-01-01T00:00:00Z"
        assert bench.command("devices/org-123/n1/commands", payload) == []
        bench.run(1100)
        answers = [obj for topic, obj, _ in bench.link.sent if topic.endswith("_response")]
        assert len(answers) == 1 and answers[0]["success"] is success, answers
    bench.node.configuration.settings.clear()


def test_a_fault_of_ours_is_answered_and_the_node_goes_on():
    bench = pool()
    bench.sensor.calibrate = None
    answer = dese(bench, "calibrate_sensor", {"sensor_type": "ph", "value": 7.0})
    assert answer["success"] is False and "internal" in answer["error"], answer
    answer = dese(pool(), "calibrate_sensor", {"sensor_type": "ph", "value": 1e9})
    assert answer["success"] is False, answer
    assert dese(bench, "set_pump", {"pump_id": 1, "state": "off"})["success"]
    bench.node.configuration.settings.clear()


def test_the_water_temperature_reaches_the_probes():
    bench = pool(interval_ms=2000)
    bench.run(2000)
    assert bench.sensor.celsius == 25.5
    hasty = pool(interval_ms=1000)
    hasty.run(2000)
    assert hasty.sensor.celsius is None  # it would cost every second reading of an EZO probe


def test_dese_reboot():
    bench = pool()
    assert dese(bench, "reboot")["success"]
    bench.run(300)
    assert bench.hal.resets


def config(bench, settings, **over):
    payload = {"device_id": "n1", "config": settings, "timestamp": "2026-01-01T00:00:00Z"}
    payload.update(over)
    return bench.command("devices/org-123/n1/config", payload)


def test_dese_config_is_taken_whole_or_not_at_all():
    bench = pool()
    config(
        bench,
        {
            "telemetry_interval": 10000,
            "mqtt_keepalive": 30,
            "sensor_calibration": {"ph": {"offset": 0.2, "scale": 1.0}},
        },
    )
    assert bench.node.sampler.interval_ms == 10000 and bench.node.configuration.keepalive_s == 30
    assert bench.sensor.applied["ph"] == (0.2, 1.0)
    bench.link.lose()
    bench.link.connect()
    assert bench.link.keepalive == 30
    before = dict(bench.node.configuration.settings.values)
    for wrong in (
        {"telemetry_interval": 20000, "mqtt_keepalive": "60"},
        {"telemetry_interval": 20000, "sensor_calibration": {"salt": {"offset": 1}}},
        {"telemetry_interval": 20000, "colour": 1},
        {"telemetry_interval": 5},
        {"telemetry_interval": 20000, "sensor_calibration": {"ph": {"scale": 0}}},
        {"telemetry_interval": 20000, "alert_thresholds": {"ph": {"min": 9, "max": 1}}},
        {"telemetry_interval": 20000, "sensor_calibration": {"ph": {"offset": 1e9}}},
    ):
        sent = config(bench, wrong)
        assert bench.node.configuration.settings.values == before, wrong
        assert bench.node.sampler.interval_ms == 10000
        alerts = [obj for topic, obj, _ in sent if topic.endswith("/alert")]
        assert alerts[0]["severity"] == "warning" and "config" in alerts[0]["message"], wrong
    bench.node.configuration.settings.clear()


def test_dese_alert_on_crossing_only():
    bench = pool(alerts={"ph": {"min": 7.0}}, interval_ms=1000)
    bench.sensor.values["ph"] = 6.8
    bench.run(3500)
    alerts = [obj for topic, obj, _ in bench.link.sent if topic.endswith("/alert")]
    assert len(alerts) == 1, alerts
    alert = alerts[0]
    assert alert["message"] == "ph below threshold" and alert["sensor"] == "ph", alert
    assert alert["value"] == 6.8 and alert["threshold"] == 7.0
    bench.sensor.values["ph"] = 7.2
    bench.run(2000)
    bench.sensor.values["ph"] = 6.9
    bench.run(2000)
    alerts = [obj for topic, obj, _ in bench.link.sent if topic.endswith("/alert")]
    assert [obj["message"] for obj in alerts] == [
        "ph below threshold",
        "ph back in band",
        "ph below threshold",
    ]


def test_iotnode_led():
    bench = Bench("iotnode", node="01", led={"pin": 2})
    sent = bench.command(
        "iot/node/01/command", {"command": "set_led", "params": {"state": "on", "brightness": 128}}
    )
    status = [obj for topic, obj, _ in sent if topic == "iot/node/01/status"][0]
    assert status["ack"] == "set_led" and status["result"] == "done", status
    assert status["led"] == "on" and status["brightness"] == 128
    assert status["node_id"] == "node_01" and "uptime" in status
    assert bench.hal.led.duty == 128 * 257
    sent = bench.command("iot/node/01/command", {"command": "set_led", "params": {"state": "dim"}})
    assert sent[0][1]["result"] == "failed" and "dim" in sent[0][1]["error"]
    bench.command("iot/node/01/command", {"command": "set_led", "params": {"state": "off"}})
    assert bench.hal.led.duty == 0


def test_farm_irrigation():
    valves = [
        {"name": "irrigation", "pin": 18, "max_run_s": 1800},
        {"name": "fertilization", "pin": 19, "max_run_s": 600},
    ]
    bench = Bench("farm", node="farm_001", actuators=valves)
    command = {"type": "ACTUATE", "device": "irrigation", "state": 1}
    command["timestamp"] = "2026-01-01T00:00:00Z"
    topic, answer, retain = bench.command("farm/farm_001/commands", command)[0]
    assert topic == "farm/telemetry" and not retain
    assert answer["type"] == "STATUS" and answer["farm_id"] == "farm_001", answer
    assert answer["irrigation"] == "ON" and answer["fertilization"] == "OFF", answer
    assert bench.hal.pins[18].value() == 1
    command["state"] = 0
    assert bench.command("farm/farm_001/commands", command)[0][1]["irrigation"] == "OFF"
    assert bench.hal.pins[18].value() == 0
    command["state"] = 1
    bench.command("farm/farm_001/commands", command)
    bench.time.advance(1800000)
    assert bench.hal.pins[18].value() == 0  # nobody said off
    bench.run(1)  # and the end of the run is told
    command["device"] = "rocket"
    answer = bench.command("farm/farm_001/commands", command)[-1][1]
    assert answer["irrigation"] == "OFF" and answer["_fh"]["ack"]["state"] == "failed", answer


def test_the_id_of_a_command_comes_back():
    bench = plant()
    sent = bench.command(COMMAND, {"action": "send_now", "_fh": {"id": "abc"}})
    assert acks(sent)[0]["id"] == "abc"
    sent = bench.command(COMMAND, {"action": "nonsense", "_fh": {"id": "abd"}})
    assert acks(sent)[0]["id"] == "abd" and acks(sent)[0]["state"] == "failed"
