# heapsize: 2M
"""A pump without water, water without a pump, and amounts by the flow meter."""

from fake_node import Bench, fresh_flash
from fieldtest import raises

from fieldnode.relay import Refused

PUMP = {"name": "pump", "pin": 26, "max_run_s": 60}
METER = {"type": "pulse", "quantity": "flow_rate", "pin": 27, "pulses_per_litre": 500}
LEVEL = {"type": "analog", "quantity": "water_level", "pin": 34, "raw": [0, 4000]}
LEVEL["value"] = [0, 100]
HZ = 10  # 500 pulses are a litre: 20 ml/s


def node(pulses_hz=HZ, fresh=True, **pump):
    if fresh:
        fresh_flash()
    pump = dict(PUMP, flow_meter=27, **pump)
    made = Bench("plantnanny", wired=True, sensors=[dict(METER)], actuators=[pump])
    made.meter = made.hal.inputs[27]
    made.meter.on(made.hal.pins[26], pulses_hz)
    return made


def with_tank(**pump):
    fresh_flash()
    pump = dict(PUMP, tank_min=10, **pump)
    return Bench("plantnanny", wired=True, sensors=[dict(LEVEL)], actuators=[pump])


def extras(made, key):
    return [obj["_fh"][key] for topic, obj, _ in made.link.sent if key in obj.get("_fh", {})]


def alerts(made):
    """(state, severity, message) of the alerts published so far."""
    return [(a["state"], a["severity"], a["message"]) for a in extras(made, "alert")]


def ended(made):
    return [event["reason"] for event in extras(made, "event")]


def test_an_amount_is_measured_by_the_flow_meter():
    made = node(flow_ml_per_s=25)  # the calibration is wrong: it gives 20
    pump = made.relays[0]
    pump.on(pump.lease_ms(None, 300), "command", 300)
    made.run(14000)
    assert pump.running
    made.run(1200)
    assert not pump.running and pump.ended == "done"
    assert 300 <= pump.ran_ml <= 302 and 15000 <= pump.ran_ms <= 15100, (pump.ran_ml, pump.ran_ms)
    assert extras(made, "event")[0]["amount_ml"] == pump.ran_ml


def test_an_amount_takes_twice_the_calibrated_time_at_most():
    made = node(2, flow_ml_per_s=25, dry_run_s=20)  # a kinked hose: 4 ml/s
    pump = made.relays[0]
    lease = pump.lease_ms(None, 300)
    assert lease == 24000  # 300 ml at 25 ml/s take 12 s
    pump.on(lease, "command", 300)
    made.run(24100)
    assert not pump.running and pump.ended == "timeout" and pump.ran_ml == 96
    assert pump.lease_ms(None, 1000) == 60000  # 40 s; twice that is over the maximum run time
    assert "60040" in str(raises(Refused, pump.lease_ms, None, 1501))


def test_an_amount_without_a_calibration_is_bounded_by_the_maximum_run_time():
    made = node()
    pump = made.relays[0]
    assert pump.lease_ms(None, 300) == 60000
    assert pump.lease_ms(5000, 300) == 5000
    pump.on(5000, "command", 300)
    made.run(5100)
    assert pump.ended == "done" and pump.ran_ml == 100  # as long as was asked for


def test_the_budget_in_ml_is_measured():
    made = node(daily_ml=500)
    pump = made.relays[0]
    pump.on(20000, "schedule")
    made.run(20100)
    assert pump.ended == "done" and pump.ran_ml == 400
    pump.on(20000, "schedule")
    made.run(20100)
    assert pump.ended == "budget" and 100 <= pump.ran_ml <= 102, pump.ran_ml
    assert "500 ml of today" in str(raises(Refused, pump.on, 1000, "schedule"))


def test_a_pump_without_flow_is_off_and_locked_until_a_commanded_run_succeeds():
    made = node(0, dry_run_s=5)
    pump = made.relays[0]
    pump.on(60000, "schedule")
    made.run(4900)
    assert pump.running
    made.run(200)
    assert not pump.running and pump.ended == "dry run" and made.hal.pins[26].value() == 0
    assert alerts(made) == [("raised", "critical", "pump ran dry: no flow")], alerts(made)
    assert ended(made) == ["dry run"]
    for by in ("schedule", "dosing"):
        assert "locked" in str(raises(Refused, pump.on, 1000, by))
    made = node(0, False, dry_run_s=5)  # a reboot does not unlock it
    pump = made.relays[0]
    assert "locked" in str(raises(Refused, pump.on, 1000, "schedule"))
    pump.on(10000)  # a command may try
    made.run(10000)
    assert pump.ended == "dry run"
    assert "locked" in str(raises(Refused, pump.on, 1000, "schedule"))
    pump.on(1000)  # too short to be dry, but nothing flowed
    made.run(1100)
    assert "locked" in str(raises(Refused, pump.on, 1000, "schedule"))
    made.meter.on(made.hal.pins[26], HZ)
    pump.on(5000)
    made.run(5100)
    assert pump.ended == "done"
    pump.on(1000, "schedule")
    assert pump.running


