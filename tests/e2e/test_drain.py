"""A long backlog on flash, a slow network: everything arrives, in order, and the newest at once."""

from pathlib import Path

from bench_outbox import fill
from mosquitto import Mosquitto
from slow_wire import SlowWire

from fieldhand.sim import Simulator

from .nodes import backend, example

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
