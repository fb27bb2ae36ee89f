"""A node on a real board, or a virtual one, at work: what it promises, seen from the broker."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hil.bench import NODE, RUN_LIMIT_S, WAIT_S, Bench

from fieldhand.records import NodeEvent, Reading, Reply, Status

Record = Callable[[str, object], None]
COMMAND = f"devices/{NODE}/command"


def run_end(event: Any) -> bool:
    return isinstance(event, NodeEvent) and event.event == "run"


def answered(identifier: str, state: str) -> Callable[[Any], bool]:
    def wanted(event: Any) -> bool:
        return isinstance(event, Reply) and event.id == identifier and event.state == state

    return wanted


def test_a_bare_board_reports(bench: Bench, record_property: Record) -> None:
    """A bare board is flashed, joins the network and reports"""
    reading = bench.reading()
    assert {"flow_rate", "signal_strength"} <= set(reading.quantities)
    record_property("signal_dbm", reading.quantities["signal_strength"])


def test_a_command_drives_the_relay(bench: Bench, record_property: Record) -> None:
    """A command drives the relay, as the wire from it to an input shows"""

    def flows(event: Any) -> bool:
        return isinstance(event, Reading) and event.quantities.get("flow_rate", 0) > 0

    sent = []

    def water() -> None:
        sent.append(bench.fleet.send(NODE, "pump_water", timeout=WAIT_S, durationMs=500))

    bench.heard(flows, water)
    assert sent[0].wait(WAIT_S) == "done"
    record_property("answer_ms", round(1000 * (sent[0].ended_at - sent[0].sent_at)))


def test_a_run_has_the_length_it_was_given(bench: Bench, record_property: Record) -> None:
    """A run lasts as long as it was told, by the node's own clock"""
    end = bench.heard(
        run_end, lambda: bench.fleet.send(NODE, "pump_water", durationMs=1500).wait(WAIT_S)
    )
    assert end.data["reason"] == "done"
    assert 1500 <= end.data["ran_ms"] < 2000
    record_property("ran_ms", end.data["ran_ms"])


def test_no_command_runs_longer_than_the_limit(bench: Bench) -> None:
    """No command runs the pump for longer than its limit"""
    pending = bench.fleet.send(NODE, "pump_water", durationMs=RUN_LIMIT_S * 1000 + 1)
    assert pending.wait(WAIT_S) == "failed"
    assert f"{RUN_LIMIT_S * 1000} ms" in str(pending.error)


def test_a_cut_ends_the_run_and_is_told(bench: Bench, record_property: Record) -> None:
    """A power cut in the middle of a run ends it; it is told and not resumed"""
    pending = bench.fleet.send(NODE, "pump_water", timeout=WAIT_S, durationMs=RUN_LIMIT_S * 1000)
    assert pending.wait(WAIT_S, "accepted") == "accepted"
    end = bench.heard(run_end, bench.reset)
    assert end.data["reason"] in ("power", "crash", "restart")
    assert pending.wait(WAIT_S) == "failed"
    for _ in range(2):
        assert bench.reading().quantities["flow_rate"] == 0
    record_property("reason", end.data["reason"])


def test_no_reading_is_missing(bench: Bench, record_property: Record) -> None:
    """Of all that was measured until now, cuts included, no reading is missing"""
    bench.reading()
    found = bench.complete()
    record_property("received", found["received"])


def test_an_outage_loses_nothing(bench: Bench, record_property: Record) -> None:
    """Readings taken while the broker is away arrive afterwards"""
    last = bench.reading().provenance.seq
    late = bench.heard(
        lambda event: isinstance(event, NodeEvent) and event.event == "outage",
        lambda: bench.outage(3.5),  # three readings at one a second
    )
    reading = bench.reading()
    assert reading.provenance.seq >= last + 3
    bench.complete()
    record_property("outage_s", late.data["seconds"])


def test_the_same_command_twice_runs_once(bench: Bench) -> None:
    """A command that comes twice is carried out once, and answered twice"""
    command = {"action": "pump_water", "durationMs": 300, "_fh": {"id": "hil-twice"}}
    payload = json.dumps(command).encode()
    with bench.fleet.events(NODE) as events:
        for _ in range(2):
            bench.heard(
                answered("hil-twice", "done"), lambda: bench.broker.publish(COMMAND, payload)
            )
        bench.reading()
        runs = 0
        while (event := events.get(0)) is not None:
            runs += run_end(event)
    assert runs == 1


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"not json", "JSON"),
        (b'{"action": "pump_water", "durationMs": -5, "_fh": {"id": "hil-bad"}}', "durationMs"),
        (b'{"action": "explode", "_fh": {"id": "hil-bad"}}', "explode"),
    ],
    ids=["no JSON", "out of range", "unknown"],
)
def test_a_bad_command_is_answered(bench: Bench, payload: bytes, says: str) -> None:
    """A bad command is answered with what is wrong, and the next good one works"""

    def refused(event: Any) -> bool:
        return isinstance(event, Reply) and says in str(event.error)

    bench.heard(refused, lambda: bench.broker.publish(COMMAND, payload))
    assert bench.fleet.send(NODE, "send_now", timeout=WAIT_S).wait(WAIT_S) == "done"


def test_a_setting_outlives_a_cut(bench: Bench) -> None:
    """A setting made over MQTT outlives a power cut"""
    sent = bench.fleet.send(NODE, "set_interval", timeout=WAIT_S, intervalMs=1200)
    assert sent.wait(WAIT_S) == "done"
    try:
        first = bench.reading(bench.reset)
        second = bench.reading()
        was, now = first.provenance, second.provenance
        assert now.ms - was.ms >= 1100 * (now.seq - was.seq)  # 1,000 before
    finally:
        bench.fleet.send(NODE, "set_interval", timeout=WAIT_S, intervalMs=1000).wait(WAIT_S)


def test_a_restart_happens_once(bench: Bench) -> None:
    """A restart is answered, and happens once"""
    boot = bench.reading().provenance.boot
    sent = bench.fleet.send(NODE, "restart", timeout=WAIT_S)
    new = bench.heard(lambda event: isinstance(event, Reading) and event.provenance.boot != boot)
    assert sent.wait(WAIT_S) == "done"
    assert int(new.provenance.boot.split("-")[0]) == int(boot.split("-")[0]) + 1


def test_a_vanished_node_gets_its_will(bench: Bench) -> None:
    """A node that vanishes is offline for the broker, and comes back"""

    def vanishes(event: Any) -> bool:
        return isinstance(event, Status) and not event.online and not event.retained

    with ExitStack() as cable:
        device = bench.device()
        # Its program ends without a word.
        bench.heard(vanishes, lambda: cable.enter_context(device).exec(""))
        device.reset()
    bench.reading()


def test_deploy_finds_nothing_to_do(bench: Bench) -> None:
    """What was flashed is what deploy would send: nothing changed, nothing is sent"""
    told = json.loads(bench.run("deploy", NODE, "--port", bench.port, "--json"))
    assert told["sent"] == []
    bench.reading()


def test_the_doctor_finds_nothing(bench: Bench) -> None:
    """The doctor finds nothing wrong"""
    told = json.loads(bench.run("doctor", NODE, "--port", bench.port, "--json"))
    assert told["healthy"]
    bench.reading()
