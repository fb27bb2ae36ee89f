# heapsize: 600k
"""At least once on the wire, once in effect; what is not carried out is refused with a reason."""

import json
import os

from fake_node import EPOCH, Bench, FakeHal, FakeSensor, fresh_flash

from fieldnode.admission import BUSY_FROM, COMMAND_MAX_AGE_S
from fieldproto.timestamps import format_utc

fresh_flash()

PUMP = {"name": "pump", "pin": 26, "max_run_s": 60, "flow_ml_per_s": 25}
COMMAND = "devices/n1/command"
WATER = {"action": "pump_water", "durationMs": 3000}


def plant(**config):
    return Bench("plantnanny", actuators=[dict(PUMP)], **config)


def with_id(id, **command):
    command["_fh"] = {"id": id}
    return command


def acks(sent):
    return [obj["_fh"]["ack"] for _, obj, _ in sent if "ack" in obj.get("_fh", {})]


def causes(bench):
    """The reset causes in what was said."""
    also = [obj["_fh"].get("also", {}) for _, obj, _ in bench.link.sent]
    return {said["reset_cause"] for said in also if "reset_cause" in said}


def on(bench, pin=26):
    """How often the pump was switched on."""
    return bench.hal.pins[pin].levels.count(1)


def pool(**config):
    pumps = [{"name": "filter", "id": 1, "pin": 26, "max_run_s": 7200}]
    sensor = FakeSensor(ph=7.2, chlorine=2.5, water_temperature=25.5)
    return Bench("dese", {"org": "org-123"}, actuators=pumps, sensor=sensor, **config)


def dese(bench, id, command, params=None, time=EPOCH, **how):
    payload = {"command_id": id, "device_id": "n1", "command": command}
    payload["timestamp"] = format_utc(time)
    payload["parameters"] = params
    sent = bench.command("devices/org-123/n1/commands", payload, **how)
    return [obj for topic, obj, _ in sent if topic.endswith("_response")]


class Reset(FakeHal):
    cause = "hard"


def test_a_command_that_comes_again_is_answered_and_not_carried_out():
    bench = plant()
    first = acks(bench.command(COMMAND, with_id("a", **WATER)))
    again = acks(bench.command(COMMAND, with_id("a", **WATER)))
    assert len(first) == len(again) == 1
    assert again[0]["state"] == "accepted" and again[0]["data"]["duration_ms"] == 3000
    bench.link.sent = []
    bench.run(3200)
    done = acks(bench.link.sent)
    assert [ack["state"] for ack in done] == ["done"]
    again = acks(bench.command(COMMAND, with_id("a", **WATER)))
    assert again == done and on(bench) == 1
    assert acks(bench.command(COMMAND, with_id("b", **WATER)))[0]["state"] == "accepted"
    assert on(bench) == 2


def test_after_a_reboot_too():
    bench = plant()
    bench.command(COMMAND, with_id("a", **WATER))
    bench.link.sent = []
    bench.run(3200)
    done = acks(bench.link.sent)
    bench = plant()
    assert acks(bench.command(COMMAND, with_id("a", **WATER))) == done
    assert on(bench) == 0


def test_a_failure_stays_one():
    bench = plant()
    bad = with_id("a", action="pump_water", durationMs=60001)
    first = acks(bench.command(COMMAND, bad))
    assert first[0]["state"] == "failed" and "maximum" in first[0]["error"]
    assert acks(bench.command(COMMAND, bad)) == first
    assert acks(plant().command(COMMAND, bad)) == first


def test_what_power_or_a_reset_cut_off_is_answered_failed_with_the_reason():
    for hal, cause in ((FakeHal, "power"), (Reset, "hard")):
        fresh_flash()
        plant().command(COMMAND, with_id("a", **WATER))
        bench = plant(hal=hal, connect=False)
        bench.link.connect()
        bench.run(2)
        told = acks(bench.link.sent)  # by itself: somebody waits for it
        assert [ack["id"] for ack in told] == ["a"] and told[0]["state"] == "failed", told
        assert told[0]["error"] == "cut off by a reset of the node: " + cause, told
        for again in (bench, plant()):
            ack = acks(again.command(COMMAND, with_id("a", **WATER)))
            assert ack[0]["state"] == "failed" and cause in ack[0]["error"], ack
            assert on(again) == 0


