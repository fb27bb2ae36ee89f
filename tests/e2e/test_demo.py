"""What `make demo` shows, held to what it says."""

from fieldhand import demo
from fieldhand.dialects import names


def test_the_demo_does_what_it_tells() -> None:
    told: list[str] = []
    with demo.stage() as on:
        facts = demo.sequence(on, told.append)

    readings = facts["readings"]
    assert {reading.dialect for reading in readings.values()} == set(names())
    assert all(reading.provenance.seq is not None for reading in readings.values())

    water = facts["water"]
    assert water["accepted"] == "accepted"
    assert water["answer"]["ended"] == "done"
    assert water["answer"]["ran_ms"] == demo.WATER_MS
    assert water["answer"]["amount_ml"] == 100  # 4 s at the 25 ml/s of the example fleet
    assert water["after"] > water["before"] + 2

    outage = facts["outage"]
    assert outage["will"].state == "offline"
    assert outage["birth"].values["outages"] == 1
    assert outage["queued"] >= demo.OUTAGE_S / (demo.INTERVAL_MS / 1000) / 2
    assert outage["missing"] == []

    text = "\n".join(told)
    for word in ("greenhouse", "accepted", "done", "Last Will", "queue", "0 missing"):
        assert word in text
