import fake_bus
from fieldtest import raises

from fieldnode.sensors.base import Sensor, SensorError


class Probe(Sensor):
    """Two quantities, ready after 100 ms, values given by the test."""

    limits = {"ph": (0, 14)}

    def __init__(self, clock):
        Sensor.__init__(self, "probe@1", ("ph", "soil_moisture"), clock)
        self.raw = (7.0, 50)
        self.error = None

    def _start(self):
        return 100

    def _read(self):
        return self._bus(self._device)

    def _device(self):
        if self.error:
            raise self.error
        return self.raw


def probe():
    clock = fake_bus.Clock()
    return Probe(clock), clock


def reading(sensor, clock):
    clock.pass_ms(sensor.start())
    return sensor.read()


def test_reading_takes_a_start_and_its_time():
    sensor, clock = probe()
    assert raises(SensorError, sensor.read).reason == "read without start"
    assert sensor.start() == 101, "100 ticks may be only 99 ms and a bit"
    clock.pass_ms(100)
    assert raises(SensorError, sensor.read).reason == "not ready for another 1 ms"
    clock.pass_ms(1)
    assert sensor.read() == [("ph", 7.0), ("soil_moisture", 50)]
    assert raises(SensorError, sensor.read).reason == "read without start"


def test_a_reading_left_lying_is_stale():
    sensor, clock = probe()
    sensor.start()
    clock.pass_ms(101 + 60001)
    assert raises(SensorError, sensor.read).reason.startswith("stale")
    # Longer than half the tick counter's period, where differences turn negative.
    sensor.start()
    clock.pass_ms((1 << 29) + 1000)
    assert raises(SensorError, sensor.read).reason.startswith("stale")
    assert reading(sensor, clock)[0] == ("ph", 7.0)


def test_errors_name_sensor_and_reason():
    sensor, clock = probe()
    for error, reason in (
        (OSError(19), "no answer"),
        (OSError(116), "timed out"),
        (OSError(5), "bus error"),
        (OSError(-261), "bus error -261"),
        (Exception("CRC error"), "CRC error"),
        (fake_bus.OneWireError(), "no answer (OneWireError)"),
    ):
        sensor.error = error
        caught = raises(SensorError, reading, sensor, clock)
        assert (caught.sensor, caught.reason) == ("probe@1", reason), caught.reason
        assert str(caught) == "probe@1: " + reason
    sensor.error = MemoryError()
    raises(MemoryError, reading, sensor, clock)
    sensor.error = None
    assert reading(sensor, clock), "the next good reading works"


def test_no_impossible_number_gets_out():
    sensor, clock = probe()
    for value in (float("nan"), float("inf"), -0.1, 14.1):
        sensor.raw = (value, 50)
        assert "ph" in raises(SensorError, reading, sensor, clock).reason
    sensor.raw = (13.9, 50)
    sensor.apply_calibration("ph", 0.2)
    assert "is not 0 to 14" in raises(SensorError, reading, sensor, clock).reason


def test_calibration_is_scale_then_offset():
    sensor, clock = probe()
    sensor.apply_calibration("ph", offset=0.2, scale=0.5)
    assert reading(sensor, clock)[0] == ("ph", 3.7)
    assert sensor.calibration("ph") == (0.2, 0.5)
    assert sensor.calibration("soil_moisture") == (0, 1)
    raises(SensorError, sensor.apply_calibration, "orp", 1)
    raises(ValueError, sensor.apply_calibration, "ph", 0, 0)
    raises(ValueError, sensor.apply_calibration, "ph", "1", 1)
    raises(ValueError, sensor.apply_calibration, "ph", float("nan"), 1)
    assert sensor.calibration("ph") == (0.2, 0.5), "a refused one changes nothing"


def test_a_calibrated_percentage_stays_one():
    sensor, clock = probe()
    sensor.apply_calibration("soil_moisture", offset=60)
    assert reading(sensor, clock)[1] == ("soil_moisture", 100)
    sensor.apply_calibration("soil_moisture", offset=-60)
    assert reading(sensor, clock)[1] == ("soil_moisture", 0)


def test_calibrate_to_a_reference():
    sensor, clock = probe()
    raises(SensorError, sensor.calibrate, "ph", 7.2)
    reading(sensor, clock)
    sensor.apply_calibration("ph", 0.1, 1.0)
    assert sensor.calibrate("ph", 7.5) == 0
    sensor.calibrated()
    assert sensor.calibration("ph") == (0.5, 1.0), "from the raw reading, not added up"
    assert reading(sensor, clock)[0] == ("ph", 7.5)


def test_only_some_quantities():
    sensor, clock = probe()
    sensor.quantities = ("soil_moisture",)
    assert reading(sensor, clock) == [("soil_moisture", 50)]