def test_a_restart_with_an_id_happens_once_and_its_cause_is_known():
    bench = plant()
    restart = with_id("r", action="restart")
    assert acks(bench.command(COMMAND, restart))[0]["state"] == "done"
    bench.run(300)
    assert bench.hal.resets
    bench = plant(hal=Reset, connect=False)
    bench.link.connect()
    bench.run(2)
    assert causes(bench) == {"restart"}
    assert acks(bench.link.sent) == []  # it was answered before
    assert acks(bench.command(COMMAND, restart))[0]["state"] == "done"
    bench.run(4000)
    assert bench.hal.resets == 0
    bench = plant(hal=Reset, connect=False)  # a reset nobody asked for is told apart
    bench.link.connect()
    bench.run(2)
    assert causes(bench) == {"hard"}


def test_a_restart_waits_for_its_answer_and_no_command_begins_meanwhile():
    bench = plant()
    bench.node.on_message(COMMAND, json.dumps(with_id("r", action="restart")).encode())
    for _ in range(20):  # the PUBACK of the answer does not come
        bench.time.advance(100)
        bench.node.step()
    assert not bench.hal.resets
    sent = bench.command(COMMAND, with_id("a", **WATER))
    assert "restart" in acks(sent)[0]["error"] and on(bench) == 0
    bench.link.sent = []
    bench.run(300)
    assert bench.hal.resets and bench.link.closed
    again = acks(plant(hal=Reset).command(COMMAND, with_id("a", **WATER)))
    assert again[0]["state"] == "accepted"  # it had not begun


def test_delivered_again_without_an_id():
    """Within a session that the broker keeps: whether it was carried out, nobody knows."""
    bench = plant()
    water = json.dumps(WATER).encode()
    for payload, word in ((water, "delivered before"), (b'{"action":"restart"}', "before")):
        bench.link.sent = []
        bench.node.on_message(COMMAND, payload, False, True)
        bench.run(1)
        ack = acks(bench.link.sent)[0]
        assert ack["state"] == "failed" and word in ack["error"], ack
    assert on(bench) == 0 and not bench.node.restarting
    bench.link.sent = []
    payload = b'{"action":"set_interval","intervalMs":5000}'
    bench.node.on_message(COMMAND, payload, False, True)
    bench.run(1)
    assert acks(bench.link.sent)[0]["state"] == "done"
    bench.node.on_message(COMMAND, json.dumps(with_id("a", **WATER)).encode(), False, True)
    assert on(bench) == 1  # with one the ledger knows


def test_off_is_carried_out_however_often_it_comes():
    valve = {"name": "irrigation", "pin": 18, "max_run_s": 1800}
    bench = Bench("farm", actuators=[valve])
    bench.command("farm/n1/commands", {"type": "ACTUATE", "device": "irrigation", "state": 1})
    assert bench.hal.pins[18].value() == 1
    off = b'{"type":"ACTUATE","device":"irrigation","state":0}'
    bench.node.on_message("farm/n1/commands", off, False, True)
    assert bench.hal.pins[18].value() == 0


def test_an_expired_command_is_refused_and_said():
    bench = pool()
    bench.run(1)
    limit = COMMAND_MAX_AGE_S
    set_pump = {"pump_id": 1, "state": "on"}
    for n, (time, word) in enumerate(
        ((EPOCH - limit - 1, "expired"), (EPOCH - 7200, "expired"), (EPOCH + 86400, "future"))
    ):
        answer = dese(bench, "e%d" % n, "set_pump", set_pump, time)[0]
        assert answer["success"] is False and word in answer["error"], answer
        assert answer["command_id"] == "e%d" % n
    assert on(bench) == 0 and bench.node.commands.refused == 3
    for n, time in enumerate((EPOCH - limit + 5, EPOCH, EPOCH + limit)):
        assert dese(bench, "f%d" % n, "set_pump", set_pump, time)[0]["success"], time
    assert on(bench) == 3


def test_an_expired_farm_command_and_an_expired_configuration_are_refused():
    valve = {"name": "irrigation", "pin": 18, "max_run_s": 1800}
    bench = Bench("farm", actuators=[valve])
    command = {"type": "ACTUATE", "device": "irrigation", "state": 1}
    command["timestamp"] = format_utc(EPOCH - 3600)
    sent = bench.command("farm/n1/commands", command)
    assert "expired" in acks(sent)[0]["error"] and sent[0][1]["irrigation"] == "OFF"
    bench = pool()
    payload = {"device_id": "n1", "config": {"telemetry_interval": 10000}}
    payload["timestamp"] = format_utc(EPOCH - 3600)
    sent = bench.command("devices/org-123/n1/config", payload)
    told = [obj["message"] for topic, obj, _ in sent if topic.endswith("/alert")]
    assert len(told) == 1 and "expired" in told[0]
    payload["timestamp"] = format_utc(EPOCH)
    sent = bench.command("devices/org-123/n1/config", payload, retained=True)
    assert "retained" in [obj["message"] for topic, obj, _ in sent if topic.endswith("/alert")][0]
    assert bench.node.sampler.interval_ms == 30000


