import sys

import fake_bus
from fieldtest import raises

from fieldnode.sensors.build import build
from fieldproto.sensortypes import SensorConfigError

CLOCK = fake_bus.Clock()


def refused(*configs, hal=None, i2c=None):
    problem = raises(SensorConfigError, build, list(configs), hal or fake_bus.Hal(), CLOCK, i2c)
    assert isinstance(problem, ValueError)
    assert str(problem) == problem.path + ": " + problem.reason
    return str(problem)


def test_only_the_named_drivers_are_imported():
    hal = fake_bus.Hal(adc={34: fake_bus.Adc(2000)}, dht22={4: fake_bus.Dht("dht22", b"")})
    found = build(
        [
            {"type": "dht22", "pin": 4},
            {
                "type": "analog",
                "quantity": "soil_moisture",
                "pin": 34,
                "raw": [3200, 1300],
                "value": [0, 100],
            },
        ],
        hal,
        CLOCK,
    )
    assert [s.name for s in found] == ["dht22@4", "soil_moisture@34"]
    assert [s.quantities for s in found] == [
        ("air_temperature", "relative_humidity"),
        ("soil_moisture",),
    ]
    loaded = sorted([m for m in sys.modules if m.startswith("fieldnode.sensors.")])
    wanted = ("analog", "base", "build", "dht")
    assert loaded == ["fieldnode.sensors." + m for m in wanted], loaded


def test_no_sensors_is_no_error():
    assert build([], fake_bus.Hal(), CLOCK) == []


def test_what_is_wrong_is_named_with_its_place():
    dht = {"type": "dht22", "pin": 4}
    rssi = {"type": "rssi"}
    analog = {"type": "analog", "quantity": "npk", "pin": 35, "raw": [0, 4095], "value": [0, 1023]}
    pulse = {"type": "pulse", "quantity": "flow_rate", "pin": 27}

    def but(config, **changes):
        return dict(list(config.items()) + list(changes.items()))

    cases = (
        ([rssi, {"type": "dht33"}], "sensors[1].type: 'dht33' is not one of analog, "),
        ([{"pin": 4}], "sensors[0].type: None is not one of"),
        ([{"type": []}], "sensors[0].type: [] is not one of"),
        (["dht22"], "sensors[0]: is not a table"),
        ([{"type": "dht22"}], "sensors[0].pin: missing"),
        ([rssi, dht, but(dht, pin=99)], "sensors[2].pin: 99 is not 0 to 48"),
        ([but(dht, pin="4")], "sensors[0].pin: '4' is not a whole number"),
        ([but(dht, pin=True)], "sensors[0].pin: True is not a whole number"),
        ([but(dht, pin=4.0)], "sensors[0].pin: 4.0 is not a whole number"),
        ([but(dht, pni=4)], "sensors[0].pni: dht22 has pin"),
        ([but(analog, raw=[0])], "sensors[0].raw: [0] is not two numbers"),
        ([but(analog, raw=[7, 7])], "sensors[0].raw: the two are both 7"),
        ([but(analog, raw=[0, 4096])], "sensors[0].raw[1]: 4096 is not 0 to 4095"),
        ([but(analog, value=[0, float("nan")])], "sensors[0].value[1]: nan is not"),
        ([but(analog, quantity="light")], "sensors[0].quantity: 'light' is not one of"),
        ([but(analog, clamp=1)], "sensors[0].clamp: 1 is not true or false"),
        ([pulse], "sensors[0]: give one of per_pulse, pulses_per_litre"),
        ([but(pulse, per_pulse=1, pulses_per_litre=450)], "sensors[0]: give one of"),
        ([but(pulse, pulses_per_litre=450, window="hz")], "sensors[0]: window and pulses_per_l"),
        ([but(pulse, per_pulse=0)], "sensors[0].per_pulse: 0 is not"),
        ([but(dht, only=[])], "sensors[0].only: is not a list"),
        ([but(dht, only=["ph"])], "sensors[0].only: 'ph' is not one of air_temperature"),
        ([but(dht, calibration={"ph": {}})], "sensors[0].calibration: 'ph' is not one of"),
        (
            [but(rssi, calibration={"signal_strength": {"offest": 1}})],
            "sensors[0].calibration.signal_strength.offest: calibration has offset, scale",
        ),
        (
            [but(rssi, calibration={"signal_strength": {"scale": 0}})],
            "sensors[0].calibration.signal_strength.scale: 0 would",
        ),
        ([dht, but(analog, pin=4)], "sensors[1].pin: 4 is in use by sensors[0]"),
        ([dht, {"type": "bme280"}], "sensors[1]: air_temperature comes from sensors[0]"),
        ([rssi, dict(rssi)], "sensors[1]: signal_strength comes from sensors[0]"),
        (
            [{"type": "ezo", "quantity": "ph", "address": 100}, {"type": "ezo", "quantity": "ec"}],
            "sensors[1].address: 100 is in use by sensors[0]",
        ),
        (
            [{"type": "ds18b20", "quantity": "water_temperature", "pin": 5, "rom": "28ff"}],
            "sensors[0].rom: '28ff' is not 16 hex digits",
        ),
        (
            [
                {"type": "ds18b20", "quantity": "water_temperature", "pin": 5},
                {"type": "ds18b20", "quantity": "soil_temperature", "pin": 5},
            ],
            "sensors[1].rom: missing",
        ),
    )
    for configs, start in cases:
        text = refused(*configs)
        assert text.startswith(start), (text, start)


