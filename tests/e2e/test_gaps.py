"""`fieldhand gaps` with real nodes and a real broker: what is lost is listed, nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.nodes import WAIT_S, backend, example, running

from fieldhand import fleetfile, gaps
from fieldhand.client import Fleet
from fieldhand.fleetfile import template
from fieldhand.received import StoreError

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'host'}:{ROOT / 'protocol'}", "NO_COLOR": "1"}
NODE = "greenhouse"
DATA, STATUS = "devices/greenhouse/data", "devices/greenhouse/status"


@pytest.fixture
def project(tmp_path: Path, own_mosquitto) -> Path:
    template.write(tmp_path)
    path = tmp_path / "fleet.toml"
    path.write_text(path.read_text().replace("port = 1883", f"port = {own_mosquitto.port}"))
    return path


@contextmanager
def listening(project):
    """A program that reads; its record is written when it ends."""
    with Fleet(project) as fleet, fleet.readings(NODE, timeout=WAIT_S) as readings:
        yield readings


def until(readings, wanted):
    for reading in readings:
        if wanted(reading):
            return reading
    raise AssertionError(f"nothing wanted within {WAIT_S} s")


def found(project):
    return gaps.of_node(NODE, fleetfile.load(project))


def lost(project):
    """[(boot, number)] of what is missing."""
    return [
        (boot.boot, number)
        for boot in found(project).boots
        for gap in boot.missing
        for number in range(gap.first, gap.last + 1)
    ]


def test_an_outage_leaves_no_gap(project, own_mosquitto):
    port = own_mosquitto.port
    with listening(project) as readings, running(port, example(NODE, port)) as (node,):
        until(readings, lambda r: r.provenance.seq >= 2)
        node.faults.wifi("lost")
        with backend(port) as heard:
            heard.wait(STATUS, lambda obj: obj["status"] == "offline")
            node.faults.wifi("ok")
            birth = heard.wait(
                STATUS, lambda obj: obj.get("_fh", {}).get("also", {}).get("queued", 0) >= 3
            )
        taken = birth["_fh"]["also"]["seq"]
        until(readings, lambda r: r.provenance.seq > taken)
        # The backlog comes while live readings do: wait for a status with nothing queued.
        with backend(port) as heard:
            heard.wait(STATUS, lambda obj: obj.get("_fh", {}).get("also", {}).get("queued") == 0)
            time.sleep(0.2)
    result = found(project)
    assert result.complete and result.missing == 0 and result.received >= taken
    assert len(result.boots) == 1


def test_a_boot_that_never_got_through_is_heard_by_its_queue(project, own_mosquitto):
    port = own_mosquitto.port
    config = example(NODE, port, outbox_flush_s=1)
    with listening(project) as readings, running(port, config) as (node,):
        one = until(readings, lambda r: r.provenance.seq >= 2).provenance.boot
        with backend(port) as heard:
            node.faults.wifi("lost")
            heard.wait(STATUS, lambda obj: obj["status"] == "offline")
        for _ in range(2):
            written = flushed(node)
            node.wait(lambda at=written: flushed(node) > at, WAIT_S, "readings on flash")
            node.power_cut()
            node.power_on()
        node.faults.wifi("ok")
        until(readings, lambda r: r.provenance.boot.startswith("3-") and r.provenance.seq >= 3)
        with backend(port) as heard:
            heard.wait(STATUS, lambda obj: obj.get("_fh", {}).get("also", {}).get("queued") == 0)
            time.sleep(0.2)
    result = found(project)
    assert sorted(boot.boot[:2] for boot in result.boots) == ["1-", "2-", "3-"]
    assert result.boots[0].boot == one and result.boots[0].received > 2
    assert result.complete, result


def flushed(node):
    """Bytes of readings on the node's flash."""
    return sum(path.stat().st_size for path in (node.flash / "outbox").glob("*"))


def test_what_was_sent_while_nobody_listened_is_listed_exactly(project, own_mosquitto):
    port = own_mosquitto.port
    got = set()

    def reaches(boot, number):
        def wanted(reading):
            origin = reading.provenance
            got.add((origin.boot, origin.seq))
            return boot(origin.boot) and origin.seq >= number

        return wanted

    with backend(port) as witness, running(port, example(NODE, port)) as (node,):
        with listening(project) as readings:
            one = until(readings, reaches(lambda boot: True, 3)).provenance
        mark = witness.mark()
        witness.wait(DATA, lambda obj: obj["_fh"]["seq"] >= one.seq + 4, mark)
        with listening(project) as readings:
            again = next(readings).provenance
            got.add((again.boot, again.seq))
            assert again.seq > one.seq + 1, "nobody listened, so nothing was kept for us"
            until(readings, reaches(lambda boot: boot == one.boot, again.seq + 2))
            node.power_cut()
            node.power_on()
            two = until(readings, reaches(lambda boot: boot != one.boot, 4)).provenance
        sent = {(obj["_fh"]["boot"], obj["_fh"]["seq"]) for obj in witness.all(DATA)}
    tops = {name: max(seq for boot, seq in got if boot == name) for name, _ in got}
    never = sorted((boot, seq) for boot, seq in sent - got if seq < tops.get(boot, 0))
    assert never == [(one.boot, seq) for seq in range(one.seq + 1, again.seq)] or (
        # A first reading or two may have gone before the first listener was there.
        never[-1] == (one.boot, again.seq - 1)
    )
    listed = [(boot, seq) for boot, seq in lost(project) if seq < tops[boot]]
    assert sorted(listed) == never
    assert {boot.boot for boot in found(project).boots} == {one.boot, two.boot}
    code, out, _ = fieldhand("gaps", NODE, cwd=project.parent)
    assert code == 1 and f"boot {one.boot}: reading" in out


