# heapsize: 16M
"""Closed-loop dosing in virtual time, on a pool that answers to its doses."""

from fake_node import Bench, FakeSensor, fresh_flash
from fieldtest import raises

from fieldproto import nodeconfig
from fieldproto.schema import FieldError

MIX_S = 120
DOSE_S = 5
ACID = {
    "quantity": "ph",
    "actuator": "acid",
    "direction": "down",
    "target": 7.4,
    "deadband": 0.1,
    "min": 6.5,
    "max": 8.5,
    "dose_s": DOSE_S,
    "mix_s": MIX_S,
    "silent_s": 40,
}
CHLORINE = dict(
    ACID, quantity="chlorine", actuator="chlorine", direction="up", target=1.0, min=0, max=5
)
PUMPS = [
    {"name": "acid", "pin": 26, "max_run_s": 10, "daily_run_s": 60},
    {"name": "chlorine", "pin": 27, "max_run_s": 10, "daily_run_s": 60},
]
PROBES = [
    {"type": "ezo", "quantity": "ph"},
    {"type": "analog", "quantity": "chlorine", "pin": 34, "raw": [0, 4095], "value": [0, 10]},
    {"type": "pulse", "quantity": "flow_rate", "pin": 25, "pulses_per_litre": 450},
]


def pool(*loops, **values):
    fresh_flash()
    measured = {"ph": 7.4, "chlorine": 1.5, "water_temperature": 22.0}
    measured.update(values)
    return Bench(
        "dese",
        {"org": "org-123"},
        sensor=FakeSensor(**measured),
        interval_ms=10000,
        actuators=[dict(pump) for pump in PUMPS],
        i2c={"scl": 22, "sda": 21},
        sensors=[dict(probe) for probe in PROBES],
        dosing=[dict(loop) for loop in loops],
    )


def doses(bench, pin=26):
    """How often the pump on `pin` was switched on."""
    return bench.hal.pins[pin].levels.count(1)


def alerts(bench):
    return [obj["message"] for topic, obj, _ in bench.link.sent if topic.endswith("/alert")]


def test_no_dose_before_the_pool_of_an_unknown_past_is_mixed():
    bench = pool(ACID, ph=8.0)
    bench.run(MIX_S * 1000 - 1000)
    assert doses(bench) == 0
    bench.run(20000)
    assert doses(bench) == 1


def test_small_doses_with_pauses_until_the_target_is_reached():
    bench = pool(ACID, ph=7.9)
    for _ in range(20):
        before = doses(bench)
        bench.run((MIX_S + DOSE_S) * 1000)
        given = doses(bench) - before
        assert given <= 1, given
        bench.sensor.values["ph"] -= 0.1 * given
    # 7.9 to 7.5, where 0.1 over the target is within the deadband: four doses
    assert doses(bench) == 4 and abs(bench.sensor.values["ph"] - 7.5) < 0.001
    assert bench.relays[0].run_ms == 4 * DOSE_S * 1000


def test_a_silent_or_implausible_sensor_stops_dosing_and_says_so():
    for wrong, word in (("open circuit", "no reading"), (9.9, "not plausible"), (3.0, "plausible")):
        bench = pool(ACID, ph=8.0)
        bench.run(MIX_S * 1000 - 30000)
        bench.link.sent = []
        bench.sensor.values["ph"] = wrong
        bench.run(2 * MIX_S * 1000)
        if word != "no reading":
            bench.sensor.values["ph"] = wrong + 0.1  # it drifts
        bench.run(2 * MIX_S * 1000)
        assert doses(bench) == 0, (wrong, doses(bench))
        said = [text for text in alerts(bench) if "dosing of ph" in text]
        assert len(said) == 1 and word in said[0], (wrong, said)
        bench.link.sent = []
        bench.sensor.values["ph"] = 8.0
        bench.run(60000)
        assert doses(bench) == 1 and any(["goes on" in text for text in alerts(bench)])


def test_doses_without_effect_end_until_a_new_target_is_set():
    bench = pool(ACID, ph=8.0)
    bench.run(12 * (MIX_S + DOSE_S) * 1000)
    assert doses(bench) == 5, doses(bench)
    assert any(["no effect" in text for text in alerts(bench)])
    answer = set_target(bench, "set_ph_target", "target_ph", 7.2)
    assert answer["success"] is True, answer
    bench.run((MIX_S + DOSE_S) * 1000)
    assert doses(bench) == 6


