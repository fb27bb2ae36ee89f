# heapsize: 600k
"""A relay is never on without a timer, whatever happens when."""

from fake_node import FakeHal, FakeTime
from fieldtest import raises

from fieldnode.clock import Clock
from fieldnode.relay import Refused, Relay

CONFIG = {"name": "pump", "id": 1, "pin": 26, "active_low": False, "max_run_s": 60}


def relay(hal=FakeHal, **over):
    time = FakeTime()
    hal = hal(time)
    made = Relay(dict(CONFIG, **over), hal, Clock(time))
    return made, hal.pins[26], time


def test_off_from_the_start_whatever_the_board():
    assert relay()[1].levels == [0]
    assert relay(active_low=True)[1].levels == [1]


def test_a_timer_that_fires_before_the_pin_is_on():
    class Quick(FakeHal):
        def one_shot(self, ms, callback):
            callback(None)
            return super().one_shot(ms, callback)

    pump, pin, time = relay(Quick)
    pump.on(1)
    assert pin.value() == 0 and not pump.running
    pump.step()
    assert pump.ended == "done"


def test_a_lost_alarm_is_made_good_by_the_loop():
    class Deaf(FakeHal):
        def one_shot(self, ms, callback):
            return super().one_shot(ms, lambda timer: None)

    pump, pin, time = relay(Deaf)
    pump.on(1000)
    time.advance(1050)
    pump.step()
    assert pin.value() == 1  # it may be a little late
    time.advance(100)
    pump.step()
    assert pin.value() == 0 and pump.ended == "done" and not pump.running


def test_no_timer_no_water():
    class Busy(FakeHal):
        timers = 0

    pump, pin, time = relay(Busy)
    assert "timer" in str(raises(Refused, pump.on, 1000))
    assert pin.levels.count(1) == 0 and not pump.running


def test_off_early_frees_the_timer_and_counts_the_run():
    pump, pin, time = relay()
    pump.on(10000)
    time.advance(4000)
    pump.off("stopped")
    assert pin.value() == 0 and time.timers == []
    assert pump.ran_ms == 4000 and pump.ended == "stopped"
    pump.off("again")
    assert pump.ended == "stopped" and pump.run_ms == 4000


def test_a_second_run_replaces_the_first():
    pump, pin, time = relay()
    pump.on(10000)
    time.advance(4000)
    assert "running" in str(raises(Refused, pump.on, 10000, "schedule"))
    pump.on(10000)
    assert pump.run_ms == 4000 and pump.ended is None and len(time.timers) == 1
    time.advance(9999)
    assert pin.value() == 1
    time.advance(1)
    assert pin.value() == 0


def test_limits():
    pump, pin, time = relay(flow_ml_per_s=25)
    assert pump.lease_ms(None, None) == 60000
    assert pump.lease_ms(5000, None) == 5000
    assert pump.lease_ms(None, 100) == 4000
    assert pump.lease_ms(3000, 100) == 3000
    assert "60001" in str(raises(Refused, pump.lease_ms, 60001, None))
    assert "60040" in str(raises(Refused, pump.lease_ms, None, 1501))
    assert "flow_ml_per_s" in str(raises(Refused, relay()[0].lease_ms, None, 100))
    pump.blocked = "safe mode"
    assert "safe mode" in str(raises(Refused, pump.on, 1000)) and pin.levels.count(1) == 0


def test_totals_by_the_hour():
    pump, pin, time = relay(per_hour={"area": 3600, "energy": 36})
    pump.on(10000)
    time.advance(5000)
    totals = pump.totals()
    assert 4.9 < totals["area"] < 5.1 and 0.049 < totals["energy"] < 0.051, totals