def test_the_same_message_twice_is_seen_once(project, own_mosquitto):
    """As QoS 1 delivers it when an acknowledgement got lost; legacy devices have no numbers."""
    numbered = {"temperatureC": 24.3}
    legacy = ("plantnanny/old/sensors", {"humidityPct": 56.0})
    with Fleet(project) as fleet, fleet.readings(timeout=3) as readings:
        with backend(own_mosquitto.port) as device:
            for seq in (1, 2, 2, 1, 3):
                device.publish(DATA, {**numbered, "_fh": {"boot": "1-aa", "seq": seq}})
            device.publish(DATA, {**numbered, "_fh": {"boot": "2-bb", "seq": 2}})
            for _ in range(2):
                device.publish(*legacy)
        got = [(r.node, r.provenance.boot, r.provenance.seq) for r in readings]
        assert fleet.counts.duplicates == 2
    origins = [("1-aa", 1), ("1-aa", 2), ("1-aa", 3), ("2-bb", 2)]
    assert got == [(NODE, *origin) for origin in origins] + 2 * [("old", None, None)]
    assert lost(project) == [("2-bb", 1)]


def test_a_second_listener_hears_what_the_first_has_heard(project, own_mosquitto):
    port = own_mosquitto.port
    watch = [
        subprocess.Popen(
            [sys.executable, "-m", "fieldhand.cli", "watch", "--json", "--seconds", "60"],
            cwd=project.parent, env=ENV, text=True, stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    document = {"temperatureC": 24.3, "_fh": {"boot": "1-aa", "seq": 1}}
    with backend(port) as device:
        heard = [b"", b""]
        for at, process in enumerate(watch):
            # A retained status tells that it listens.
            device.publish("iot/node/01/status", {"status": "online"}, retain=True)
            heard[at] = process.stdout.readline()
        device.publish("devices/greenhouse/data", document)
        lines = []
        for process in watch:
            for line in process.stdout:
                event = json.loads(line)
                if event["kind"] == "reading":
                    lines.append(event["provenance"])
                    break
    for process in watch:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT_S)
    assert lines == 2 * [{"boot": "1-aa", "seq": 1}]
    code, out, _ = fieldhand("gaps", "greenhouse", cwd=project.parent)
    assert code == 0 and "nothing missing; 1 arrived" in out


def test_only_what_somebody_listens_for_is_on_record(project, own_mosquitto):
    port = own_mosquitto.port
    reading = {"temperatureC": 24.3, "_fh": {"boot": "1-aa"}}
    topic = "devices/greenhouse/data"
    with Fleet(project) as fleet, backend(port) as device:

        def publish(seq):
            before = fleet.counts.readings
            device.publish(topic, {**reading, "_fh": {"boot": "1-aa", "seq": seq}})
            deadline = time.monotonic() + WAIT_S
            while fleet.counts.readings == before and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.05)  # counted first, then handed on

        fleet.on_status(lambda status: None)
        publish(1)
        with fleet.readings("pool"), fleet.alerts("greenhouse"):
            publish(2)
        with fleet.readings("greenhouse"):
            publish(3)
        publish(4)
        fleet.on_reading(lambda reading: None)
        publish(5)
    (boot,) = gaps.of_node("greenhouse", fleetfile.load(project)).boots
    assert [(gap.first, gap.last) for gap in boot.missing] == [(1, 2), (4, 4)]


def test_a_record_may_be_elsewhere_or_not_at_all(project, own_mosquitto, tmp_path):
    with Fleet(project, received=False) as fleet, fleet.readings() as readings:
        publish_one(own_mosquitto.port)
        assert readings.get(WAIT_S)
    assert not (project.parent / ".fieldhand").exists()
    elsewhere = tmp_path / "there" / "mine.db"
    address = ("127.0.0.1", own_mosquitto.port)
    with Fleet(broker=address, received=elsewhere) as fleet, fleet.readings() as readings:
        publish_one(own_mosquitto.port)
        assert readings.get(WAIT_S)
    assert gaps.of_node("greenhouse", None, elsewhere).complete
    with pytest.raises(StoreError, match="mine.db"):
        Fleet(broker=address, received=elsewhere / "below")


def test_a_record_that_cannot_be_written_disturbs_nobody(project, own_mosquitto, caplog):
    (project.parent / ".fieldhand").write_text("a file where the folder should be")
    with Fleet(project) as fleet, fleet.readings() as readings:
        publish_one(own_mosquitto.port)
        assert readings.get(WAIT_S)
    assert "not recorded" in caplog.text


def publish_one(port):
    with backend(port) as device:
        document = {"temperatureC": 24.3, "_fh": {"boot": "1-aa", "seq": 1}}
        device.publish("devices/greenhouse/data", document)


def fieldhand(*arguments, cwd):
    """(exit code, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "fieldhand.cli", *arguments],
        cwd=cwd, env=ENV, text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr
