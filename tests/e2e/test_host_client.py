"""`Fleet` against real brokers: amqtt in this process and Mosquitto."""

import json
import logging
import socket
import threading
import time
from dataclasses import replace

import paho.mqtt.client as paho
import pytest

from fieldhand.broker import Broker
from fieldhand.client import MAX_INVALID, BrokerAddress, Fleet, NodeAddress
from fieldhand.errors import (
    BadParameter,
    BrokerUnavailable,
    CommandTimeout,
    ConfigError,
    FieldhandError,
    UnknownAction,
    UnknownNode,
)
from fieldhand.records import Alert, Invalid, Reading, Reply, Status

NODES = {
    "plant": "plantnanny",
    "legacy": NodeAddress("plantnanny", {"use_new_topics": False}, extras=False),
    "panel": NodeAddress("solar", {"company": "acme"}, extras=False),
    "pool": NodeAddress("dese", {"org": "org-123"}),
    "01": NodeAddress("iotnode", extras=False),
    "farm_001": NodeAddress("farm", extras=False),
}
STAMP = "2025-01-27T10:00:00Z"


@pytest.fixture(params=["amqtt", "mosquitto"])
def broker(request):
    if request.param == "mosquitto":
        found = request.getfixturevalue("own_mosquitto")
        yield BrokerAddress("127.0.0.1", found.port)
        return
    with Broker() as running:
        yield BrokerAddress(running.host, running.port)


class Device:
    """The other side: publishes what it is told to, and answers commands as it is told to."""

    def __init__(self, broker, subscribe=()):
        self.got = []
        self._ready = threading.Event()
        self._new = threading.Condition()
        self.mqtt = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="device")
        self.mqtt.on_connect = lambda c, *_: c.subscribe([(t, 1) for t in (*subscribe, "x/y")])
        self.mqtt.on_subscribe = lambda *_: self._ready.set()
        self.mqtt.on_message = self._on_message
        self.mqtt.connect(broker.host, broker.port)
        self.mqtt.loop_start()
        assert self._ready.wait(5)

    def _on_message(self, client, userdata, message):
        with self._new:
            self.got.append((message.topic, json.loads(message.payload)))
            self._new.notify_all()

    def publish(self, topic, document, retain=False):
        payload = document if isinstance(document, (bytes, bytearray)) else json.dumps(document)
        self.mqtt.publish(topic, payload, 1, retain).wait_for_publish(5)

    def command(self, count=1):
        with self._new:
            assert self._new.wait_for(lambda: len(self.got) >= count, 5)
            return self.got[count - 1]

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


@pytest.fixture
def fleet(broker):
    with Fleet(broker=broker, nodes=NODES) as fleet:
        yield fleet


@pytest.fixture
def device(broker):
    made = Device(
        broker,
        ["devices/+/command", "devices/+/+/commands", "devices/+/+/config",
         "company/+/machine/+/command", "iot/node/+/command", "farm/+/commands"],
    )  # fmt: skip
    yield made
    made.close()


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.01)


GOOD = [
    ("devices/plant/data", {"temperatureC": 24.3, "ts": 1704825600}, "plant", "plantnanny"),
    ("plantnanny/legacy/sensors", {"humidityPct": 56.0}, "legacy", "plantnanny"),
    ("company/acme/machine/panel/telemetry", {"battery": 13.5}, "panel", "solar"),
    (
        "devices/org-123/pool/telemetry",
        {
            "device_id": "pool", "timestamp": STAMP, "organization_id": "org-123",
            "sensors": {"ph": 7.2, "chlorine": 2.5, "temperature": 25.5},
            "metadata": {"firmware_version": "1.0.0"},
        },
        "pool", "dese",
    ),
    (
        "iot/node/01/telemetry",
        {"node_id": "node_01", "timestamp": 1704844800, "sensors": {"temperature": 22.5}},
        "01", "iotnode",
    ),
    (
        "farm/telemetry",
        {"farm_id": "farm_001", "timestamp": STAMP, "moisture": 53.1, "temp": 26.1,
         "humidity": 41.9, "npk": 389},
        "farm_001", "farm",
    ),
]  # fmt: skip