def test_flow_that_stops_in_mid_run_is_a_dry_run():
    made = node(dry_run_s=5)
    made.relays[0].on(60000)
    made.run(20000)
    assert made.relays[0].running
    made.meter.on(made.hal.pins[26], 0)
    made.run(5200)
    assert made.relays[0].ended == "dry run" and made.relays[0].ran_ml == 400


def test_a_trickle_is_no_flow_for_a_calibrated_pump():
    made = node(0.5, dry_run_s=10, flow_ml_per_s=20)  # 1 ml/s
    made.relays[0].on(60000)
    made.run(10100)
    assert made.relays[0].ended == "dry run"


def test_flow_with_the_pump_off_is_reported_once_and_again_after_it_cleared():
    made = node(leak_ml=100)
    made.meter.leak_hz = 1  # 2 ml/s: 100 ml in 50 s
    made.run(50000)
    assert alerts(made) == []
    made.run(20000)
    (alert,) = alerts(made)
    assert alert[:2] == ("raised", "critical") and "leak" in alert[2] and "stuck" in alert[2]
    made.run(600000)
    assert len(alerts(made)) == 1
    made.meter.leak_hz = 0
    made.run(120000)
    assert alerts(made)[1:] == [("cleared", "info", "pump: no leak any more")]
    made.meter.leak_hz = 1
    made.run(120000)
    assert len(alerts(made)) == 3


def test_what_flows_just_after_a_run_is_no_leak():
    made = node(leak_ml=20)
    made.relays[0].on(5000)
    made.run(5000)
    made.meter.leak_hz = 5  # 10 ml/s
    made.run(9000)
    made.meter.leak_hz = 0
    made.run(120000)
    assert alerts(made) == []


def test_a_slow_drip_is_no_leak():
    made = node(leak_ml=100)
    made.meter.leak_hz = 0.5  # 60 ml in a minute
    made.run(600000)
    assert alerts(made) == []


def test_relays_on_one_line_do_not_take_each_other_for_a_leak():
    fresh_flash()
    pumps = [dict(PUMP, flow_meter=27), dict(PUMP, name="valve", pin=25, flow_meter=27)]
    made = Bench("plantnanny", wired=True, sensors=[dict(METER)], actuators=pumps)
    made.hal.inputs[27].on(made.hal.pins[25], HZ)
    made.relays[1].on(60000)
    made.run(61000)
    assert made.relays[1].ended == "done" and made.relays[1].ran_ml == 1200
    assert made.relays[0].ran_ml is None and alerts(made) == []
    made.hal.inputs[27].leak_hz = HZ
    made.run(60000)
    assert len(alerts(made)) == 1  # one line, one alert


def test_an_empty_tank_refuses_a_run_and_ends_one():
    made = with_tank()
    pump = made.relays[0]
    pump.on(60000, "schedule")
    made.run(10000)
    made.hal.inputs[34].raw = 200  # 5 %
    made.run(31000)  # a reading
    assert pump.ended == "dry run" and made.hal.pins[26].value() == 0
    assert "ran dry: the tank is at 5 %" in alerts(made)[0][2]
    assert "at 5 %, below 10 %" in str(raises(Refused, pump.on, 1000))
    made.hal.inputs[34].raw = 4000
    made.run(31000)
    assert "locked" in str(raises(Refused, pump.on, 1000, "schedule"))
    pump.on(1000)
    made.run(1100)
    pump.on(1000, "schedule")
    assert pump.running


def test_a_level_that_nobody_knows_refuses_a_run_with_the_reason():
    made = with_tank()
    pump = made.relays[0]
    made.hal.inputs[34].raw = 6000  # 50 % above what the sensor can give: its wire is off
    made.run(31000)
    text = str(raises(Refused, pump.on, 1000))
    assert "no water level: ADC reads 6000" in text, text
    made.hal.inputs[34].raw = 4000
    made.run(31000)
    pump.on(60000)
    made.hal.inputs[34].raw = 6000
    made.run(50000)
    assert pump.running  # one reading may fail
    pump.off("stopped")


def test_a_level_unknown_for_long_ends_a_run():
    made = with_tank(max_run_s=600)
    pump = made.relays[0]
    pump.on(600000, "schedule")
    made.hal.inputs[34].raw = 6000
    made.run(120000)  # the interval is 30 s
    assert pump.ended == "error" and pump.ran_ms < 101000, pump.ran_ms


def test_no_run_before_the_first_level():
    fresh_flash()
    made = Bench(
        "plantnanny",
        wired=True,
        connect=False,
        sensors=[dict(LEVEL)],
        actuators=[dict(PUMP, tank_min=10)],
    )
    assert "no water level yet" in str(raises(Refused, made.relays[0].on, 1000))


def test_the_status_says_what_is_locked_or_leaks():
    made = node(0, dry_run_s=5)
    made.relays[0].on(60000)
    made.run(6000)
    assert made.node.reports.status()["actuator_error"] == "pump ran dry"
    made.meter.leak_hz = HZ
    made.run(60000)
    assert made.node.reports.status()["actuator_error"] == "pump ran dry; pump leaks"


def test_checks_cost_nothing_where_none_is_configured():
    import sys

    fresh_flash()
    Bench("plantnanny", actuators=[dict(PUMP)])
    for name in ("guard", "flow", "budget"):
        assert "fieldnode." + name not in sys.modules, name
