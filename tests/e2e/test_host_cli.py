"""The command line with a broker and simulated nodes behind it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mosquitto import Mosquitto

from fieldhand import paths
from fieldhand.broker import Broker
from fieldhand.client import Fleet

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'host'}:{ROOT / 'protocol'}", "NO_COLOR": "1"}

STAMP = "2025-01-27T10:00:00Z"


def fieldhand(*arguments, cwd, **options):
    command = [sys.executable, "-m", "fieldhand.cli", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        **options,
    )  # fmt: skip


def run(*arguments, cwd, timeout=60):
    """(exit code, stdout, stderr)."""
    process = fieldhand(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=timeout)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.fixture
def project(tmp_path):
    assert run("init", cwd=tmp_path)[0] == 0
    return tmp_path


@pytest.fixture
def broker():
    with Broker() as running:
        yield running


def at(broker):
    return ["--broker", f"{broker.host}:{broker.port}"]


def test_watch_prints_a_json_line_for_every_message(project, broker):
    broker.publish("iot/node/01/status", b'{"status": "online"}', retain=True)
    process = fieldhand("watch", "--json", *at(broker), cwd=project)
    first = json.loads(process.stdout.readline())
    assert first["kind"] == "status" and first["retained"] is True
    broker.publish("devices/greenhouse/data", b'{"temperatureC": 24.3}')
    reading = json.loads(process.stdout.readline())
    assert (reading["node"], reading["quantities"]) == ("greenhouse", {"air_temperature": 24.3})
    broker.publish("devices/greenhouse/data", b"{")
    refused = json.loads(process.stdout.readline())
    assert refused["kind"] == "invalid" and refused["reason"] == "plantnanny data: is not JSON"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert "Traceback" not in process.stderr.read()


def test_watch_in_plain_lines_one_node_for_some_seconds(project, broker):
    process = fieldhand(
        "watch", "--node", "greenhouse", "--seconds", "1.5", *at(broker), cwd=project
    )
    deadline = time.monotonic() + 10
    while broker.counters().subscriptions == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    broker.publish("farm/telemetry", b"{}")
    broker.publish("devices/greenhouse/data", b'{"temperatureC": 24.3, "humidityPct": 56}')
    out, _ = process.communicate(timeout=20)
    (line,) = out.splitlines()
    assert line.endswith("greenhouse reading air_temperature=24.3 °C, relative_humidity=56 %")


EVENT = json.dumps(
    {
        "status": "online",
        "_fh": {
            "boot": "3-a1b2",
            "event": {"event": "run", "actuator": "pump", "reason": "budget", "time": 1767225600,
                      "boot": "3-a1b2", "n": 2, "ms": 61000, "q": "synced"},
        },
    }
).encode()  # fmt: skip


def test_watch_shows_what_happened_on_a_node(project, broker):
    process = fieldhand("watch", "--json", "--node", "greenhouse", *at(broker), cwd=project)
    plain = fieldhand("watch", "--node", "greenhouse", *at(broker), cwd=project)
    broker.publish("devices/greenhouse/data", b'{"temperatureC": 24.3}', retain=True)
    assert json.loads(process.stdout.readline())["kind"] == "reading"
    assert "reading" in plain.stdout.readline()
    broker.publish("devices/greenhouse/status", EVENT)
    assert json.loads(process.stdout.readline())["kind"] == "status"
    event = json.loads(process.stdout.readline())
    assert event.pop("received_at")
    assert event == {
        "kind": "event",
        "node": "greenhouse",
        "dialect": "plantnanny",
        "event": "run",
        "data": {"actuator": "pump", "reason": "budget"},
        "time": 1767225600,
        "provenance": {"boot": "3-a1b2", "seq": 2, "ms": 61000, "quality": "synced"},
    }
    assert "status" in plain.stdout.readline()
    line = plain.stdout.readline().strip()
    assert line.endswith("greenhouse event run actuator=pump reason=budget")
    for each in (process, plain):
        each.send_signal(signal.SIGINT)
        assert each.wait(10) == 0
        assert "Traceback" not in each.stderr.read()


def test_watch_escapes_what_moves_a_terminal(project, broker):
    process = fieldhand("watch", "--seconds", "60", *at(broker), cwd=project)
    name = "evil\x1b[2J\n12:00:00 greenhouse reading ok"
    topic = f"devices/{name}/status"
    broker.publish(topic, b'{"status": "on"}', retain=True)
    line = process.stdout.readline()
    assert "devices/evil\\x1b[2J\\n12:00:00 greenhouse" in line or "evil\\x1b[2J\\n12" in line
    assert "\x1b" not in line
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == ""


def test_watch_says_when_the_broker_is_lost_and_back(project, own_mosquitto):
    where = f"127.0.0.1:{own_mosquitto.port}"
    process = fieldhand("watch", "--json", "--broker", where, cwd=project)
    topic = "iot/node/01/status"
    listens = ["mosquitto_pub", "-p", str(own_mosquitto.port), "-r", "-t", topic, "-q", "1"]
    subprocess.check_call([*listens, "-m", '{"status": "online"}'])
    assert json.loads(process.stdout.readline())["kind"] == "status"
    own_mosquitto.kill()
    assert process.stderr.readline() == f"broker {where} lost, trying again\n"
    own_mosquitto.start()
    assert process.stderr.readline() == f"broker {where} is back\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert "Traceback" not in err and all(json.loads(line) for line in out.splitlines())


def test_watch_on_a_terminal_is_a_live_table(project, broker):
    import pty

    main, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldhand.cli", "watch", "--seconds", "3", *at(broker)],
        cwd=project, env={**ENV, "TERM": "xterm", "COLUMNS": "120", "LINES": "60"},
        stdin=far, stdout=far, stderr=far,
    )  # fmt: skip
    os.close(far)
    shown = b""
    published = False
    try:
        while chunk := os.read(main, 65536):
            shown += chunk
            if not published and b"greenhouse" in shown:
                published = True
                broker.publish("devices/greenhouse/data", b'{"temperatureC": 24.3}')
    except OSError:  # the far end is closed: that is how a pty says end of file
        pass
    os.close(main)
    assert process.wait(10) == 0
    text = shown.decode()
    assert "not heard" in text and "24.3 °C" in text and "1 readings" in text


def test_send_exit_codes_and_json(project, broker):
    with Fleet(broker=broker) as fleet:
        # A pool that refuses to reboot and does not answer anything else.
        import paho.mqtt.client as paho

        def on_message(client, userdata, message):
            command = json.loads(message.payload)
            if command["command"] == "reset_config":
                return
            answer = {"command_id": command["command_id"], "timestamp": STAMP, "success": True}
            if command["command"] == "reboot":
                answer |= {"success": False, "error": "pump is on"}
            client.publish("devices/org-123/pool/command_response", json.dumps(answer), 1)

        device = paho.Client(paho.CallbackAPIVersion.VERSION2)
        device.on_message = on_message
        device.connect(broker.host, broker.port)
        device.subscribe("devices/org-123/pool/commands", 1)
        device.loop_start()
        try:
            code, out, _ = run("send", "pool", "set_ph_target", "target_ph=7.4", *at(broker),
                               cwd=project)  # fmt: skip
            assert code == 0 and out.startswith("pool set_ph_target: done in ")
            code, out, err = run("send", "pool", "reboot", *at(broker), cwd=project)
            assert (code, out) == (1, "") and "pool reboot: failed: pump is on" in err
            code, out, _ = run("send", "pool", "reset_config", "--timeout", "0.3", "--retries", "1",
                               "--json", *at(broker), cwd=project)  # fmt: skip
            answer = json.loads(out)
            assert code == 3 and (answer["state"], answer["attempts"]) == ("timeout", 2)
            # A node that no file names: its dialect is said, or heard.
            code, _, err = run("send", "nobody", "reboot", *at(broker), cwd=project)
            assert code == 2 and "node 'nobody': unknown" in err
            code, _, _ = run("send", "pool", "set_ph_target", "target_ph=7.4", "--dialect", "dese",
                             "--option", "org=org-123", *at(broker), cwd="/")  # fmt: skip
            assert code == 0
        finally:
            device.loop_stop()
        assert fleet.connected


def test_broker_command_serves_and_ends_on_ctrl_c(tmp_path):
    process = fieldhand("broker", "--port", "0", "--json", "--stats-seconds", "0.5", cwd=tmp_path)
    where = json.loads(process.stdout.readline())
    with Fleet(broker=(where["host"], where["port"]), dialects=["iotnode"]) as fleet:
        assert fleet.connected
        code, _, err = run("broker", "--port", where["port"], cwd=tmp_path)
        assert code == 4 and "the port is in use" in err
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert "Traceback" not in process.stderr.read()


@pytest.fixture
def firmware():
    try:
        paths.umqtt()
        paths.micropython()
    except paths.MissingPart as error:
        from conftest import missing

        missing(str(error))


def test_sim_runs_the_nodes_and_send_reaches_one(project, firmware):
    process = fieldhand("sim", "--port", "0", "--json", cwd=project)
    try:
        started = json.loads(process.stdout.readline())
        assert started["nodes"] == ["greenhouse", "panel-7", "pool", "01", "farm_001"]
        broker = ["--broker", f"{started['broker']['host']}:{started['broker']['port']}"]
        watch = fieldhand("watch", "--json", "--seconds", "20", *broker, cwd=project)
        heard = set()
        for line in watch.stdout:
            event = json.loads(line)
            assert event["kind"] != "invalid", event
            if event["kind"] == "reading":
                heard.add(event["node"])
            if len(heard) == 5:
                break
        watch.kill()
        watch.communicate()
        assert len(heard) == 5
        code, out, err = run("send", "greenhouse", "pump_water", "durationMs=500", "--json",
                             *broker, cwd=project)  # fmt: skip
        assert code == 0, err
        assert json.loads(out)["data"]["ran_ms"] >= 500
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and "Traceback" not in err


def test_sim_of_many_like_one(tmp_path, firmware):
    process = fieldhand("sim", "--port", "0", "--json", "--count", "2", "--dialect", "iotnode",
                        "--seconds", "1", cwd=tmp_path)  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["nodes"] == ["iotnode-001", "iotnode-002"]


def test_send_to_a_strangers_device_keeps_to_the_document(own_mosquitto: Mosquitto) -> None:
    port = str(own_mosquitto.port)
    hear = ["mosquitto_sub", "-p", port, "-t", "iot/node/+/command", "-C", "1", "-W", "20"]
    listener = subprocess.Popen(hear, stdout=subprocess.PIPE)
    time.sleep(0.5)
    arguments = ["--broker", f"127.0.0.1:{port}", "--dialect", "iotnode", "--no-extras"]
    command = [sys.executable, "-m", "fieldhand.cli", "send", "07", "set_led", "state=on"]
    done = subprocess.run([*command, *arguments, "--timeout", "1"], capture_output=True, timeout=30)
    heard, _ = listener.communicate(timeout=30)
    assert json.loads(heard) == {"command": "set_led", "params": {"state": "on"}}
    assert done.returncode == 3 and b"no answer" in done.stderr
