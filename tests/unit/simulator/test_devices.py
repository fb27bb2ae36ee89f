"""The simulated sensors against their data sheets."""

import struct

import pytest

from fieldhand.sim import AnalogInput, World, derive
from fieldhand.sim.devices import Bme280, Dht, Ds18b20, Ezo, OneWireBus, crc8_closed
from fieldhand.sim.protocol import ChipError
from fieldhand.sim.wiring import effect_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def read(value):
    return lambda _quantity: value


def test_dht22_encodes_negative_temperatures_and_its_checksum(clock):
    values = {"air_temperature": -10.1, "relative_humidity": 65.2}
    data = Dht(22, values.__getitem__, clock).measure(22)
    # The data sheet's examples: 65.2 % is 0x028c, -10.1 degrees 0x8065.
    assert data == bytes([0x02, 0x8C, 0x80, 0x65, (0x02 + 0x8C + 0x80 + 0x65) & 0xFF])


def test_dht_repeats_itself_within_its_rest(clock):
    values = {"air_temperature": 20.0, "relative_humidity": 50.0}
    sensor = Dht(11, values.__getitem__, clock)
    assert sensor.measure(11)[2] == 20
    values["air_temperature"] = 25.0
    clock.now = 0.9
    assert sensor.measure(11)[2] == 20
    clock.now = 1.0
    assert sensor.measure(11)[2] == 25


def test_dht_faults(clock):
    sensor = Dht(22, read(20.0), clock)
    sensor.failed = "crc"
    data = sensor.measure(22)
    assert sum(data[:4]) & 0xFF != data[4]
    sensor.failed = "dead"
    with pytest.raises(ChipError) as caught:
        sensor.measure(22)
    assert caught.value.value == 116


def test_crc8_is_that_of_maxims_application_note_27():
    assert crc8_closed(bytes.fromhex("02 1c b8 01 00 00 00".replace(" ", "")))[-1] == 0xA2


def test_ds18b20_reads_85_until_it_has_converted(clock):
    bus = OneWireBus()
    bus.devices = [Ds18b20(7, "water_temperature", read(-10.125), clock)]
    rom = bus.scan()
    assert len(rom) == 8 and rom[0] == 0x28

    def scratchpad():
        assert bus.reset()
        bus.write(b"\x55" + rom)
        bus.write(b"\xbe")
        return bus.read(9)

    assert struct.unpack("<h", scratchpad()[:2])[0] == 85 * 16
    assert bus.reset()
    bus.write(b"\xcc\x44")
    clock.now = 0.74
    assert struct.unpack("<h", scratchpad()[:2])[0] == 85 * 16
    clock.now = 0.75
    pad = scratchpad()
    assert pad[:2] == b"\x5e\xff"  # data sheet, table 1: -10.125
    assert crc8_closed(pad[:8]) == pad
    bus.devices[0].failed = "crc"
    damaged = scratchpad()
    assert crc8_closed(damaged[:8]) != damaged
    bus.devices[0].failed = "dead"
    assert not bus.reset() and bus.scan() == b""


def test_only_the_addressed_thermometer_answers(clock):
    bus = OneWireBus()
    bus.devices = [Ds18b20(n, "soil_temperature", read(20.0 + n), clock) for n in (1, 2)]
    bus.reset()
    bus.write(b"\xcc\x44")
    clock.now = 1
    for n, device in enumerate(bus.devices, 1):
        bus.reset()
        bus.write(b"\x55" + device.rom + b"\xbe")
        assert struct.unpack("<h", bus.read(2))[0] == (20 + n) * 16
    bus.reset()
    bus.write(b"\x55" + bytes(8) + b"\xbe")
    assert bus.read(3) == b"\xff\xff\xff"


def test_ezo_answers_after_its_delay(clock):
    probe = Ezo("ph", read(7.265), clock)
    assert probe.read(4) == b"\xff\0\0\0"
    probe.write(b"R")
    clock.now = 0.89
    assert probe.read(4) == b"\xfe\0\0\0"
    clock.now = 0.9
    assert probe.read(10) == b"\x017.265\0\0\0\0"
    assert probe.read(4)[0] == 255


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("I", "?I,pH,2.13"),
        ("Status", "?STATUS,P,3.30"),
        ("Cal,?", "?CAL,0"),
        ("T,?", "?T,25.0"),
        ("T,19.5", ""),
        ("RT,19.5", "7.000"),
        ("r", "7.000"),
    ],
)
def test_ezo_commands(clock, command, answer):
    probe = Ezo("ph", read(7.0), clock)
    probe.write(command.encode())
    clock.now = 1
    assert probe.read(30) == b"\x01" + answer.encode() + bytes(29 - len(answer))


