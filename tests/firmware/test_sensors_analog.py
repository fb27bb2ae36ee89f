import fake_bus
import micropython
from fieldtest import raises

from fieldnode.sensors.analog import SAMPLES, median
from fieldnode.sensors.base import SensorError
from fieldnode.sensors.battery import lipo_level
from fieldnode.sensors.build import build


def make(adc, **config):
    clock = fake_bus.Clock()
    pin = config.setdefault("pin", 34)
    return build([config], fake_bus.Hal(adc={pin: adc}), clock)[0]


def reading(sensor):
    assert sensor.start() == 0
    return dict(sensor.read())


def soil(adc, **more):
    return make(
        adc, type="analog", quantity="soil_moisture", raw=[3200, 1300], value=[0, 100], **more
    )


def test_two_points():
    for raw, percent in ((3200, 0), (1300, 100), (2250, 50), (2725, 25)):
        assert reading(soil(fake_bus.Adc(raw))) == {"soil_moisture": percent}


def test_npk_is_scaled_to_1023():
    for raw, value in ((0, 0), (4095, 1023), (1365, 341)):
        sensor = make(
            fake_bus.Adc(raw), type="analog", quantity="npk", pin=35, raw=[0, 4095], value=[0, 1023]
        )
        got = reading(sensor)
        assert got == {"npk": value}, got


def test_beyond_the_points_clamps_or_refuses():
    assert reading(soil(fake_bus.Adc(3300))) == {"soil_moisture": 0}
    assert reading(soil(fake_bus.Adc(1200))) == {"soil_moisture": 100}
    strict = soil(fake_bus.Adc(3300), clamp=False)
    assert "soil_moisture" in raises(SensorError, reading, strict).reason


def test_open_and_shorted_inputs_are_errors():
    for raw in (0, 4095, 800, 3700):
        caught = raises(SensorError, reading, soil(fake_bus.Adc(raw)))
        assert caught.sensor == "soil_moisture@34"
        assert "ADC reads %d, calibrated for 1300 to 3200" % raw in caught.reason


def test_one_spike_does_not_show():
    adc = fake_bus.Adc(2250, 4095, 2250, 0, 2250)
    assert reading(soil(adc)) == {"soil_moisture": 50}
    assert adc.reads == SAMPLES


def test_a_reading_out_of_what_can_be():
    sensor = make(fake_bus.Adc(4000), type="analog", quantity="ph", raw=[1000, 3500], value=[4, 14])
    assert "ph" in raises(SensorError, reading, sensor).reason


def test_sampling_allocates_nothing():
    class Fixed:
        def read(self):
            return 7

    adc, samples = Fixed(), [0] * SAMPLES
    micropython.heap_lock()
    try:
        middle = median(adc, samples)
    finally:
        micropython.heap_unlock()
    assert middle == 7


# The 1S column of Ampow's LiPo voltage chart.
CHART = (
    (4.20, 100), (4.15, 95), (4.11, 90), (4.08, 85), (4.02, 80), (3.98, 75), (3.95, 70),
    (3.91, 65), (3.87, 60), (3.85, 55), (3.84, 50), (3.82, 45), (3.80, 40), (3.79, 35),
    (3.77, 30), (3.75, 25), (3.73, 20), (3.71, 15), (3.69, 10), (3.61, 5), (3.27, 0),
)  # fmt: skip


def test_lipo_chart():
    for volts, percent in CHART:
        assert lipo_level(round(volts * 1000)) == percent, volts
    assert lipo_level(4300) == 100 and lipo_level(3000) == 0
    assert lipo_level(4000) == 77.5, "between 3.98 and 4.02"
    last = 0
    for millivolts in range(3200, 4250):
        level = lipo_level(millivolts)
        assert last <= level <= 100, millivolts
        last = level


def test_battery_behind_a_divider():
    # Two equal resistors and 3.3 V full scale: 2482 is 2.0 V at the pin, 4.0 V of the cell.
    got = reading(make(fake_bus.Adc(2482), type="battery"))
    assert abs(got["battery_voltage"] - 4.0) < 0.001
    assert abs(got["battery_level"] - 77.5) < 0.2
    only = make(fake_bus.Adc(2482), type="battery", quantity="battery_voltage")
    assert only.quantities == ("battery_voltage",) and list(reading(only)) == ["battery_voltage"]


def test_lead_acid_is_linear():
    config = {"type": "battery", "divider": 5, "linear": [11.8, 12.8], "full_scale": 3.3}
    # 12.3 V / 5 = 2.46 V.
    got = reading(make(fake_bus.Adc(round(2.46 / 3.3 * 4095)), **config))
    assert abs(got["battery_voltage"] - 12.3) < 0.005
    assert abs(got["battery_level"] - 50) < 0.5
    assert reading(make(fake_bus.Adc(3300), **config))["battery_level"] == 100


def test_two_cells():
    got = reading(make(fake_bus.Adc(2482), type="battery", divider=4, cells=2))
    assert abs(got["battery_voltage"] - 8.0) < 0.001
    assert abs(got["battery_level"] - 77.5) < 0.2


def test_no_battery_is_an_error_not_zero_percent():
    for raw, part in ((0, "open"), (4095, "saturated"), (600, "no LiPo cell")):
        sensor = make(fake_bus.Adc(raw), type="battery")
        assert part in raises(SensorError, reading, sensor).reason
