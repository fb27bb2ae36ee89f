"""What a pin is fit for: each refusal says why, and names a pin that would do."""

import re
import tomllib
from pathlib import Path

import pytest

from fieldhand import boards, fleetfile
from fieldhand.boards import pinrules
from fieldhand.errors import ConfigError

ANALOG = '{{ type = "analog", quantity = "{}", pin = {}, raw = [0, 4095], value = [0, 100] }}'


def node(board: str = "esp32-devkitc", sensors: str = "", actuators: str = "", more: str = ""):
    text = f"""
[node.a]
dialect = "plantnanny"
board = "{board}"
sensors = [{sensors}]
actuators = [{actuators}]
{more}
"""
    return fleetfile.check(tomllib.loads(text), Path("fleet.toml")).nodes["a"]


def refusals(*args: str, **kwargs: str) -> list[str]:
    """What is said of pins; a plantnanny without a dht22 lacks quantities as well."""
    with pytest.raises(ConfigError) as caught:
        node(*args, **kwargs)
    return [p for p in caught.value.problems if "every plantnanny reading" not in p]


def relay(pin: int, name: str = "pump") -> str:
    return f'{{ name = "{name}", max_run_s = 9, pin = {pin} }}'


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        # The four of a board: twice, output on an input, ADC2, strapping under a relay.
        (
            {"sensors": '{ type = "dht22", pin = 4 }', "actuators": relay(4)},
            "sensors[0] pin: GPIO4 is already used by actuators[0] (pump); use GPIO16 instead",
        ),
        (
            {"actuators": relay(34)},
            "actuators[0] pin: GPIO34 of esp32-devkitc is input only: it cannot switch a relay; "
            "use GPIO26 instead",
        ),
        (
            {"sensors": ANALOG.format("soil_moisture", 27)},
            "sensors[0] pin: GPIO27 of esp32-devkitc is on ADC2, which does not work while Wi-Fi "
            "is on; use GPIO34 instead",
        ),
        (
            {"actuators": relay(12)},
            "actuators[0] pin: GPIO12 of esp32-devkitc is a strapping pin, sampled at reset: a "
            "relay on it can keep the chip from starting, or click when it does; use GPIO26 "
            "instead",
        ),
        # The others.
        (
            {"sensors": '{ type = "dht22", pin = 39 }'},
            "sensors[0] pin: GPIO39 of esp32-devkitc is input only: it cannot ask a sensor for "
            "its reading; use GPIO4 instead",
        ),
        (
            {"more": "led = { pin = 36 }"},
            "led pin: GPIO36 of esp32-devkitc is input only: it cannot light an LED; "
            "use GPIO2 instead",
        ),
        (
            {"sensors": ANALOG.format("luminosity", 18)},
            "sensors[0] pin: GPIO18 of esp32-devkitc has no ADC; use GPIO32 instead",
        ),
        (
            {"actuators": relay(6)},
            "actuators[0] pin: GPIO6 drives the flash chip of esp32-devkitc, from which the "
            "program runs; use GPIO26 instead",
        ),
        (
            {"actuators": relay(1)},
            "actuators[0] pin: GPIO1 of esp32-devkitc is the serial console, by which it is "
            "flashed and watched; use GPIO26 instead",
        ),
        (
            {"actuators": relay(24)},
            "actuators[0] pin: esp32-devkitc has no GPIO24 on its headers; use GPIO26 instead",
        ),
        (
            {"board": "esp32-s3-devkitc", "actuators": relay(19)},
            "actuators[0] pin: GPIO19 of esp32-s3-devkitc is a data line of the chip's USB port; "
            "use GPIO18 instead",
        ),
        (
            {"board": "esp32-c3-devkitm", "actuators": relay(18)},
            "actuators[0] pin: GPIO18 of esp32-c3-devkitm is a data line of the chip's USB port; "
            "use GPIO10 instead",
        ),
        (
            {"board": "esp32-c3-devkitm", "sensors": ANALOG.format("npk", 5)},
            "sensors[0] pin: GPIO5 of esp32-c3-devkitm is on ADC2, which does not work while "
            "Wi-Fi is on; use GPIO0 instead",
        ),
        (
            {"board": "esp32-s3-devkitc", "actuators": relay(46)},
            "actuators[0] pin: GPIO46 of esp32-s3-devkitc is a strapping pin, sampled at reset: a "
            "relay on it can keep the chip from starting, or click when it does; use GPIO18 "
            "instead",
        ),
        # Nobody wrote these pins down: the LED's and I2C's are the board's.
        (
            {"sensors": '{ type = "dht22", pin = 2 }'},
            "sensors[0] pin: GPIO2 is already used by led (LED); led = false frees it; "
            "use GPIO4 instead",
        ),
        (
            {"sensors": '{ type = "dht22", pin = 21 }, { type = "ezo", quantity = "ph" }'},
            "sensors[0] pin: GPIO21 is already used by i2c (I2C SDA: ezo ph); use GPIO4 instead",
        ),
    ],
)
def test_a_pin_that_will_not_do(wrong, expected):
    assert refusals(**wrong) == [f"[node.a] {expected}"]


