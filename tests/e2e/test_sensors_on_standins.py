"""The drivers on the simulator's hardware, whose devices were written from the same data sheets.

No broker and no node: a main.py of its own reads all sensors over and over.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fieldhand.sim import Node, Simulator, World

MAIN = """
import json, time
from fieldnode.sensors import build as sensors
from fieldnode.hal import Hal
from fieldnode.sensors.base import SensorError

hal = Hal()
wlan = hal.wlan()
wlan.active(True)
wlan.connect("field", "secret99")
while not wlan.isconnected():
    time.sleep_ms(10)
config = json.load(open("node.json"))
found = sensors.build(config["sensors"], hal, time, config["i2c"])
number = 0
while True:
    number += 1
    values, errors, started, longest = {}, {}, [], 0
    for sensor in found:
        try:
            longest = max(longest, sensor.start())
            started.append(sensor)
        except SensorError as error:
            errors[error.sensor] = error.reason
    time.sleep_ms(longest)
    for sensor in started:
        try:
            values.update(dict(sensor.read()))
        except SensorError as error:
            errors[error.sensor] = error.reason
    print("reading %d " % number + json.dumps([values, errors]))
"""

CONFIG: dict[str, Any] = {
    "wifi": {"ssid": "field", "password": "secret99"},
    "i2c": {"scl": 22, "sda": 21},
    "sensors": [
        {"type": "dht11", "pin": 4},
        {
            "type": "analog",
            "quantity": "soil_moisture",
            "pin": 34,
            "raw": [3200, 1300],
            "value": [0, 100],
        },
        {"type": "analog", "quantity": "npk", "pin": 35, "raw": [0, 4095], "value": [0, 1023]},
        {"type": "ds18b20", "quantity": "water_temperature", "pin": 5},
        {"type": "pulse", "quantity": "wind_speed", "pin": 27, "per_pulse": 2.4},
        {"type": "battery", "pin": 33},
        {"type": "rssi"},
        {"type": "ezo", "quantity": "ph"},
        {"type": "ezo", "quantity": "ec", "only": ["ec"]},
        {"type": "ezo", "quantity": "orp"},
        {"type": "bme280", "only": ["pressure"]},
    ],
}
WORLD = {
    "air_temperature": 24.0,
    "relative_humidity": 53.0,
    "soil_moisture": 42.0,
    "npk": 389.0,
    "water_temperature": 25.0625,
    "wind_speed": 24.0,
    "battery_voltage": 4.02,
    "signal_strength": -65.0,
    "ph": 7.2,
    "ec": 1.413,
    "orp": 655.5,
    "pressure": 1006.53,
}
# What a step of the ADC, of the protocol or of the counting window leaves open.
TOLERANCE = {
    "air_temperature": 0,
    "relative_humidity": 0,
    "soil_moisture": 0.1,
    "npk": 0.2,
    "water_temperature": 0.0001,
    "wind_speed": 5.0,
    "battery_voltage": 0.01,
    "signal_strength": 5.0,
    "ph": 0.01,
    "ec": 0.001,
    "orp": 0.1,
    "pressure": 0.05,
}


@pytest.fixture
def node() -> Iterator[Node]:
    with Simulator() as sim:
        # A day of a year: nothing drifts while the test looks.
        world = World(day_s=365 * 86400.0, **WORLD)
        node = sim.add(CONFIG, files={"main.py": MAIN}, world=world)
        node.start()
        yield node


def reading(node: Node, number: int) -> tuple[dict[str, float], dict[str, str]]:
    line = node.wait_console(f"reading {number} ", timeout=20)
    values, errors = json.loads(line.split(" ", 2)[2])
    return values, errors


def test_all_sensors_read_the_world_and_name_their_faults(node: Node) -> None:
    values, errors = reading(node, 1)
    assert errors == {}
    for name, tolerance in TOLERANCE.items():
        assert values[name] == pytest.approx(WORLD[name], abs=tolerance), name
    assert values["battery_level"] == pytest.approx(80, abs=1)  # 4.02 V in Ampow's chart
    assert set(values) == {*TOLERANCE, "battery_level"}

    for key in ("dht", "analog", "ezo", "bme280"):
        node.faults.sensor(key)
    node.faults.sensor("ds18b20", mode="crc")
    reading(node, 2)  # under way while the faults came
    values, errors = reading(node, 3)
    # The npk input is calibrated from rail to rail: 0 V is a reading there, not a broken wire.
    assert set(values) == {"wind_speed", "signal_strength", "npk"}
    assert "open or shorted" in errors.pop("soil_moisture@34")
    assert "open?" in errors.pop("battery@33")
    assert errors == {
        "dht11@4": "timed out",
        "water_temperature@5": "CRC error",
        "ezo-ph@99": "no answer",
        "ezo-ec@100": "no answer",
        "ezo-orp@98": "no answer",
        "bme280@118": "no answer",
    }

    node.faults.clear()
    reading(node, 4)
    values, errors = reading(node, 5)
    assert errors == {} and set(values) == {*TOLERANCE, "battery_level"}
