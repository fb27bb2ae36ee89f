"""The simulated world on a clock of our own."""

import threading

import pytest

from fieldhand.sim.world import EFFECTS, World


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def hours(clock: Clock, count: float, day_s: float = 600.0) -> None:
    clock.now += count * day_s / 24


def test_pumped_water_leaves_the_tank_and_reaches_the_soil(clock):
    world = World(clock=clock, day_s=1e9, soil_moisture=20, tank_ml=1000, soil_capacity_ml=2000)
    world.attach("pump", "water", 25)
    world.switch("pump", True)
    clock.now += 4
    world.switch("pump", False)
    assert world.tank_ml == pytest.approx(900)
    assert world.pumped_ml == pytest.approx(100)
    assert 20 < world.soil_moisture < 25
    clock.now += 60
    assert world.soil_moisture == pytest.approx(25, abs=0.01)


def test_an_empty_tank_gives_no_water_and_no_flow(clock):
    world = World(clock=clock, day_s=1e9, soil_moisture=20, tank_ml=50)
    world.attach("pump", "water", 25)
    world.switch("pump", True)
    assert world.flow_rate == pytest.approx(1.5)  # 25 ml/s in L/min
    clock.now += 10
    assert (world.tank_ml, world.pumped_ml) == (0, pytest.approx(50))
    assert world.flow_rate == 0
    assert world.water_level == 0


def test_a_line_carries_what_its_pumps_give(clock):
    world = World(clock=clock, day_s=1e9, tank_ml=50)
    world.attach("pump", "water", 25)
    world.attach("acid", "ph_down", 3)
    world.attach("other", "water", 10)
    for key in ("pump", "acid", "other"):
        world.switch(key, True)
    assert world.flow_ml_per_s("pump") == 25
    assert world.flow_ml_per_s("pump", "acid") == 28
    clock.now += 10
    assert world.flow_ml_per_s("pump", "acid") == 3  # the tank is empty, the canister is not
    world.flow_rate = 1.2  # L/min: a leak
    assert world.flow_ml_per_s("pump") == pytest.approx(20)


def test_two_pumps_share_what_is_left(clock):
    world = World(clock=clock, day_s=1e9, tank_ml=30)
    for key in "ab":
        world.attach(key, "water", 10)
        world.switch(key, True)
    clock.now += 100
    assert world.pumped_ml == pytest.approx(30)


def test_soil_dries_faster_in_the_sun(clock):
    world = World(clock=clock, hour=0, soil_moisture=60)
    before = world.soil_moisture
    hours(clock, 4)
    night = before - world.soil_moisture
    hours(clock, 6)
    before = world.soil_moisture
    hours(clock, 4)
    noon = before - world.soil_moisture
    assert 0 < night < noon


def test_a_day_has_night_and_noon(clock):
    world = World(clock=clock, hour=0)
    assert world.luminosity == 0 and world.solar_voltage == 0
    midnight = world.air_temperature
    hours(clock, 12)
    assert world.hour == pytest.approx(12)
    assert world.luminosity == pytest.approx(100, abs=1)
    assert world.air_temperature > midnight + 8
    assert world.relative_humidity < 60


def test_the_battery_charges_by_day_and_drains_by_night(clock):
    world = World(clock=clock, hour=0, battery_level=50)
    hours(clock, 5)
    dawn = world.battery_level
    assert dawn < 50
    hours(clock, 9)
    assert world.battery_level > dawn
    assert world.battery_voltage == pytest.approx(3.3 + 0.009 * world.battery_level)


@pytest.mark.parametrize(
    ("effect", "quantity", "sign"),
    [("ph_down", "ph", -1), ("ph_up", "ph", 1), ("chlorine", "chlorine", 1)],
)
def test_the_pool_answers_dosing(clock, effect, quantity, sign):
    world = World(clock=clock, day_s=1e9)
    before = world.read(quantity)
    orp = world.orp
    world.attach("doser", effect, 10)
    world.switch("doser", True)
    clock.now += 20
    assert (world.read(quantity) - before) * sign > 0.3
    assert world.orp != orp


def test_the_pool_drifts(clock):
    world = World(clock=clock, ph=7.2, chlorine=2)
    hours(clock, 24)
    assert 7.2 < world.ph < 8.2
    assert 0 < world.chlorine < 2


def test_the_cleaner_uses_energy_and_water(clock):
    world = World(clock=clock, day_s=1e9)
    world.attach("cleaner", "cleaner", 0.5)
    world.switch("cleaner", True)
    clock.now += 60
    assert world.area == pytest.approx(30)
    assert world.energy == pytest.approx(400 / 60)
    assert world.water_used == pytest.approx(1.8)
    assert world.vibration > 0.1


def test_what_follows_is_held_until_released(clock):
    world = World(clock=clock)
    world.air_temperature = 31.5
    hours(clock, 5)
    assert world.air_temperature == 31.5
    world.release("air_temperature")
    assert world.air_temperature != 31.5


def test_state_goes_on_from_where_it_is_set(clock):
    world = World(clock=clock)
    world.soil_moisture = 20
    hours(clock, 3)
    assert 0 < world.soil_moisture < 20
    world.water_level = 50
    assert world.tank_ml == 10000


def test_time_that_stands_still_changes_nothing(clock):
    world = World(clock=clock)
    seen = {name: world.read(name) for name in world.quantities()}
    clock.now -= 5  # a clock that jumps back
    assert {name: world.read(name) for name in world.quantities()} == seen


def test_many_short_steps_are_as_one_long(clock):
    slow, fast = World(clock=clock), World(clock=clock)
    for world in (slow, fast):
        world.attach("pump", "water", 5)
        world.switch("pump", True)
    for _ in range(200):
        clock.now += 0.1
        assert fast.soil_moisture > 0
    assert slow.tank_ml == pytest.approx(fast.tank_ml)
    assert slow.soil_moisture == pytest.approx(fast.soil_moisture, abs=0.05)
    assert slow.ph == pytest.approx(fast.ph, abs=1e-3)


def test_quantities_stay_in_their_range_for_a_year(clock):
    world = World(clock=clock)
    for _ in range(120):
        hours(clock, 73)
        assert 0 <= world.soil_moisture <= 100
        assert 0 <= world.ph <= 14 and world.chlorine >= 0
        assert 0 <= world.battery_level <= 100
        assert 0 <= world.relative_humidity <= 100
        assert world.npk >= 0


def test_unknown_names_and_effects_are_refused():
    with pytest.raises(TypeError, match="soil_mosture"):
        World(soil_mosture=3)
    world = World()
    with pytest.raises(AttributeError, match="humidity"):
        world.humidity = 3
    with pytest.raises(AttributeError, match="humidity"):
        _ = world.humidity
    assert world.read("humidity") is None
    with pytest.raises(ValueError, match=", ".join(EFFECTS)):
        world.attach("x", "sprinkle", 1)
    with pytest.raises(ValueError, match="day_s"):
        World(day_s=0)


def test_threads_lose_no_water():
    world = World(day_s=1e9, tank_ml=1e9)
    world.attach("pump", "water", 1000)
    world.switch("pump", True)

    def read() -> None:
        for _ in range(2000):
            assert world.soil_moisture >= 0

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.pumped_ml + world.tank_ml == pytest.approx(1e9)