@pytest.mark.parametrize("name", boards.names())
def test_what_is_advised_is_taken(name):
    """Every refused relay pin, replaced as advised, is accepted; and no pin is advised twice."""
    board = boards.load(name)
    for pin in range(49):
        uses = [
            pinrules.Use(f"actuators[{i}]", "pump", "relay", wrong, "relay")
            for i, wrong in enumerate((pin, pin))
        ]
        found = pinrules.check(board, uses)
        advised = [int(re.search(r"use GPIO(\d+)", problem.text)[1]) for problem in found]
        assert len(found) == (1 if pinrules.unfit(board, "relay", pin) is None else 2)
        assert len(set(advised)) == len(advised) and pin not in advised
        better = [
            pinrules.Use(use.where, use.what, use.kind, new, use.purpose)
            for use, new in zip(uses, [pin, *advised][-2:], strict=True)
        ]
        assert pinrules.check(board, better) == [], (pin, advised)


def test_no_pin_left_is_said():
    board = boards.load("esp32-c3-devkitm")
    sensors = [
        {"type": "analog", "quantity": quantity, "pin": pin}
        for quantity, pin in (("ph", 0), ("orp", 1), ("ec", 3), ("tds", 4), ("npk", 5))
    ]
    (problem,) = pinrules.check(board, pinrules.uses(board, sensors, [], None))
    assert problem.text.endswith("no other pin of esp32-c3-devkitm that is fit for it is free")


def test_what_the_header_calls_by_another_name_is_named_so():
    soil, shaking = ANALOG.format("soil_moisture", 34), ANALOG.format("vibration", 34)
    (found,) = refusals(sensors=f"{soil}, {shaking}")
    assert found == (
        "[node.a] sensors[1] pin: GPIO34 is already used by sensors[0] (analog soil_moisture); "
        "use GPIO36 (VP) instead"
    )


def test_1_wire_sensors_share_their_pin_when_each_has_its_rom():
    wire = '{{ type = "ds18b20", quantity = "{}_temperature", pin = 13{} }}'
    roms = [', rom = "28ff641f00000001"', ', rom = "28ff641f00000002"']
    dht = '{ type = "dht22", only = ["air_temperature", "relative_humidity"] }'
    soil = ANALOG.format("soil_moisture", 34)
    light = ANALOG.format("luminosity", 32)
    both = [wire.format(what, rom) for what, rom in zip(("water", "soil"), roms, strict=True)]
    assert len(node(sensors=", ".join([*both, dht, soil, light])).sensors) == 5
    both[1] = wire.format("soil", "")
    (found,) = refusals(sensors=", ".join(both))
    assert "rom: missing: shares its pin" in found


@pytest.mark.parametrize(
    ("board", "timers", "chip"),
    [("esp32-c3-devkitm", 2, "the esp32c3"), ("esp32-devkitc", 4, "the esp32")],
)
def test_more_actuators_than_timers(board, timers, chip):
    pins = {"esp32-c3-devkitm": (10, 4, 7), "esp32-devkitc": (26, 25, 23, 19, 18)}[board]
    valves = [relay(pin, f"valve{pin}") for pin in pins]
    assert refusals(board=board, actuators=", ".join(valves)) == [
        f"[node.a] actuators: {timers + 1} are too many for {board}: a hardware timer ends each "
        f"run, and {chip} has {timers}; share them out between two nodes"
    ]
    dht, soil = '{ type = "dht22", pin = 1 }', ANALOG.format("soil_moisture", 0)
    light = ANALOG.format("luminosity", 3)
    if board == "esp32-devkitc":
        dht, soil, light = (
            '{ type = "dht22" }',
            ANALOG.format("soil_moisture", 34),
            ANALOG.format("luminosity", 32),
        )
    enough = node(board, f"{dht}, {soil}, {light}", ", ".join(valves[:-1]))
    assert len(enough.actuators) == timers


