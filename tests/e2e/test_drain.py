"""A long backlog on flash, a slow network: everything arrives, in order, and the newest at once."""

import os
import signal
import time
from pathlib import Path

from bench_outbox import fill
from mosquitto import Mosquitto
from slow_wire import SlowWire

from fieldhand.sim import Simulator

from .nodes import WAIT_S, backend, example, running

QUEUED = 5000
ROUND_TRIP_S = 0.1
DRAIN_S = 240.0  # a deadline; `make bench` measures
TOPIC = "devices/greenhouse/data"


def test_5000_queued_readings_arrive_in_order_through_a_slow_network(
    own_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with (
        backend(own_mosquitto.port) as heard,
        SlowWire(("127.0.0.1", own_mosquitto.port), ROUND_TRIP_S) as wire,
        Simulator(broker=("127.0.0.1", wire.port), workdir=tmp_path) as simulator,
    ):
        node = simulator.add(example("greenhouse", wire.port))
        fill(node.flash, QUEUED)
        node.start()
        last = {"boot": "1-0001", "seq": QUEUED}
        heard.wait(TOPIC, lambda obj: last.items() <= obj["_fh"].items(), timeout=DRAIN_S)
        origins = [obj["_fh"] for obj in heard.all(TOPIC)]
        node.wait(lambda: not list((node.flash / "outbox").iterdir()), 30, "empty queue")
    backlog = [origin["seq"] for origin in origins if origin["boot"] == "1-0001"]
    assert backlog == list(range(1, QUEUED + 1))
    live = [origin["seq"] for origin in origins if origin["boot"] != "1-0001"]
    assert live == list(range(1, len(live) + 1))
    assert len(live) >= 5, "a reading a second waited for the backlog"


def test_readings_taken_offline_outlive_a_crash_and_keep_their_time(
    own_mosquitto: Mosquitto,
) -> None:
    port = own_mosquitto.port
    with (
        backend(port) as heard,
        running(port, example("greenhouse", port)) as (node,),
    ):
        before = heard.wait(TOPIC, lambda obj: obj["_fh"]["q"] == "synced")
        node.faults.ntp(False)  # nobody tells the time again
        node.faults.wifi("lost")
        time.sleep(7)  # far less than `outbox_flush`: nothing is on flash
        os.kill(node.pid, signal.SIGKILL)
        node.wait(lambda: node.restart_count == 1 and node.running, WAIT_S, "restart")
        time.sleep(3)
        mark = heard.mark()
        node.faults.wifi("ok")
        heard.wait(TOPIC, lambda obj: obj["_fh"]["boot"] != before["_fh"]["boot"], mark)
        after = f"{int(before['_fh']['boot'].partition('-')[0]) + 1}-"
        heard.wait(TOPIC, lambda obj: obj["_fh"]["seq"] >= 3, mark)
    readings = heard.all(TOPIC)
    first = [obj for obj in readings if obj["_fh"]["boot"] == before["_fh"]["boot"]]
    numbers = sorted({obj["_fh"]["seq"] for obj in first})
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 3
    assert all(obj["_fh"]["q"] == "synced" for obj in first if obj["_fh"]["seq"] > 1)
    second = [obj for obj in readings if obj["_fh"]["boot"].startswith(after)]
    assert second and all(obj["_fh"]["q"] == "backfilled" for obj in second)
    last = max(obj["ts"] for obj in first)
    assert all(0 <= obj["ts"] - last <= 60 for obj in second), "the RTC went on"
