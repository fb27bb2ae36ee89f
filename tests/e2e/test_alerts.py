"""Alerts of the real firmware: out of band while the broker is away and the power fails."""

import time
from datetime import datetime

from e2e.nodes import Backend, example, running
from mosquitto import Mosquitto

TELEMETRY = "devices/org-123/pool/telemetry"
ALERT = "devices/org-123/pool/alert"
STATUS = "devices/org-123/pool/status"
BELOW, BACK = "ph below threshold", "ph back in band"
FLASH_S = 30.0  # after 5 s of the node's time it is on flash


def test_an_alert_of_an_outage_outlives_a_power_cut_and_clears_later(
    own_mosquitto: Mosquitto, heard: Backend
) -> None:
    band = {"ph": {"min": 7.0, "max": 7.8, "hysteresis": 0.1}}
    config = example("pool", own_mosquitto.port, alerts=band, dosing=[])
    with running(own_mosquitto.port, config) as (node,):
        node.world.ph = 7.4
        heard.wait(TELEMETRY, lambda obj: obj["sensors"]["ph"] >= 7.1)
        node.faults.wifi("lost")
        heard.wait(STATUS, lambda obj: obj["status"] == "offline")
        before = int(time.time())
        node.world.ph = 6.5
        node.wait_console(BELOW)
        after = int(time.time()) + 1
        node.wait(lambda: (node.flash / "notices.json").exists(), FLASH_S, "notices on flash")
        node.power_cut()
        since = node.console.mark()
        node.power_on()
        node.wait_console("speaks dese", since=since)
        time.sleep(3)  # some readings, below as before
        node.faults.wifi("ok")
        alert = heard.wait(ALERT)
        assert (alert["message"], alert["severity"]) == (BELOW, "warning")
        assert alert["value"] < 7.0 and alert["threshold"] == 7.0
        told = datetime.fromisoformat(alert["timestamp"]).timestamp()
        # The node counts whole seconds from whole seconds of its time server.
        assert before - 2 <= told <= after + 1, (before, told, after)
        boot = heard.wait(TELEMETRY, since=heard.mark())["_fh"]["boot"]
        assert alert["_fh"]["boot"] != boot, "told by the boot that saw it"
        node.world.ph = 7.4
        back = heard.wait(ALERT, lambda obj: obj["message"] == BACK)
        assert back["severity"] == "info" and back["_fh"]["boot"] == boot
        assert [obj["message"] for obj in heard.all(ALERT)] == [BELOW, BACK]


def test_the_host_reads_what_a_pool_measures_without_its_ph_probe(
    own_mosquitto: Mosquitto,
) -> None:
    from fieldhand import Fleet

    config = example("pool", own_mosquitto.port, dosing=[])
    with (
        Fleet(broker=("127.0.0.1", own_mosquitto.port)) as fleet,
        fleet.readings("pool", timeout=30) as readings,
        running(own_mosquitto.port, config) as (node,),
    ):
        whole = next(reading for reading in readings if "ph" in reading.quantities)
        node.faults.sensor("ph")
        partial = next(reading for reading in readings if "ph" not in reading.quantities)
        assert {"chlorine", "water_temperature"} <= set(partial.quantities)
        assert partial.provenance.boot == whole.provenance.boot
        assert partial.provenance.seq is not None and whole.provenance.seq is not None
        assert partial.provenance.seq > whole.provenance.seq and partial.time is not None
        node.faults.sensor("ph", fail=False)
        again = next(reading for reading in readings if "ph" in reading.quantities)
        numbers = again.provenance.seq
        assert numbers is not None and numbers > partial.provenance.seq