def test_what_wants_care_is_warned_of():
    board = boards.load("esp32-devkitc")
    sensors = [
        {"type": "dht22", "pin": 15},
        {"type": "pulse", "quantity": "flow_rate", "pin": 35},
        {"type": "pulse", "quantity": "wind_speed", "pin": 27},
    ]
    uses = pinrules.uses(board, sensors, [], {"pin": 2})
    assert [(p.key, p.text) for p in pinrules.warnings(board, uses)] == [
        (
            "sensors[0] pin",
            "GPIO15 is sampled at reset; what is wired there may keep the chip from starting",
        ),
        (
            "sensors[1] pin",
            "GPIO35 has no pull-up of its own; wire 10 kOhm from it to 3V3",
        ),
    ]


@pytest.mark.parametrize("name", boards.names())
def test_the_defaults_of_a_board_pass_its_own_rules(name):
    board = boards.load(name)
    quantities = list(board.defaults["analog"])
    sensors = [
        {"type": kind, "pin": pinrules.default(board, kind)} for kind in ("dht22", "battery")
    ]
    sensors.append(
        {
            "type": "ds18b20",
            "quantity": "water_temperature",
            "pin": pinrules.default(board, "ds18b20"),
        }
    )
    sensors += [
        {"type": "analog", "quantity": q, "pin": pinrules.default(board, "analog", q)}
        for q in quantities
    ]
    sensors.append({"type": "ezo", "quantity": "ph"})
    led = {"pin": board.defaults["led"]} if "led" in board.defaults else None
    uses = pinrules.uses(board, sensors, [{"name": "p", "pin": board.defaults["relay"]}], led)
    assert len({use.pin for use in uses}) == len(uses) >= 8
    assert pinrules.check(board, uses) == pinrules.warnings(board, uses) == []


def test_a_relay_board_that_switches_at_0_v_may_be_the_boards_default(tmp_path, monkeypatch):
    from fieldhand import paths

    text = (paths.boards() / "esp32-devkitc.toml").read_text("utf-8")
    text = text.replace("relay_active_low = false", "relay_active_low = true")
    (tmp_path / "esp32-devkitc.toml").write_text(text, "utf-8")
    low = boards.read(tmp_path / "esp32-devkitc.toml")
    monkeypatch.setattr(boards, "load", lambda name: low)
    dht, soil, light = '{ type = "dht22" }', ANALOG.format("soil_moisture", 34), ANALOG
    made = node(
        sensors=f"{dht}, {soil}, {light.format('luminosity', 32)}",
        actuators='{ name = "p", max_run_s = 9 },'
        ' { name = "q", max_run_s = 9, pin = 25, active_low = false }',
    )
    assert [actuator["active_low"] for actuator in made.actuators] == [True, False]


@pytest.mark.parametrize(
    ("board", "volts"),  # those that ESP-IDF's guide and calibration give for 11 dB
    [("esp32-devkitc", None), ("esp32-s3-devkitc", 3.1), ("esp32-c3-devkitm", 2.8)],
)
def test_a_battery_is_measured_by_the_range_of_the_chips_adc(board, volts):
    both = '{ type = "battery", quantity = "battery_voltage" }, { type = "rssi" }'
    text = f'[node.a]\ndialect = "iotnode"\nboard = "{board}"\nsensors = [{both}]'
    made = fleetfile.check(tomllib.loads(text), Path("fleet.toml")).nodes["a"]
    assert made.sensors[0].get("full_scale") == volts
    own = text.replace('"battery_voltage"', '"battery_voltage", full_scale = 3.05')
    made = fleetfile.check(tomllib.loads(own), Path("fleet.toml")).nodes["a"]
    assert made.sensors[0]["full_scale"] == 3.05


def test_a_node_on_each_chip_makes_a_valid_node_json():
    for board, soil, light in (("esp32-s3-devkitc", 4, 6), ("esp32-c3-devkitm", 0, 1)):
        sensors = ", ".join(
            [
                '{ type = "dht22" }',
                ANALOG.format("soil_moisture", soil),
                ANALOG.format("luminosity", light),
            ]
        )
        pin = 47 if board == "esp32-s3-devkitc" else 10
        made = node(board, sensors, relay(pin))
        assert made.led is None
        file = fleetfile.FleetFile(
            Path("fleet.toml"), fleetfile.BrokerConfig(), None, "ntp", {"a": made}
        )
        settings = fleetfile.node_json(file, made, for_check=True)
        assert settings["actuators"][0]["pin"] == pin and "led" not in settings


def test_a_board_without_a_plain_led_asks_for_its_pin():
    (found,) = refusals("esp32-s3-devkitc", more="led = { active_low = true }")
    assert found == "[node.a] led pin: is required: this board has no LED that a node can drive"