def test_one_fleet_hears_all_dialects_both_topic_forms_and_strangers(fleet, device):
    readings = fleet.readings(timeout=5)
    for topic, document, _, _ in GOOD:
        device.publish(topic, document)
    device.publish("company/other/machine/m9/telemetry", {"solar_v": 21.2})
    got = [next(readings) for _ in range(len(GOOD) + 1)]
    assert [(r.node, r.dialect) for r in got[:-1]] == [(n, d) for _, _, n, d in GOOD]
    assert got[-1].node == "m9" and got[-1].tenant == {"company": "other"}
    assert fleet.node("m9").declared is False
    assert fleet.node("plant").reading == got[0]


def test_readings_of_one_node_end_when_none_comes(fleet, device):
    readings = fleet.readings("plant", timeout=0.5)
    device.publish("farm/telemetry", GOOD[-1][1])
    device.publish("devices/plant/data", {"temperatureC": 1.0})
    assert [r.quantities for r in readings] == [{"air_temperature": 1.0}]


BAD = [
    b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"temperatureC": NaN}', b'{"temperatureC": "24"}',
    b'{"temperatureC": 24.3, "extra": 1}', b'{"ts": 1704825600}', b'{"a":' * 2000,
    b'{"temperatureC": ' + b"9" * 100_000 + b"}",
]  # fmt: skip


def test_each_bad_message_is_refused_counted_and_the_next_good_one_works(fleet, device):
    for number, bad in enumerate(BAD, 1):
        readings = fleet.readings(timeout=5)
        device.publish("devices/plant/data", bad)
        device.publish("devices/plant/data", {"temperatureC": number})
        assert next(readings).quantities == {"air_temperature": number}
        assert fleet.counts.invalid == number
        refused = fleet.invalid[-1]
        assert refused.topic == "devices/plant/data" and refused.dialect == "plantnanny"
        assert refused.reason.startswith("plantnanny data: ") and len(refused.payload) <= 512


def test_wrong_tenant_wrong_node_and_wrong_id_in_the_payload_are_refused(fleet, device):
    events = fleet.events()
    topic, document = "devices/org-123/pool/telemetry", GOOD[3][1]
    device.publish("devices/org-999/pool/telemetry", document | {"organization_id": "org-999"})
    device.publish(topic, document | {"organization_id": "org-999"})
    device.publish(topic, document | {"device_id": "other"})
    device.publish(topic, document)
    got = [events.get(5) for _ in range(4)]
    assert [type(event) for event in got] == [Invalid] * 3 + [Reading]
    assert "node pool is of org org-123, not org-999" in got[0].reason
    assert got[1].field == "organization_id" and got[2].field == "device_id"


def test_the_same_id_in_two_companies_is_two_nodes(fleet, device):
    statuses = fleet.statuses("twin", timeout=5)
    for company in ("a", "b"):
        device.publish(f"company/{company}/machine/twin/status", {"status": company})
    assert {next(statuses).tenant["company"] for _ in range(2)} == {"a", "b"}
    with pytest.raises(UnknownNode, match="is heard in solar a and solar b; name the one"):
        fleet.send("twin", "stop_cleaning")


def test_refused_messages_are_kept_up_to_a_limit(fleet, device):
    for number in range(MAX_INVALID + 10):
        device.mqtt.publish("devices/plant/data", b"%d" % number, 1)
    until(lambda: fleet.counts.invalid == MAX_INVALID + 10)
    assert len(fleet.invalid) == MAX_INVALID and fleet.invalid[0].payload == b"10"


def test_what_qos_1_delivers_twice_is_given_once(fleet, device):
    readings = fleet.readings(timeout=0.5)
    for boot, seq in (("a", 1), ("a", 1), ("a", 2), ("b", 1), ("a", 2)):
        device.publish(
            "devices/plant/data", {"temperatureC": seq, "_fh": {"boot": boot, "seq": seq}}
        )
    assert [(r.provenance.boot, r.provenance.seq) for r in readings] == [
        ("a", 1), ("a", 2), ("b", 1),
    ]  # fmt: skip
    assert fleet.counts.duplicates == 2


def test_retained_status_is_marked_and_settles_nothing(broker, device):
    device.publish("company/acme/machine/panel/status", {"status": "Running"}, retain=True)
    with Fleet(broker=broker, nodes=NODES) as fleet:
        until(lambda: fleet.node("panel").status is not None)
        assert fleet.node("panel").status.retained
        pending = fleet.send("panel", "start_cleaning", timeout=0.5)
        assert pending.wait(3) == "timeout"


