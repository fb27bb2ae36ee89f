import struct

import fake_bus
from fieldtest import raises

from fieldnode.sensors.base import SensorError
from fieldnode.sensors.bme280 import Calibration
from fieldnode.sensors.build import build

PINS = {"scl": 22, "sda": 21}

# A chip whose registers, parameters and results are published with the Rust driver
# github.com/claudiomattera/bme280-rs (src/calibration.rs and src/bme280.rs, its tests).
CHIP_TP = bytes((
    0xB1, 0x6F, 0x2E, 0x6A, 0x32, 0x00, 0xE2, 0x8F, 0x0A, 0xD7, 0xD0, 0x0B, 0x75, 0x1F,
    0xC5, 0xFF, 0xF9, 0xFF, 0xAC, 0x26, 0x0A, 0xD8, 0xBD, 0x10, 0x00, 0x4B,
))  # fmt: skip
CHIP_H = bytes((0x77, 0x01, 0x00, 0x12, 0x20, 0x03, 0x1E))
CHIP_DATA = bytes((0x4F, 0x50, 0x00, 0x84, 0x47, 0x00, 0x60, 0x02))

# The worked example of the BMP280 data sheet, BST-BMP280-DS001, 3.12; the BME280 has the same
# formulas for temperature and pressure.
EXAMPLE_TP = struct.pack(
    "<HhhHhhhhhhhhBB",
    27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000, 0, 75,
)  # fmt: skip
EXAMPLE_T = 519888
EXAMPLE_P = 415148


def make(tp=CHIP_TP, h=CHIP_H, data=CHIP_DATA, chip=0x60, **more):
    clock = fake_bus.Clock()
    bus = fake_bus.I2C()
    device = fake_bus.Bme280(clock, tp, h, data, chip)
    bus.attach(118, device)
    sensor = build([dict({"type": "bme280"}, **more)], fake_bus.Hal(i2c=bus), clock, PINS)[0]
    return sensor, device, bus, clock


def reading(sensor, clock):
    clock.pass_ms(sensor.start())
    return dict(sensor.read())


def test_parameters_of_a_real_chip():
    trim = Calibration(CHIP_TP, CHIP_H)
    assert trim.t == (0x6FB1, 0x6A2E, 0x32)
    assert trim.p == (0x8FE2, -10486, 0x0BD0, 0x1F75, -59, -7, 0x26AC, -10230, 0x10BD)
    assert trim.h == (0x4B, 0x0177, 0x00, 0x0120, 0x0032, 0x1E)


def test_signed_humidity_parameters():
    # H4 and H5 are signed 12-bit numbers in three registers, H6 a signed byte.
    trim = Calibration(CHIP_TP, bytes((0, 0, 0, 0xFF, 0x2E, 0xFE, 0xFD)))
    assert trim.h == (0x4B, 0, 0, -2, -30, -3)


def test_compensation_of_a_real_chip():
    trim = Calibration(CHIP_TP, CHIP_H)
    assert trim.fine(0x84510) == 0x22391
    assert trim.pressure(0x4F570, 0x22391) == 0x018B663F
    assert trim.humidity(0x5EB4, 0x22391) == 0x8399


def test_data_sheet_example():
    trim = Calibration(EXAMPLE_TP, CHIP_H)
    fine = trim.fine(EXAMPLE_T)
    assert fine == 128422
    assert trim.temperature(fine) == 2508
    assert abs(trim.pressure(EXAMPLE_P, fine) / 256 - 100653.27) < 0.1


def test_reading_of_a_real_chip():
    sensor, _, _, clock = make()
    assert 0 < sensor.start() <= 20
    raises(SensorError, sensor.read)
    got = reading(sensor, clock)
    assert got["air_temperature"] == 27.33
    assert abs(got["pressure"] - 1012.33016) < 0.006
    assert abs(got["relative_humidity"] - 34.854492) < 0.001


def test_frost():
    # The same chip at -10 °C: the raw temperature for which the formula gives it.
    trim = Calibration(CHIP_TP, CHIP_H)
    raw = 0x84510
    while trim.temperature(trim.fine(raw)) > -1000:
        raw -= 16
    data = CHIP_DATA[:3] + bytes((raw >> 12, raw >> 4 & 0xFF, raw << 4 & 0xFF)) + CHIP_DATA[6:]
    sensor, _, _, clock = make(data=data)
    got = reading(sensor, clock)
    assert -10.2 < got["air_temperature"] <= -10.0


def test_every_reading_is_a_new_measurement():
    sensor, device, _, clock = make()
    first = reading(sensor, clock)
    device.measurement = CHIP_DATA[:3] + bytes((0x85, 0x47, 0x00)) + CHIP_DATA[6:]
    assert reading(sensor, clock)["air_temperature"] > first["air_temperature"]


def test_another_chip_is_refused():
    for chip, name in ((0x58, "BMP280"), (0x61, "BME680"), (0x00, "no BME280")):
        sensor, _, _, _ = make(chip=chip)
        reason = raises(SensorError, sensor.start).reason
        assert reason == "chip id 0x%02x is %s, not 0x60" % (chip, name)


def test_missing_and_back():
    sensor, device, bus, clock = make()
    del bus.devices[118]
    assert str(raises(SensorError, sensor.start)) == "bme280@118: no answer"
    bus.attach(118, device)
    good = reading(sensor, clock)
    clock.pass_ms(sensor.start())
    del bus.devices[118]
    assert raises(SensorError, sensor.read).reason == "no answer"
    raises(SensorError, sensor.start)
    bus.attach(118, device)
    assert reading(sensor, clock) == good


def test_a_reset_between_start_and_read():
    sensor, device, _, clock = make()
    clock.pass_ms(sensor.start())
    device.reset()
    assert "reset" in raises(SensorError, sensor.read).reason
    assert reading(sensor, clock)["air_temperature"] == 27.33


def test_still_measuring():
    sensor, device, _, clock = make()
    clock.pass_ms(sensor.start())
    device.write_register(0xF4, b"\x25")
    assert raises(SensorError, sensor.read).reason == "still measuring"


def test_a_block_of_zeros_is_no_calibration():
    sensor, _, _, _ = make(tp=bytes(26), h=bytes(7))
    assert "calibration" in raises(SensorError, sensor.start).reason


def test_noise_gives_errors_not_numbers():
    for data in (bytes(8), b"\xff" * 8):
        sensor, _, _, clock = make(data=data)
        raises(SensorError, reading, sensor, clock)


def test_only_and_calibration():
    sensor, _, _, clock = make(
        only=["pressure"], calibration={"pressure": {"offset": -1.5}}, address=118
    )
    got = reading(sensor, clock)
    assert list(got) == ["pressure"] and abs(got["pressure"] - 1010.83) < 0.006