def test_with_the_clock_unknown_a_command_counts_as_fresh():
    bench = pool(epoch=None)
    answer = dese(bench, "a", "set_pump", {"pump_id": 1, "state": "on"}, EPOCH - 10**6)[0]
    assert answer["success"], answer


def test_a_retained_command_is_refused_even_if_it_is_known():
    bench = plant()
    sent = bench.command(COMMAND, with_id("a", **WATER), retained=True)
    assert "retained" in acks(sent)[0]["error"] and on(bench) == 0
    bench.command(COMMAND, with_id("a", **WATER))  # live, it is a new one
    bench.run(3200)
    sent = bench.command(COMMAND, with_id("a", **WATER), retained=True)
    assert acks(sent)[0]["state"] == "done" and on(bench) == 1  # known by now


def test_another_nodes_command_is_refused_with_the_reason():
    bench = pool()
    payload = {"command_id": "x", "device_id": "n2", "command": "reboot"}
    payload["timestamp"] = format_utc(EPOCH)
    sent = bench.command("devices/org-123/n1/commands", payload)
    answer = [obj for topic, obj, _ in sent if topic.endswith("_response")][0]
    assert answer["success"] is False and "n2" in answer["error"] and answer["command_id"] == "x"
    bench.run(4000)
    assert not bench.hal.resets


def test_an_id_used_twice_for_different_things_is_refused():
    bench = pool()
    assert dese(bench, "1", "set_pump", {"pump_id": 1, "state": "on"})[0]["success"]
    answer = dese(bench, "1", "set_pump", {"pump_id": 1, "state": "on", "duration": 5})[0]
    assert answer["success"] is False and "another command" in answer["error"]


def test_a_flood_of_commands_loses_no_answer():
    """With the broker silent: as many are carried out as can be answered, the rest is refused."""
    bench = plant()
    bench.run(1)
    bench.link.window = 0
    for n in range(60):
        command = with_id("c%d" % n, action="set_interval", intervalMs=1000 + n)
        bench.node.on_message(COMMAND, json.dumps(command).encode())
        bench.node.step()
    assert bench.node.sampler.interval_ms == 1000 + BUSY_FROM - 1
    bench.link.window = 8
    bench.link.sent = []
    bench.run(10)
    told = acks(bench.link.sent)
    done = [ack["id"] for ack in told if ack["state"] == "done"]
    assert done == ["c%d" % n for n in range(BUSY_FROM)], done
    busy = [ack for ack in told if ack["state"] == "failed"]
    assert busy and all(["busy" in ack["error"] for ack in busy])
    command = with_id("c59", action="set_interval", intervalMs=1059)
    assert acks(bench.command(COMMAND, command))[0]["state"] == "done"  # a retry works


def test_flash_that_takes_no_note_moves_no_pump_but_stops_one():
    fresh_flash()
    os.mkdir("ledger")
    for slot in range(40):  # a directory where each file would be
        os.mkdir("ledger/%d" % slot)
    bench = pool()
    answer = dese(bench, "a", "set_pump", {"pump_id": 1, "state": "on"})[0]
    assert answer["success"] is False and "noted" in answer["error"], answer
    assert on(bench) == 0
    bench.relays[0].on(60000)
    assert dese(bench, "b", "set_pump", {"pump_id": 1, "state": "off"})[0]["success"]
    assert bench.hal.pins[26].value() == 0


def test_a_message_too_large_is_refused_and_said():
    bench = plant()
    bench.link.sent = []
    bench.node.on_oversize(COMMAND, 5000)
    bench.run(1)
    ack = acks(bench.link.sent)[0]
    assert ack["state"] == "failed" and "5000 bytes" in ack["error"]
    assert bench.node.commands.refused == 1


def test_what_the_iot_broker_says_of_itself_is_no_command():
    bench = Bench("iotnode", node="01", led={"pin": 2})
    sent = bench.command("iot/broker/status", {"status": "online"}, retained=True)
    assert acks(sent) == [] and bench.node.commands.refused == 0
    sent = bench.command("iot/broker/stats", {"connections": "many"})
    assert not [obj for _, obj, _ in sent if "ack" in obj], sent


