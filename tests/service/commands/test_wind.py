"""The wind that keeps a farm from fertilizing."""

import time
from pathlib import Path
from typing import Any

import pytest
from mosquitto import Mosquitto
from service.commands.desk import FARM, SOON_S, WAIT_S, Desk

from fieldhand.service import moments
from fieldhand.service.store import readings, schema
from fieldproto.timestamps import format_utc


def blow(desk: Desk, wind: float | None, age_s: float = 0.0, ahead_s: float = 0.0) -> None:
    """A reading of the farm."""
    at = time.time() - age_s
    told = int(at + ahead_s) if ahead_s else None
    quantities = {"soil_moisture": 53.1} | ({} if wind is None else {"wind_speed": wind})
    row = {
        "node_id": desk.node(FARM).id,
        "boot": "b",
        "seq": time.monotonic_ns(),
        "at": moments.moment(told, at),
        "time": told,
        "received": at,
        "quality": None,
        "quantities": quantities,
        "attributes": None,
    }
    with desk.service.database.writing() as connection:
        readings.insert(connection, desk.service.database, schema.reading, [row])


def control(desk: Desk, action: str, value: bool = True) -> Any:
    body = {"farm_id": "farm_001", "action": action, "value": value, "mode": "manual"}
    return desk.http.post("/iot/control", json=body)


def test_the_wind_blocks_fertilization(desk: Desk) -> None:
    """The document: "if wind_speed > 20: raise HTTPException(status_code=403)"."""
    blow(desk, 20.6)
    blow(desk, None)  # the field is optional: the last that has it counts
    answer = control(desk, "fertilization")
    assert answer.status_code == 403
    assert answer.json()["detail"].endswith("is blocked: wind 20.6 km/h is above 20 km/h")
    # By no other way either.
    body = {"action": "fertilization", "params": {"state": 1}}
    assert desk.http.post("/nodes/farm_001/commands", json=body).status_code == 403
    refused = desk.http.get("/nodes/farm_001/commands?state=refused").json()["commands"]
    assert len(refused) == 2 and refused[0]["error"] == "wind 20.6 km/h is above 20 km/h"
    assert desk.device.got == []
    # Off, and water, are always allowed.
    assert control(desk, "fertilization", False).status_code == 201
    assert control(desk, "irrigation").status_code == 201
    blow(desk, 20.0)
    answer = control(desk, "fertilization")
    assert answer.status_code == 201
    sent = [payload for _, payload in desk.device.wait(3)]
    assert [(p["type"], p["device"], p["state"]) for p in sent] == [
        ("ACTUATE", "fertilization", 0),
        ("ACTUATE", "irrigation", 1),
        ("ACTUATE", "fertilization", 1),
    ]


def test_a_wind_nobody_knows_blocks(desk: Desk) -> None:
    answer = control(desk, "fertilization")
    assert answer.status_code == 403 and "the wind is not known" in answer.text
    blow(desk, 3.0, age_s=1000)
    answer = control(desk, "fertilization")
    assert answer.status_code == 403 and "last measured 1000 s ago" in answer.text
    assert desk.device.got == []


def test_a_farm_without_an_anemometer(mosquitto: Mosquitto, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/service.db"
    with Desk(url, mosquitto.port, wind_unknown_blocks=False) as desk:
        assert control(desk, "fertilization").status_code == 201
        blow(desk, 25.0)
        assert control(desk, "fertilization").status_code == 403


@pytest.mark.parametrize("ahead_s", [30, 600, 80 * 365 * 86400])
def test_a_clock_that_is_ahead_hides_no_wind(desk: Desk, ahead_s: float) -> None:
    blow(desk, 3.0, ahead_s=ahead_s)
    blow(desk, 40.0)
    answer = control(desk, "fertilization")
    assert answer.status_code == 403 and "wind 40 km/h" in answer.text
    assert desk.device.got == []


def test_the_wind_of_a_far_ahead_clock_alone_is_not_known(desk: Desk) -> None:
    blow(desk, 3.0, ahead_s=86400)
    answer = control(desk, "fertilization")
    assert answer.status_code == 403 and "the wind is not known" in answer.text


def test_a_reading_that_is_not_stored_blocks_too(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """README's own setting: a farm stores a reading every 30 s."""
    url = f"sqlite:///{tmp_path}/service.db"
    with Desk(url, mosquitto.port, store_every={"farm": 30}) as desk:
        for wind in (3.0, 40.0):
            values = {"moisture": 53.1, "temp": 26.1, "humidity": 41.9, "npk": 389}
            at = format_utc(int(time.time()))
            told = {"farm_id": "farm_001", "timestamp": at, **values, "wind_speed": wind}
            desk.device.say("farm/telemetry", told)
        deadline = time.monotonic() + WAIT_S
        while (last := desk.service.winds.of(desk.node(FARM))) is None or last[1] != 40.0:
            assert time.monotonic() < deadline, last
            time.sleep(0.02)
        answer = control(desk, "fertilization")
        assert answer.status_code == 403 and "wind 40 km/h" in answer.text
        path = f"/nodes/{desk.node(FARM).public_id}/readings"
        assert len(desk.http.get(path).json()["readings"]) == 1


def test_no_attempt_in_a_wind_that_has_risen(desk: Desk) -> None:
    blow(desk, 5.0)
    body = {"action": "fertilization", "params": {"state": 1}, "timeout": SOON_S, "retries": 3}
    command = desk.http.post("/nodes/farm_001/commands", json=body).json()
    blow(desk, 30.0)
    found = desk.until(command, "failed")
    assert found["error"] == "not sent again: wind 30 km/h is above 20 km/h"
    assert len(desk.device.got) == 1