@pytest.mark.parametrize("command", ["X", "Cal,mid", "Cal,mid,seven", "Cal,7", "T,warm", "R,1"])
def test_ezo_refuses_what_it_does_not_know(clock, command):
    probe = Ezo("ph", read(7.0), clock)
    probe.write(command.encode())
    clock.now = 1
    assert probe.read(3) == b"\x02\0\0"


def test_ezo_calibration_corrects_the_probe(clock):
    probe = Ezo("ph", read(7.0), clock, error=0.31)
    assert probe.value() == pytest.approx(7.31)
    for command, points in (("Cal,mid,7.00", 1), ("Cal,low,7.00", 2)):
        probe.write(command.encode())
        clock.now += 1
        assert probe.read(1) == b"\x01"
        probe.write(b"Cal,?")
        clock.now += 1
        assert probe.read(7) == b"\x01?CAL,%d" % points
    assert probe.value() == pytest.approx(7.0)
    probe.power_on()
    assert probe.value() == pytest.approx(7.0)
    probe.write(b"Cal,clear")
    assert probe.value() == pytest.approx(7.31)


def test_ezo_ec_is_in_microsiemens(clock):
    probe = Ezo("ec", read(1.413), clock)
    probe.write(b"R")
    clock.now = 0.6
    assert probe.read(8) == b"\x011413.00"


def test_a_busy_ezo_does_not_hear(clock):
    probe = Ezo("orp", read(650.0), clock)
    probe.write(b"R")
    probe.write(b"I")
    clock.now = 1
    assert probe.read(6) == b"\x01650.0"


@pytest.mark.parametrize(
    ("celsius", "percent", "hectopascal"),
    [(25.0, 45.0, 1013.25), (-12.3, 88.0, 955.0), (41.9, 8.5, 1040.0)],
)
def test_bme280_registers_give_the_weather_back(clock, celsius, percent, hectopascal):
    weather = {
        "air_temperature": celsius,
        "relative_humidity": percent,
        "pressure": hectopascal,
    }
    chip = Bme280(weather.__getitem__, clock)
    chip.write(b"\xd0")
    assert chip.read(1) == b"\x60"
    chip.write(b"\xf2\x01")
    chip.write(b"\xf4\x25")
    chip.write(b"\xf3")
    assert chip.read(1) == b"\x08"
    clock.now = 0.01
    chip.write(b"\xf7")
    data = chip.read(8)
    raw_p = data[0] << 12 | data[1] << 4 | data[2] >> 4
    raw_t = data[3] << 12 | data[4] << 4 | data[5] >> 4
    raw_h = data[6] << 8 | data[7]
    chip.write(b"\x88")
    block = chip.read(26)
    assert _celsius(block, raw_t)[0] == pytest.approx(celsius, abs=0.02)
    fine = _celsius(block, raw_t)[1]
    assert chip.pascal(raw_p, fine) / 100 == pytest.approx(hectopascal, abs=0.05)
    assert chip.percent(raw_h, fine) == pytest.approx(percent, abs=0.1)
    chip.write(b"\xf4")
    assert chip.read(1) == b"\x24"  # forced mode is over


def _celsius(block, raw):
    """The data sheet's 32-bit formula, section 4.2.3, from the registers."""
    t1, t2, t3 = struct.unpack_from("<Hhh", block)
    var1 = (((raw >> 3) - (t1 << 1)) * t2) >> 11
    var2 = (((((raw >> 4) - t1) * ((raw >> 4) - t1)) >> 12) * t3) >> 14
    return ((var1 + var2) * 5 + 128 >> 8) / 100, var1 + var2