def test_alert_sensor_has_its_canonical_name(fleet, device):
    alerts = fleet.alerts(timeout=5)
    document = {"severity": "critical", "message": "hot", "sensor": "temperature", "value": 40.0,
                "threshold": 35.0, "timestamp": STAMP}  # fmt: skip
    device.publish("devices/org-123/pool/alert", document)
    alert = next(alerts)
    assert isinstance(alert, Alert)
    assert (alert.sensor, alert.severity) == ("water_temperature", "critical")


def test_alerts_and_events_told_twice_are_heard_once(fleet, device):
    alerts, events = fleet.alerts(timeout=5), fleet.node_events(timeout=5)
    heard = []
    fleet.on_node_event(heard.append)
    for n in (1, 1, 2):
        origin = {"boot": "3-a1b2", "n": n, "ms": 5, "q": "synced"}
        carried = {**origin, "event": "outage", "seconds": n, "time": 1767225600}
        device.publish("devices/plant/status", {"status": "online", "_fh": {"event": carried}})
        device.publish(
            "devices/org-123/pool/alert",
            {"severity": "info", "message": "x", "timestamp": STAMP, "_fh": origin},
        )
    assert [next(events).data["seconds"] for _ in range(2)] == [1, 2]
    assert [next(alerts).provenance.seq for _ in range(2)] == [1, 2]
    until(lambda: len(heard) == 2)
    until(lambda: fleet.counts.duplicates == 2)
    assert (fleet.counts.events, fleet.counts.alerts) == (2, 2)


def test_callbacks_may_send_and_wait_and_fail(fleet, device, caplog):
    states = []

    def on_alert(alert):
        pending = fleet.send("pool", "set_pump", pump_id=1, state="off")
        states.append(pending.wait(5))

    def broken(reading):
        raise RuntimeError("mine")

    caplog.set_level(logging.CRITICAL)
    seen = []
    fleet.on_reading(broken)
    fleet.on_reading(seen.append)
    fleet.on_alert(on_alert)
    device.publish("devices/plant/data", {"temperatureC": 1.0})
    device.publish(
        "devices/org-123/pool/alert", {"severity": "info", "message": "x", "timestamp": STAMP}
    )
    topic, command = device.command()
    assert topic == "devices/org-123/pool/commands" and command["command"] == "set_pump"
    device.publish(
        "devices/org-123/pool/command_response",
        {"command_id": command["command_id"], "success": True, "timestamp": STAMP},
    )
    until(lambda: states == ["done"])
    assert len(seen) == 1 and fleet.counts.callback_errors == 1


# -- commands, one per way of answering ------------------------------------------------------------


def test_dese_by_command_id(fleet, device):
    pending = fleet.send("pool", "set_pump", pump_id=1, state="on", duration=3600)
    topic, command = device.command()
    assert topic == "devices/org-123/pool/commands"
    assert command["command_id"] == pending.id and pending.id.startswith("cmd-")
    assert command["parameters"] == {"pump_id": 1, "state": "on", "duration": 3600}
    assert set(command) == {"command_id", "device_id", "command", "parameters", "timestamp"}
    device.publish(
        "devices/org-123/pool/command_response",
        {"command_id": pending.id, "success": True, "error": None, "timestamp": STAMP,
         "response": {"pump_state": "on", "pump_duration": 3600}},
    )  # fmt: skip
    assert pending.result(5) == {"pump_state": "on", "pump_duration": 3600}
    assert isinstance(pending.reply, Reply)


def test_plantnanny_by_the_extension_accepted_then_done(fleet, device):
    pending = fleet.send("plant", "pump_water", durationMs=100)
    topic, command = device.command()
    assert topic == "devices/plant/command"
    assert command == {"action": "pump_water", "durationMs": 100, "_fh": {"id": pending.id}}
    for state in ("accepted", "done"):
        device.publish(
            "devices/plant/status",
            {"status": "online", "_fh": {"ack": {"id": pending.id, "state": state}}},
        )
        assert pending.wait(5, state=state) == state


