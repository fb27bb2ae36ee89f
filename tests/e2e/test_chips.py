"""A whole node on an ESP32-S3 and on a C3, on pins that the ESP32 does not have or that differ."""

import tomllib
from pathlib import Path

import pytest
from e2e.nodes import Backend, running
from mosquitto import Mosquitto

from fieldhand import boards, fleetfile

FLEET = """
[wifi]
ssid = "field"

[node.greenhouse]
dialect = "plantnanny"
board = "{board}"
interval = 1
status_interval = 5
sensors = [
    {{ type = "dht22" }},
    {{ type = "analog", quantity = "soil_moisture", raw = [3200, 1300], value = [0, 100] }},
    {{ type = "analog", quantity = "luminosity", raw = [0, 4095], value = [0, 100] }},
    {{ type = "pulse", quantity = "flow_rate", pin = {meter}, pulses_per_litre = 450 }},
]
actuators = [{{ name = "pump", pin = {pump}, max_run_s = 60, flow_meter = {meter} }}]
"""


@pytest.mark.parametrize(
    ("board", "pump", "meter"), [("esp32-s3-devkitc", 47, 41), ("esp32-c3-devkitm", 10, 3)]
)
def test_a_node_measures_and_waters_on_its_own_chips_pins(
    own_mosquitto: Mosquitto, heard: Backend, board: str, pump: int, meter: int
) -> None:
    text = FLEET.format(board=board, pump=pump, meter=meter)
    file = fleetfile.check(tomllib.loads(text), Path("fleet.toml"))
    port = own_mosquitto.port
    config = fleetfile.node_json(file, file.nodes["greenhouse"], broker=("127.0.0.1", port))
    with running(port, config, chip=boards.load(board).chip, heap="300k") as (node,):
        reading = heard.wait("devices/greenhouse/data")
        assert reading["temperatureC"] > 0 and "luminosityPct" in reading
        since = heard.mark()
        heard.publish("devices/greenhouse/command", {"action": "pump_water", "durationMs": 1500})
        status = heard.wait(
            "devices/greenhouse/status",
            lambda obj: obj["_fh"].get("event", {}).get("event") == "run",
            since,
        )
        run = status["_fh"]["event"]
        assert node.pins[pump] == 0
        assert run["reason"] == "done" and run["amount_ml"] > 0, "no pulse was counted"