def test_bme280_has_nothing_before_it_measured(clock):
    chip = Bme280(read(20.0), clock)
    chip.write(b"\xf7")
    assert chip.read(8) == b"\x80\0\0\x80\0\0\x80\0"
    # Humidity is off until CTRL_MEAS is written after CTRL_HUM.
    chip.write(b"\xf4\x25")
    clock.now = 1
    chip.write(b"\xfd")
    assert chip.read(2) == b"\x80\0"


def test_analog_inverts_the_calibration_and_clips():
    soil = AnalogInput("soil_moisture", (3200, 1300), (0, 100))
    assert [soil.counts(v) for v in (0, 50, 100)] == [3200, 2250, 1300]
    assert soil.counts(-100) == 4095 and soil.counts(300) == 0
    soil.failed = "dead"
    assert soil.counts(50) == 0


def test_the_wiring_follows_node_json(clock):
    config = {
        "node": "n",
        "dialect": "plantnanny",
        "i2c": {"scl": 22, "sda": 21},
        "sensors": [
            {"type": "dht11", "pin": 4},
            {"type": "analog", "quantity": "npk", "pin": 35, "raw": [0, 4095], "value": [0, 1023]},
            {"type": "battery", "pin": 33, "divider": 2, "full_scale": 3.3},
            {"type": "ds18b20", "quantity": "water_temperature", "pin": 5},
            {"type": "ds18b20", "quantity": "soil_temperature", "pin": 5},
            {"type": "pulse", "quantity": "wind_speed", "pin": 27, "per_pulse": 2.4},
            {"type": "pulse", "quantity": "flow_rate", "pin": 25, "pulses_per_litre": 450},
            {"type": "ezo", "quantity": "ph"},
            {"type": "bme280"},
            {"type": "rssi"},
        ],
        "actuators": [
            {"name": "pump", "pin": 26, "max_run_s": 5, "active_low": True, "flow_meter": 25}
        ],
    }
    world = World()
    wiring = derive(config, lambda quantity: world.read(quantity), clock)
    assert wiring.dht[4].kind == 11
    assert wiring.analog[33].counts(3.7) == round(3.7 / 6.6 * 4095)
    assert len({device.rom for device in wiring.onewire[5].devices}) == 2
    assert wiring.pulses[27].per_unit == pytest.approx(1 / 2.4)
    assert wiring.pulses[25].per_unit == pytest.approx(7.5)  # 450 pulses/L at 1 L/min
    assert wiring.pulses[25].line == (26,) and wiring.pulses[27].line == ()
    assert sorted(wiring.i2c) == [99, 118]
    assert wiring.outputs[26].effect == "water" and wiring.outputs[26].active_low
    assert len(wiring.find("ds18b20")) == 2
    assert wiring.find(99) == wiring.find("ph") == [wiring.i2c[99]]
    assert wiring.find("nothing") == []


@pytest.mark.parametrize(
    ("name", "dialect", "effect"),
    [
        ("pump", "plantnanny", "water"),
        ("irrigation", "farm", "water"),
        ("fertilization", "farm", "fertilizer"),
        ("cleaner", "solar", "cleaner"),
        ("filter pump", "dese", "circulation"),
        ("pump", "dese", "circulation"),
        ("chlorine_pump", "dese", "chlorine"),
        ("ph_pump", "dese", "ph_down"),
        ("lamp", "iotnode", "none"),
    ],
)
def test_what_an_actuator_does_is_in_its_name(name, dialect, effect):
    assert effect_of(name, dialect) == effect


def test_wiring_leaves_out_what_makes_no_sense(clock):
    config = {
        "i2c": {},
        "sensors": [
            "dht22",
            {"type": "dht22x", "pin": 4},
            {"pin": 4},
            {"type": "analog", "quantity": "npk", "pin": 35, "raw": [0], "value": [0, 1]},
            {"type": "pulse", "quantity": "wind_speed", "pin": 27},
            {"type": "dht22", "pin": 4},
        ],
        "actuators": [{"name": "pump"}, {"name": "pump", "pin": 99}, {"name": "pump", "pin": 5}],
    }
    wiring = derive(config, read(1.0), clock)
    assert (list(wiring.dht), list(wiring.outputs)) == ([4], [5])
    assert not wiring.analog and not wiring.pulses
    assert derive({"sensors": None, "actuators": 3, "i2c": []}, read(1.0), clock).all() == []