def test_without_the_extension_nothing_is_added_and_the_next_reading_answers(fleet, device):
    pending = fleet.send("legacy", "send_now")
    assert device.command()[1] == {"action": "send_now"}
    device.publish("plantnanny/legacy/sensors", {"temperatureC": 20.0})
    assert pending.wait(5) == "done"


def test_solar_by_its_status(fleet, device):
    pending = fleet.send("panel", "start_cleaning", speed=5, mode="auto")
    assert device.command() == (
        "company/acme/machine/panel/command",
        {"command": "start_cleaning", "params": {"speed": 5, "mode": "auto"}},
    )
    device.publish("company/acme/machine/panel/status", {"status": "Idle"})
    device.publish("company/acme/machine/panel/status", {"status": "Running"})
    assert pending.wait(5) == "done"
    assert isinstance(pending.settled_by, Status)


def test_iotnode_by_its_status_update(fleet, device):
    pending = fleet.send("01", "set_led", state="on", brightness=128)
    assert device.command()[1] == {
        "command": "set_led",
        "params": {"state": "on", "brightness": 128},
    }
    device.publish("iot/node/01/status", {"status": "online", "led": "on", "brightness": 128})
    assert pending.wait(5) == "done"


def test_farm_by_its_status_on_the_telemetry_topic(fleet, device):
    pending = fleet.send("farm_001", "irrigation", state=1)
    topic, command = device.command()
    assert topic == "farm/farm_001/commands"
    assert (command["type"], command["device"], command["state"]) == ("ACTUATE", "irrigation", 1)
    device.publish("farm/telemetry", {"type": "STATUS", "irrigation": "OFF", "farm_id": "farm_001"})
    device.publish("farm/telemetry", {"type": "STATUS", "irrigation": "ON", "farm_id": "farm_001"})
    assert pending.result(5) == {"irrigation": 1}


def test_many_threads_send_at_once(fleet, device):
    def answer():
        done = 0
        while done < 40:
            command = device.command(done + 1)[1]
            done += 1
            device.mqtt.publish(
                "devices/org-123/pool/command_response",
                json.dumps({"command_id": command["command_id"], "success": True,
                            "timestamp": STAMP}),
                1,
            )  # fmt: skip

    threading.Thread(target=answer, daemon=True).start()
    states = []

    def send():
        for _ in range(10):
            states.append(fleet.send("pool", "reboot").wait(10))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert states == ["done"] * 40


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 86401, "5", None])
def test_a_time_limit_that_is_none_is_refused(fleet, timeout):
    with pytest.raises(BadParameter, match="reboot: timeout: .* is not a number of seconds"):
        fleet.send("pool", "reboot", timeout=timeout)
    with pytest.raises(BadParameter, match="reboot: retries: 101 is not a number from 0 to 100"):
        fleet.send("pool", "reboot", retries=101)


def test_a_closed_fleet_says_so(fleet, device):
    pending = fleet.send("pool", "reboot")
    fleet.close()
    with pytest.raises(CommandTimeout, match="the fleet was closed before an answer came"):
        pending.result()
    with pytest.raises(BrokerUnavailable, match="the fleet is closed"):
        fleet.send("pool", "reboot")


def test_configure(fleet, device):
    fleet.configure("pool", interval_ms=5000, alerts={"ph": {"min": 7.0, "max": 7.8}})
    topic, document = device.command()
    assert topic == "devices/org-123/pool/config" and document["device_id"] == "pool"
    assert document["config"]["telemetry_interval"] == 5000
    assert document["config"]["alert_thresholds"] == {"ph": {"min": 7.0, "max": 7.8}}
    with pytest.raises(BadParameter, match="telemetry_interval: 5 is below 1000"):
        fleet.configure("pool", interval_ms=5)
    with pytest.raises(
        BadParameter, match="config: intervall_ms: is not a setting; dese takes int"
    ):
        fleet.configure("pool", intervall_ms=5000)
    with pytest.raises(BadParameter, match="config: org: is not a setting"):
        fleet.configure("pool", org="other")
    with pytest.raises(UnknownAction, match="farm has no command 'config'"):
        fleet.configure("farm_001", interval_ms=5000)