def test_a_pin_the_chip_refuses_is_a_config_error():
    hal = fake_bus.Hal(dht22={4: None})
    assert refused({"type": "dht22", "pin": 36}, hal=hal) == "sensors[0]: invalid pin"


def test_a_ds18s20_rom_is_refused():
    hal = fake_bus.Hal(ds18x20={5: None})
    config = {
        "type": "ds18b20",
        "quantity": "water_temperature",
        "pin": 5,
        "rom": "1000000000000000",
    }
    assert refused(config, hal=hal).startswith("sensors[0]: rom starts with 10")


def test_i2c_pins_are_needed_only_by_i2c_sensors():
    assert refused({"type": "bme280"}).startswith("i2c: missing")
    hal = fake_bus.Hal(i2c=fake_bus.I2C())
    found = build(
        [{"type": "bme280"}, {"type": "ezo", "quantity": "ph"}],
        hal,
        CLOCK,
        {"scl": 22, "sda": 21},
    )
    assert [s.name for s in found] == ["bme280@118", "ezo-ph@99"]
    assert hal.asked == [("i2c", (22, 21))], "one bus for all"


def test_only_lets_two_devices_share_a_quantity():
    hal = fake_bus.Hal(dht22={4: fake_bus.Dht("dht22", b"")}, i2c=fake_bus.I2C())
    found = build(
        [{"type": "dht22", "pin": 4}, {"type": "bme280", "only": ["pressure"]}],
        hal,
        CLOCK,
        {"scl": 22, "sda": 21},
    )
    assert found[1].quantities == ("pressure",)


def test_rssi():
    wlan = fake_bus.Wlan(-65)
    sensor = build([{"type": "rssi"}], fake_bus.Hal(wlan=wlan), CLOCK)[0]
    from fieldnode.sensors.base import SensorError

    assert sensor.start() == 0
    assert sensor.read() == [("signal_strength", -65)]
    wlan.connected = False
    sensor.start()
    assert str(raises(SensorError, sensor.read)) == "rssi: Wi-Fi is not connected"
    wlan.connected, wlan.rssi = True, 0
    sensor.start()
    assert "0 dBm is not" in raises(SensorError, sensor.read).reason


def test_all_drivers_together_leave_room():
    import gc

    gc.collect()
    before = gc.mem_alloc()
    for name in ("dht", "analog", "ds18b20", "pulse", "battery", "rssi", "ezo", "bme280"):
        __import__("fieldnode.sensors." + name)
    gc.collect()
    # Objects are twice as large here as on the ESP32.
    assert gc.mem_alloc() - before < 40000, gc.mem_alloc() - before
