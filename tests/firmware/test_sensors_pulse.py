import fake_bus
from fieldtest import raises

from fieldnode.sensors.base import SensorError
from fieldnode.sensors.build import build

# SparkFun weather meter data sheet: 2.4 km/h closes the switch once per second.
WIND = {"type": "pulse", "quantity": "wind_speed", "pin": 27, "per_pulse": 2.4, "window": "hz"}
# YF-S201 data sheet: 450 pulses a litre, that is 7.5 Hz at 1 L/min.
FLOW = {"type": "pulse", "quantity": "flow_rate", "pin": 27, "pulses_per_litre": 450}


def make(config, start=0):
    clock = fake_bus.Clock()
    counter = fake_bus.Counter(start)
    return build([config], fake_bus.Hal(counter={27: counter}), clock)[0], counter, clock


def reading(sensor):
    assert sensor.start() == 0
    ((_, value),) = sensor.read()
    return value


def near(value, expected):
    return abs(value - expected) < 1e-6 * expected


def test_wind():
    sensor, counter, clock = make(WIND)
    clock.pass_ms(5000)
    counter.pulse(5)
    assert near(reading(sensor), 2.4)
    clock.pass_ms(2500)
    counter.pulse(25)
    assert near(reading(sensor), 24)
    clock.pass_ms(1000)
    assert reading(sensor) == 0, "calm is a value, not an error"


def test_flow_and_volume():
    sensor, counter, clock = make(FLOW)
    assert sensor.volume_ml() == 0
    clock.pass_ms(4000)
    counter.pulse(30)
    assert near(reading(sensor), 1.0), "7.5 Hz"
    assert sensor.volume_ml() == 66, "30 of 450 pulses"
    counter.pulse(420)
    assert sensor.volume_ml() == 1000
    clock.pass_ms(2000)
    assert near(reading(sensor), 28), "asking for the volume takes nothing from the rate"


def test_litres_a_pulse():
    sensor, counter, clock = make(
        {"type": "pulse", "quantity": "flow_rate", "pin": 27, "per_pulse": 0.5, "window": "min"}
    )
    clock.pass_ms(30000)
    counter.pulse(6)
    assert near(reading(sensor), 6), "12 pulses of 0.5 L a minute"
    assert "pulses_per_litre" in raises(SensorError, sensor.volume_ml).reason


def test_the_counter_wraps():
    sensor, counter, clock = make(FLOW, start=(1 << 30) - 100)
    clock.pass_ms(60000)
    counter.pulse(450)
    assert counter.count() < 450
    assert near(reading(sensor), 1.0)
    assert sensor.volume_ml() == 1000


def test_a_counter_that_restarted_is_an_error_once():
    sensor, counter, clock = make(FLOW, start=1000)
    clock.pass_ms(2000)
    counter.pulses = 10
    sensor.start()
    assert "backwards" in raises(SensorError, sensor.read).reason
    clock.pass_ms(60000)
    counter.pulse(450)
    assert near(reading(sensor), 1.0)
    assert sensor.volume_ml() == 1000


def test_a_window_has_a_least_length():
    sensor, counter, clock = make(WIND)
    assert sensor.start() == 1001
    clock.pass_ms(1001)
    counter.pulse(1)
    assert near(dict(sensor.read())["wind_speed"], 2400 / 1001)
    clock.pass_ms(400)
    assert sensor.start() == 601
    clock.pass_ms(601)
    sensor.read()


def test_bounce_is_no_hurricane():
    sensor, counter, clock = make(WIND)
    clock.pass_ms(1000)
    counter.pulse(5000)
    assert "wind_speed" in raises(SensorError, reading, sensor).reason


def test_a_window_lost_in_the_wrap_of_ticks():
    sensor, counter, clock = make(WIND)
    clock.pass_ms((1 << 29) + 1000)
    counter.pulse(5)
    assert sensor.start() == 0
    raises(SensorError, sensor.read)
    clock.pass_ms(1000)
    counter.pulse(1)
    assert near(reading(sensor), 2.4)
