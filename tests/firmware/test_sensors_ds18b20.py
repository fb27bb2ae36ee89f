import fake_bus
from fieldtest import raises

from fieldnode.sensors.base import SensorError
from fieldnode.sensors.build import build
from fieldnode.sensors.ds18b20 import celsius16

ROM = "28ff641e8316d3a5"
OTHER = "28ff641e8316d3b6"
CONFIG = {"type": "ds18b20", "quantity": "water_temperature", "pin": 5}


def make(registers, *configs):
    clock = fake_bus.Clock()
    bus = fake_bus.Ds18x20(clock, registers)
    found = build(list(configs or (CONFIG,)), fake_bus.Hal(ds18x20={5: bus}), clock)
    return found, bus, clock


def reading(sensor, clock):
    clock.pass_ms(sensor.start())
    return sensor.read()


# DS18B20 data sheet, table 1.
TABLE = (
    (125, 0x07D0),
    (25.0625, 0x0191),
    (10.125, 0x00A2),
    (0.5, 0x0008),
    (0, 0x0000),
    (-0.5, 0xFFF8),
    (-10.125, 0xFF5E),
    (-25.0625, 0xFE6F),
    (-55, 0xFC90),
)


def test_data_sheet_table():
    for celsius, register in TABLE:
        scratch = bytes((register & 0xFF, register >> 8, 0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10, 0))
        assert celsius16(scratch) == celsius * 16, celsius


def test_reading():
    config = dict(CONFIG, quantity="soil_temperature")
    for celsius, register in TABLE[1:]:
        (sensor,), _, clock = make({ROM: (register, 0x7F)}, config)
        got = reading(sensor, clock)
        assert got == [("soil_temperature", celsius)], got


def test_undefined_bits_of_low_resolutions():
    # 9 bits: 25.5 °C is 0x198, the last three bits are undefined.
    for config, expected in ((0x1F, 25.5), (0x3F, 25.75), (0x5F, 25.875), (0x7F, 25.9375)):
        scratch = bytes((0x9F, 0x01, 0x4B, 0x46, config, 0xFF, 0x0C, 0x10, 0))
        assert celsius16(scratch) / 16 == expected


def test_conversion_takes_its_time_without_blocking():
    (sensor,), bus, clock = make({ROM: (0x0191, 0x7F)})
    assert sensor.start() == 751
    clock.pass_ms(750)
    raises(SensorError, sensor.read)
    clock.pass_ms(1)
    assert sensor.read() == [("water_temperature", 25.0625)]
    assert bus.conversions == 1


def test_the_power_on_value_is_refused():
    (sensor,), _, clock = make({ROM: (0x0550, 0x7F)})
    assert "85.0 is the power-on value" in raises(SensorError, reading, sensor, clock).reason


def test_several_share_a_bus_and_a_conversion():
    configs = (
        dict(CONFIG, rom=ROM),
        dict(CONFIG, rom=OTHER.upper(), quantity="soil_temperature"),
    )
    found, bus, clock = make({ROM: (0x0191, 0x7F), OTHER: (0xFF5E, 0x7F)}, *configs)
    water, soil = found
    assert water.start() == 751
    clock.pass_ms(50)
    assert soil.start() == 701
    clock.pass_ms(701)
    assert water.read() == [("water_temperature", 25.0625)]
    assert soil.read() == [("soil_temperature", -10.125)]
    assert (bus.conversions, bus.scans) == (1, 0)


def test_several_without_a_rom_are_listed():
    (sensor,), _, _ = make({ROM: (0x0191, 0x7F), OTHER: (0xFF5E, 0x7F)})
    reason = raises(SensorError, sensor.start).reason
    assert ROM in reason and OTHER in reason


def test_a_ds18s20_is_not_taken_for_one():
    (sensor,), _, _ = make({"10ff641e8316d3a5": (0x0032, 0xFF)})
    assert raises(SensorError, sensor.start).reason == "no answer"


def test_missing_noisy_and_shorted():
    (sensor,), bus, clock = make({})
    assert raises(SensorError, sensor.start).reason == "no answer"
    bus.registers = bus.visible = {ROM: (0x0191, 0x7F)}
    clock.pass_ms(sensor.start())
    bus.noise = True
    assert str(raises(SensorError, sensor.read)) == "water_temperature@5: CRC error"
    bus.noise = False
    clock.pass_ms(sensor.start())
    bus.short = True
    assert "shorted" in raises(SensorError, sensor.read).reason, "not 0.0 degrees"
    bus.short = False
    assert reading(sensor, clock) == [("water_temperature", 25.0625)]


def test_unplugged_while_converting():
    (sensor,), bus, clock = make({ROM: (0x0191, 0x7F)}, dict(CONFIG, rom=ROM))
    clock.pass_ms(sensor.start())
    bus.registers = {}
    assert "OneWireError" in raises(SensorError, sensor.read).reason


def test_a_replaced_sensor_is_found_again():
    (sensor,), bus, clock = make({ROM: (0x0191, 0x7F)})
    reading(sensor, clock)
    reading(sensor, clock)
    assert bus.scans == 1, "not searched for every time"
    bus.registers = bus.visible = {OTHER: (0x00A2, 0x7F)}
    raises(SensorError, reading, sensor, clock)
    assert reading(sensor, clock) == [("water_temperature", 10.125)]