def set_target(bench, command, key, value):
    payload = {
        "command_id": "c-%s" % value,
        "device_id": "n1",
        "command": command,
        "parameters": {key: value},
        "timestamp": "2026-01-01T%02d:%02d:00Z" % divmod(bench.clock.ms() // 60000, 60),
    }
    sent = bench.command("devices/org-123/n1/commands", payload)
    return [obj for topic, obj, _ in sent if topic.endswith("/command_response")][0]


def test_a_target_out_of_bounds_or_without_a_pump_is_refused():
    bench = pool(ACID)
    for value in (6.4, 8.6):
        answer = set_target(bench, "set_ph_target", "target_ph", value)
        assert answer["success"] is False and "6.5 to 8.5" in answer["error"], answer
    answer = set_target(bench, "set_chlorine_target", "target_chlorine", 1.2)
    assert answer["success"] is False and "does not dose chlorine" in answer["error"], answer
    assert set_target(bench, "set_ph_target", "target_ph", 7.0)["success"] is True
    assert bench.node.configuration.settings.get("targets") == {"ph": 7.0}


def test_the_budget_of_the_pump_holds_for_doses():
    bench = pool(ACID, ph=8.0)
    bench.sensor.values["ph"] = 8.4
    for _ in range(30):
        bench.run((MIX_S + DOSE_S) * 1000)
        bench.sensor.values["ph"] -= 0.02
        bench.node.parts[-1].loops[0].aim(7.4)  # as if each dose had an effect
    assert doses(bench) == 60 // DOSE_S, doses(bench)


def test_a_used_up_budget_is_one_alert_and_not_one_for_each_attempt():
    bench = pool(ACID, ph=8.0)
    bench.relays[0].on(10000, "command")
    bench.node.parts[0]._records["acid"]["ms"] = 60000
    bench.run(6 * 3600 * 1000)
    assert doses(bench) == 1
    assert alerts(bench) == ["dosing of ph: acid has run its 60 s of today"]


def test_no_dose_meets_what_a_command_gave():
    bench = pool(CHLORINE, dict(ACID, target=8.0), chlorine=0.2)
    bench.run(MIX_S * 1000 - 2000)
    bench.relays[0].on(10000, "command")
    bench.run((10 + MIX_S) * 1000 - 1000)
    assert doses(bench, 27) == 0
    bench.run(12000)
    assert doses(bench, 27) == 1


def test_two_chemicals_never_meet_and_neither_starves():
    bench = pool(ACID, CHLORINE, ph=8.0, chlorine=0.2)
    when = []
    for _ in range(8 * (MIX_S + DOSE_S)):
        before = doses(bench, 26), doses(bench, 27)
        bench.run(1000)
        for i, pin in enumerate((26, 27)):
            if doses(bench, pin) > before[i]:
                when.append((bench.clock.ms(), pin))
    gaps = [when[i + 1][0] - when[i][0] for i in range(len(when) - 1)]
    assert min(gaps) >= (MIX_S + DOSE_S) * 1000 - 1000, gaps
    assert [pin for _, pin in when[:4]] in ([26, 27, 26, 27], [27, 26, 27, 26]), when


def test_no_dose_without_flow_past_the_dosing_point():
    bench = pool(dict(ACID, flow_min=10), ph=8.0, flow_rate=40.0)
    bench.sensor.values["flow_rate"] = 2.0
    bench.run(2 * MIX_S * 1000)
    assert doses(bench) == 0 and any(["no flow" in text for text in alerts(bench)])
    bench.sensor.values["flow_rate"] = 40.0
    bench.run(30000)
    assert doses(bench) == 1


def test_a_loop_that_cannot_be_safe_is_refused_in_node_json():
    base = {
        "version": 1,
        "dialect": "dese",
        "options": {"org": "o"},
        "broker": {"host": "b"},
        "i2c": {"scl": 22, "sda": 21},
        "sensors": PROBES,
    }
    for change, pump, where in (
        ({}, {"daily_run_s": None}, "dosing[0].actuator: acid needs daily_run_s"),
        ({"actuator": "base"}, {}, "dosing[0].actuator: there is no actuator base"),
        ({"dose_s": 11}, {}, "dosing[0].dose_s: is over max_run_s"),
        ({"target": 9.0}, {}, "dosing[0].target: is not between"),
        ({"min": 9.0}, {}, "dosing[0].min: is not below max"),
        ({"quantity": "orp"}, {}, "dosing[0].quantity: no sensor measures orp"),
        ({"direction": "sideways"}, {}, "dosing[0].direction"),
    ):
        config = dict(base, actuators=[dict(PUMPS[0], **pump)], dosing=[dict(ACID, **change)])
        error = raises(FieldError, nodeconfig.load, config)
        assert str(error).startswith(where), str(error)
