"""`fieldhand monitor` before Mosquitto, which tells of itself on `$SYS`."""

import json
import subprocess
import sys
import time

import paho.mqtt.client as paho
import pytest
from conftest import missing
from mosquitto import Mosquitto, executable
from paho.mqtt.enums import CallbackAPIVersion

from fieldhand.broker import Broker
from fieldhand.broker.monitor import BrokerMonitor, NoStatistics
from fieldhand.broker.stats import Rate

WAIT_S = 20.0


@pytest.fixture(scope="module")
def telling():
    if executable() is None:
        missing("mosquitto is not installed: apt-get install mosquitto")
    with Mosquitto(persistent=False, extra=("sys_interval 1",), log_types="error") as broker:
        yield broker


def client(broker: Mosquitto) -> paho.Client:
    made = paho.Client(CallbackAPIVersion.VERSION2)
    made.connect("127.0.0.1", broker.port)
    made.loop_start()
    return made


def test_what_the_broker_counts_is_published_as_the_document_says(telling: Mosquitto):
    heard: dict[str, tuple[dict, bool]] = {}
    listener = client(telling)
    listener.on_message = lambda c, u, m: heard.update({m.topic: (json.loads(m.payload), m.retain)})
    listener.subscribe("iot/broker/#", 1)
    with BrokerMonitor(telling) as monitor:
        before = monitor.look()
        for number in range(7):
            listener.publish("x/y", str(number), 1).wait_for_publish(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        # Its own status and stats are messages too.
        while (health := monitor.look()).messages_received < before.messages_received + 7 + 2:
            assert time.monotonic() < deadline, health
            time.sleep(0.3)
    assert health.version.startswith("mosquitto ") and "version" not in health.version
    assert health.connections >= 2
    assert health.uptime_s >= before.uptime_s
    while heard["iot/broker/stats"][0]["messages_received"] != health.messages_received:
        assert time.monotonic() < deadline, heard
        time.sleep(0.05)
    status, _ = heard["iot/broker/status"]
    assert status["status"] == "online" and status["version"] == health.version
    stats, _ = heard["iot/broker/stats"]
    assert stats["connections"] == health.connections
    assert set(stats) == {"timestamp", "connections", "messages_received",
                          "messages_sent", "messages_per_second"}  # fmt: skip
    listener.loop_stop()
    # Kept for who comes later.
    late = client(telling)
    late.on_message = listener.on_message
    heard.clear()
    late.subscribe("iot/broker/#", 1)
    while not heard:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    late.loop_stop()
    assert heard["iot/broker/status"][1] is True
    assert "iot/broker/stats" not in heard


def test_the_rate_is_that_between_two_updates_however_often_it_is_asked_for(telling: Mosquitto):
    """A counter is told every second or two, and looked at 20 times a second."""
    sender = client(telling)
    told = {}
    with BrokerMonitor(telling, publish=False) as monitor:
        deadline = time.monotonic() + WAIT_S
        while len(told) < 4:
            assert time.monotonic() < deadline, told
            sender.publish("x/y", "", 0)
            health = monitor.look()
            told[health.uptime_s] = (health.messages_received, health.messages_per_second)
            time.sleep(0.05)
    sender.loop_stop()
    updates = sorted(told.items())[1:-1]  # of the last there may be more to come
    for (before, (fewer, _)), (at, (more, rate)) in zip(updates, updates[1:], strict=False):
        assert rate == pytest.approx((more - fewer) / (at - before)) and rate > 0


def test_a_rate():
    rate = Rate()
    assert rate.of(100, 10) == 0.0
    assert rate.of(120, 20) == rate.of(120, 20) == 2.0
    assert rate.of(150, 20) == 5.0  # told a moment later
    assert rate.of(150, 30) == 0.0
    assert rate.of(160, 40) == 1.0
    assert rate.of(3, 5) == 0.0  # the broker began anew
    assert rate.of(8, 10) == 1.0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fieldhand.cli", "monitor", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_shows_a_table_and_json(telling: Mosquitto):
    where = f"127.0.0.1:{telling.port}"
    done = run("--broker", where, "--interval", "0.5", "--seconds", "0.7")
    assert done.returncode == 0, done.stderr
    head, first, *_ = done.stdout.splitlines()
    assert head.split()[:2] == ["uptime", "clients"] and len(first) == len(head)
    assert where in done.stderr
    done = run("--broker", where, "--no-publish", "--seconds", "0.1", "--json")
    assert {"uptime_s", "messages_received"} <= set(json.loads(done.stdout))


def test_no_broker_is_one_line_and_exit_code_4():
    done = run("--broker", "127.0.0.1:1")
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1


def test_a_broker_that_tells_nothing_is_named():
    with Broker(port=0) as silent, BrokerMonitor(silent) as monitor:
        with pytest.raises(NoStatistics, match="sys_interval"):
            monitor.look(timeout=0.3)