@pytest.mark.parametrize(
    ("node", "action", "params", "error", "text"),
    [
        ("poll", "reboot", {}, UnknownNode, r"unknown \(did you mean 'pool'\?\)"),
        ("pool", "rebot", {}, UnknownAction, r"no command 'rebot' \(did you mean 'reboot'\?\)"),
        ("pool", "set_pump", {}, BadParameter, "set_pump: pump_id: is required"),
        ("pool", "set_pump", {"pump_id": 1, "state": "onn"}, BadParameter, "state: is 'onn', not"),
        ("pool", "set_pump", {"pump_id": "1", "state": "on"}, BadParameter, "pump_id: is a string"),
        ("pool", "reboot", {"now": True}, BadParameter, "now: is not a parameter; it takes none"),
        ("pool", "set_ph_target", {"target_ph": 15}, BadParameter, "target_ph: 15 is above 14"),
    ],
)
def test_a_wrong_command_is_refused_before_it_is_sent(broker, node, action, params, error, text):
    fleet = Fleet(broker=broker, nodes=NODES)
    with pytest.raises(error, match=text):
        fleet.send_command(node, action, params)
    fleet.close()


# -- the broker goes away --------------------------------------------------------------------------


def test_no_broker():
    with pytest.raises(BrokerUnavailable, match="broker 127.0.0.1:1: Connection refused"):
        Fleet(broker=("127.0.0.1", 1)).connect()


def test_a_broker_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        begin = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="no answer within 0.5 s"):
            Fleet(broker=("127.0.0.1", server.getsockname()[1])).connect(timeout=0.5)
        assert time.monotonic() - begin < 3


def test_wrong_password():
    with Broker(users={"ann": "secret"}) as running:
        address = BrokerAddress(running.host, running.port, "ann", "guess")
        with pytest.raises(BrokerUnavailable, match="refused the connection: not authorized"):
            Fleet(broker=address).connect()
        with Fleet(broker=replace(address, password="secret")) as fleet:
            assert fleet.connected
    assert "guess" not in repr(address)


def test_reconnects_subscribes_again_and_sends_nothing_meanwhile():
    broker = Broker()
    broker.start()
    port = broker.port
    with Fleet(broker=("127.0.0.1", port), nodes=NODES) as fleet:
        broker.stop()
        until(lambda: not fleet.connected)
        with pytest.raises(BrokerUnavailable, match="not connected"):
            fleet.send("plant", "pump_water", durationMs=1000)
        with Broker(port=port) as again:
            until(lambda: fleet.connected, 15)
            readings = fleet.readings(timeout=5)
            device = Device(again, ["devices/+/command"])
            device.publish("devices/plant/data", {"temperatureC": 24.3})
            assert next(readings).node == "plant"
            assert device.got == [] and fleet.counts.reconnects == 1
            device.close()


def test_close_ends_streams_and_commands(broker):
    fleet = Fleet(broker=broker, nodes=NODES)
    fleet.connect()
    ended = []
    reader = threading.Thread(target=lambda: ended.append(list(fleet.readings())))
    reader.start()
    time.sleep(0.1)
    pending = fleet.send("pool", "reboot")
    fleet.close()
    fleet.close()
    reader.join(5)
    assert ended == [[]] and pending.wait(1) == "timeout"
    assert list(fleet.readings()) == []


def test_a_fleet_file_gives_broker_and_nodes(broker, tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text(f'[broker]\nport = {broker.port}\n[node.led]\ndialect = "iotnode"\n')
    with Fleet(path) as fleet:
        assert fleet.broker.port == broker.port
        assert [(node.name, node.declared) for node in fleet.nodes()] == [("led", True)]
    path.write_text("[broker]\nport = 0\n")
    with pytest.raises(ConfigError):
        Fleet(path)


def test_only_some_dialects(broker):
    device = Device(broker)
    with Fleet(broker=broker, dialects=["farm"]) as fleet:
        readings = fleet.readings(timeout=5)
        device.publish("devices/plant/data", {"temperatureC": 24.3})
        device.publish("farm/telemetry", GOOD[-1][1])
        assert next(readings).dialect == "farm"
    with pytest.raises(FieldhandError, match="unknown dialect 'frm'"):
        Fleet(broker=broker, dialects=["frm"])
    with pytest.raises(UnknownNode, match="does not listen to dese"):
        Fleet(broker=broker, dialects=["farm"], nodes={"p": NODES["pool"]})
    device.close()