def test_one_status_a_command_where_the_answer_is_one():
    for bench, topic, command, path in (
        (plant(), COMMAND, with_id("a", **WATER), "devices/n1/status"),
        (
            Bench("iotnode", node="01", led={"pin": 2}),
            "iot/node/01/command",
            {"command": "set_led", "params": {"state": "on"}},
            "iot/node/01/status",
        ),
    ):
        bench.command(topic, command)
        bench.run(100)
        assert len([1 for name, _, kept in bench.link.sent if name == path and kept]) == 1


def test_the_words_of_all_five_dialects():
    """accepted, done and failed as far as each document has them, and no further to the letter."""
    fresh_flash()
    relays = [
        {"name": name, "pin": 18 + n, "max_run_s": 60}
        for n, name in enumerate(("pump", "cleaner", "irrigation", "fertilization"))
    ]
    good = {
        "plantnanny": ("devices/n1/command", {"action": "pump_water", "durationMs": 500}),
        "solar": ("company/c/machine/n1/command", {"command": "start_cleaning"}),
        "farm": ("farm/n1/commands", {"type": "ACTUATE", "device": "irrigation", "state": 1}),
        "iotnode": ("iot/node/n1/command", {"command": "set_led", "params": {"state": "on"}}),
        "dese": (
            "devices/o/n1/commands",
            {
                "command_id": "1",
                "device_id": "n1",
                "command": "set_pump",
                "parameters": {"pump_id": 1, "state": "on"},
                "timestamp": format_utc(EPOCH),
            },
        ),
    }
    bad = {
        "plantnanny": {"action": "ota_update", "url": "http://host/x.bin"},
        "solar": {"command": "fly"},
        "farm": {"type": "ACTUATE", "device": "irrigation", "state": 2},
        "iotnode": {"command": "set_led", "params": {"state": "dim"}},
        "dese": dict(good["dese"][1], command_id="2", command="explode"),
    }
    said = {}
    for name in good:
        topic, payload = good[name]
        for extras in (True, False):
            bench = Bench(
                name,
                {"solar": {"company": "c"}, "dese": {"org": "o"}}.get(name),
                extras,
                FakeSensor(ph=7.2, chlorine=2.5, water_temperature=25.5),
                actuators=[dict(r) for r in relays],
                led={"pin": 2},
            )
            words = []
            for one in (payload, bad[name]):
                fresh = (
                    dict(one, command_id=one["command_id"] + str(extras)) if name == "dese" else one
                )
                bench.command(topic, fresh)
                sent = list(bench.link.sent)
                bench.link.sent = []
                bench.run(1000)
                for _, obj, _ in sent + bench.link.sent:
                    if extras and "ack" in obj.get("_fh", {}):
                        words.append(obj["_fh"]["ack"]["state"])
                    elif "result" in obj:
                        words.append(obj["result"])
                    elif "success" in obj:
                        words.append(obj["success"])
                    elif obj.get("type") == "STATUS":
                        words.append(obj["irrigation"])
                    assert extras or "_fh" not in obj
            said[name, extras] = words
    assert said["plantnanny", True] == ["accepted", "done", "failed"], said
    assert said["plantnanny", False] == [], said
    assert said["solar", True] == ["done", "failed"] and said["solar", False] == [], said
    assert said["farm", True][0] == "done" and "failed" in said["farm", True], said
    assert said["farm", False] == ["ON", "ON"], said  # what is: the second was refused
    assert said["iotnode", True] == said["iotnode", False] == ["done", "failed"], said
    assert said["dese", True] == said["dese", False] == [True, False], said


def test_refusals_push_out_no_alert_that_waits():
    bench = plant()
    bench.link.lose()
    for n in range(20):
        bench.node.notices.append("alert", {"severity": "warning", "message": "a%d" % n})
    for n in range(20):
        old = json.dumps(with_id("r%d" % n, **WATER)).encode()
        bench.node.on_message(COMMAND, old, True, False)  # retained
    bench.link.connect()
    bench.run(9000)
    told = [
        obj["_fh"]["alert"]["message"] for _, obj, _ in bench.link.sent if "alert" in obj["_fh"]
    ]
    assert told == ["a%d" % n for n in range(20)], told
    assert bench.node.commands.refused == 20
