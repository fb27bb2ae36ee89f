import fake_bus
from fieldtest import raises

from fieldnode.sensors.base import SensorError
from fieldnode.sensors.build import build

PINS = {"scl": 22, "sda": 21}


def make(quantity, reading, address=None, **more):
    clock = fake_bus.Clock()
    bus = fake_bus.I2C()
    default = {"ph": 99, "orp": 98, "ec": 100, "tds": 100}[quantity]  # the data sheets'
    device = fake_bus.Ezo(clock, reading, 600 if quantity in ("ec", "tds") else 900)
    bus.attach(address or default, device)
    config = dict({"type": "ezo", "quantity": quantity}, **more)
    if address:
        config["address"] = address
    return build([config], fake_bus.Hal(i2c=bus), clock, PINS)[0], device, bus, clock


def reading(sensor, clock):
    clock.pass_ms(sensor.start())
    return sensor.read()


def test_ph_data_sheet_example():
    # EZO-pH data sheet, "Taking reading": R, 900 ms, then 1, "9.560", 0.
    sensor, device, _, clock = make("ph", b"9.560")
    wait = sensor.start()
    assert 900 <= wait <= 1000
    clock.pass_ms(wait)
    assert sensor.read() == [("ph", 9.56)]
    assert device.commands == ["R"]


def test_orp_and_another_address():
    sensor, _, _, clock = make("orp", b"-209.6", address=42)
    assert sensor.name == "ezo-orp@42"
    assert reading(sensor, clock) == [("orp", -209.6)]


def test_ec_in_siemens_and_tds():
    # 1413 µS/cm is the common calibration solution; the circuit's TDS factor is 0.54.
    sensor, _, _, clock = make("ec", b"1413")
    wait = sensor.start()
    assert 600 <= wait <= 700
    clock.pass_ms(wait)
    got = dict(sensor.read())
    assert abs(got["ec"] - 1.413) < 1e-6 and abs(got["tds"] - 763.02) < 0.001
    sensor, _, _, clock = make("tds", b"1413", tds_factor=0.5)
    assert reading(sensor, clock) == [("tds", 706.5)]


def test_ec_with_all_outputs_on():
    sensor, _, _, clock = make("ec", b"12880,6955,7.38,1.004")
    assert dict(reading(sensor, clock))["ec"] == 12.88


def test_a_dry_ec_probe_is_an_error():
    sensor, _, _, clock = make("ec", b"0.00")
    assert "ec" in raises(SensorError, reading, sensor, clock).reason


def test_response_codes():
    sensor, device, _, clock = make("ph", b"7.01")
    for code, part in ((2, "syntax error"), (254, "still processing"), (255, "no data"), (7, "7")):
        device.raw = bytes((code,))
        assert part in raises(SensorError, reading, sensor, clock).reason
    device.raw = None
    device.read_ms = 1500
    assert "254" in raises(SensorError, reading, sensor, clock).reason, "a slow circuit"
    device.read_ms = 900
    clock.pass_ms(1000)
    assert reading(sensor, clock) == [("ph", 7.01)]


def test_garbage_is_no_number():
    sensor, device, _, clock = make("ph", b"")
    for text in (b"", b"\x80\x81\x82", b"*ER", b"7.0.1", b"nan", b"inf", b"-1", b"14.5", b"9" * 60):
        device.raw = b"\x01" + text
        raises(SensorError, reading, sensor, clock)
    device.raw = b"\x01 7.25\x00\xff\xff"
    assert reading(sensor, clock) == [("ph", 7.25)]


def test_missing():
    sensor, device, bus, clock = make("ph", b"7.00")
    del bus.devices[99]
    assert str(raises(SensorError, sensor.start)) == "ezo-ph@99: no answer"
    bus.attach(99, device)
    clock.pass_ms(sensor.start())
    del bus.devices[99]
    assert raises(SensorError, sensor.read).reason == "no answer"


def test_a_command_is_not_sent_into_a_busy_circuit():
    sensor, device, _, clock = make("ph", b"7.00")
    sensor.start()
    clock.pass_ms(500)
    assert raises(SensorError, sensor.start).reason == "busy for another 450 ms"
    clock.pass_ms(450)
    assert reading(sensor, clock) == [("ph", 7.0)]


def test_temperature_compensation():
    sensor, device, _, clock = make("ph", b"7.00")
    reading(sensor, clock)
    sensor.compensate(25.2)
    assert device.commands == ["R"], "the circuit assumes 25"
    sensor.compensate(19.5)
    assert device.commands[-1] == "T,19.5"
    raises(SensorError, sensor.start)
    clock.pass_ms(350)
    wait = sensor.start()
    sensor.compensate(30)
    assert device.commands[-1] == "R", "not in the middle of a reading"
    clock.pass_ms(wait)
    sensor.read()
    sensor.compensate(30)
    assert device.commands[-1] == "T,30.0"
    clock.pass_ms(350)
    raises(SensorError, sensor.compensate, 140)
    raises(SensorError, sensor.compensate, float("nan"))


def test_the_temperature_is_told_again_after_a_failure():
    sensor, device, _, clock = make("ec", b"1413")
    sensor.compensate(19.5)
    clock.pass_ms(350)
    device.raw = b"\xff"
    raises(SensorError, reading, sensor, clock)
    device.raw = None
    sensor.compensate(19.5)
    assert device.commands == ["T,19.5", "R", "T,19.5"]


def test_orp_has_no_compensation():
    sensor, device, _, _ = make("orp", b"225")
    sensor.compensate(10)
    assert device.commands == []


def test_calibration_commands():
    for quantity, value, command in (
        ("ph", 7, "Cal,mid,7.00"),
        ("ph", 4.01, "Cal,low,4.01"),
        ("ph", 10, "Cal,high,10.00"),
        ("orp", 225, "Cal,225"),
        ("ec", 12.88, "Cal,12880"),
        ("tds", 763.02, "Cal,1413"),
    ):
        sensor, device, _, clock = make(quantity, b"7.00")
        ms = sensor.calibrate(quantity, value)
        assert ms >= (600 if quantity in ("ec", "tds") else 900)
        clock.pass_ms(max(ms, 900))
        sensor.calibrated()
        assert device.commands == [command]
        assert sensor.calibration(quantity) == (0, 1), "the circuit keeps it, not the node"
    sensor, device, _, clock = make("ec", b"0.00")
    clock.pass_ms(sensor.command("Cal,dry", 600) + 300)
    sensor.calibrated()
    assert device.commands == ["Cal,dry"]
    raises(SensorError, sensor.calibrate, "ph", 7)


def test_a_refused_calibration_is_an_error():
    sensor, device, _, clock = make("ph", b"7.00")
    clock.pass_ms(sensor.calibrate("ph", 7))
    device.raw = b"\x02"
    assert "syntax error" in raises(SensorError, sensor.calibrated).reason
