import fake_bus
from fieldtest import raises

from fieldnode.sensors.base import SensorError
from fieldnode.sensors.build import build


def make(kind, frame):
    clock = fake_bus.Clock()
    device = fake_bus.Dht(kind, bytes(frame))
    hal = fake_bus.Hal(**{kind: {4: device}})
    return build([{"type": kind, "pin": 4}], hal, clock)[0], device, clock


def reading(sensor, clock):
    clock.pass_ms(sensor.start())
    return dict(sensor.read())


def near(value, expected):
    return abs(value - expected) < 0.0001


def test_dht22_data_sheet_example():
    # AM2302 data sheet: 0000 0010 1000 1100 0000 0001 0101 1111 1110 1110, 65.2 % and 35.1 °C.
    sensor, device, clock = make("dht22", (0b00000010, 0b10001100, 0b1, 0b01011111, 0b11101110))
    got = reading(sensor, clock)
    assert near(got["relative_humidity"], 65.2) and near(got["air_temperature"], 35.1)
    # And 1000 0000 0110 0101 is -10.1 °C.
    device.frame = bytes((0b00000010, 0b10001100, 0b10000000, 0b01100101, 0x73))
    assert near(reading(sensor, clock)["air_temperature"], -10.1)


def test_dht11_data_sheet_example():
    # DHT11 data sheet: 0011 0101 0000 0000 0001 1000 0000 0000 0100 1101, 53 % and 24 °C.
    sensor, _, clock = make("dht11", (0b00110101, 0, 0b00011000, 0, 0b01001101))
    assert reading(sensor, clock) == {"relative_humidity": 53, "air_temperature": 24}


def test_waits_between_measurements():
    for kind, rest, frame in (
        ("dht11", 1000, (50, 0, 20, 0, 70)),
        ("dht22", 2000, (2, 0, 1, 0, 3)),
    ):
        sensor, device, clock = make(kind, frame)
        assert sensor.start() == rest + 1, "after power-up"
        clock.pass_ms(rest + 1)
        sensor.read()
        clock.pass_ms(300)
        assert sensor.start() == rest - 299, "send_now right after a reading"
        raises(SensorError, sensor.read)
        assert device.measured == 1
        clock.pass_ms(30000)
        assert sensor.start() == 0
        sensor.read()
        # 6.2 days on, tick differences are negative.
        clock.pass_ms((1 << 29) + 10)
        assert sensor.start() == 0


def test_faults():
    good = (2, 0x8C, 1, 0x5F, 0xEE)
    sensor, device, clock = make("dht22", good)
    for error, reason in ((OSError(116), "timed out"), (OSError(19), "no answer")):
        device.error = error
        assert raises(SensorError, reading, sensor, clock).reason == reason
    device.error = None
    device.frame = bytes((2, 0x8C, 1, 0x5F, 0xEF))
    assert str(raises(SensorError, reading, sensor, clock)) == "dht22@4: checksum error"
    device.frame = bytes(5)
    assert "shorted" in raises(SensorError, reading, sensor, clock).reason
    # A clone that writes -0.1 as 0x0FFF, 409.5 °C.
    device.frame = bytes((2, 0x8C, 0x0F, 0xFF, (2 + 0x8C + 0x0F + 0xFF) & 0xFF))
    assert "is not -40 to 80" in raises(SensorError, reading, sensor, clock).reason
    device.frame = bytes(good)
    assert reading(sensor, clock)
    clock.pass_ms(sensor.start())
    device.error = OSError(116)
    raises(SensorError, sensor.read)
    assert sensor.start() == 2001, "a failed measurement needs its rest as well"
