"""Pins, what is measured and counted at them: what MicroPython 1.24's ports/esp32 does."""

import time

import pytest
from unit.simulator.programs import CONNECT, start

from fieldhand.sim import World


def test_pins(sim):
    node = start(
        sim,
        """
        from machine import Pin
        relay = Pin(26, Pin.OUT, value=1)
        assert Pin(26) is relay and relay.value() == 1 and relay() == 1
        relay.off(); assert relay() == 0
        relay.toggle(); assert relay() == 1
        button = Pin(27, Pin.IN, Pin.PULL_UP)
        print("button", button.value())
        while button.value():
            pass
        print("pressed")
        """,
    )
    node.wait_console("button 1")
    assert node.pins[26] == 1
    node.set_pin(27, 0)
    node.wait_console("pressed")


def test_active_low_relays_are_off_while_nobody_drives_them(sim):
    world = World(day_s=1e9)
    actuators = [{"name": "pump", "pin": 26, "max_run_s": 9, "active_low": True}]
    node = start(
        sim,
        "import machine, time\np = machine.Pin(26, machine.Pin.OUT, value=1)\n"
        "time.sleep_ms(100)\np.off()\nprint('on')\n",
        {"actuators": actuators},
        world=world,
    )
    assert node.pins[26] == 1
    node.wait_console("on")
    node.wait(lambda: world.pumped_ml > 0, 2)
    node.power_cut()
    pumped = world.pumped_ml
    time.sleep(0.1)
    assert node.pins[26] == 1 and world.pumped_ml == pumped


def test_adc(sim):
    world = World(day_s=1e9, soil_moisture=50)
    sensor = {"type": "analog", "quantity": "soil_moisture", "pin": 34, "raw": [3200, 1300]}
    node = start(
        sim,
        CONNECT.replace("wlan.connect", "print(machine.ADC(4).read() >= 0)\nwlan.connect", 0)
        + """
import machine
adc = machine.ADC(machine.Pin(34), atten=machine.ADC.ATTN_11DB)
print(adc.read(), adc.read_u16(), adc.read_uv() // 1000, machine.ADC(34).read())
try:
    machine.ADC(4).read()
except OSError as e:
    print(repr(e))
wlan.active(False)
print(machine.ADC(4).read())
""",
        {"sensors": [{**sensor, "value": [0, 100]}]},
        world=world,
    )
    node.wait_state("repl")
    assert node.console.lines() == [
        f"2250 {2250 << 4 | 2250 >> 8} {2250 * 3300 // 4095} 4095",
        "OSError(116, 'ESP_ERR_TIMEOUT')",
        "0",
    ]


def test_pwm_is_seen_from_outside(sim):
    node = start(
        sim,
        "import machine\nled = machine.PWM(machine.Pin(2), freq=1000, duty_u16=0)\n"
        "led.duty(512)\nprint(led.duty(), led.duty_u16(), led.freq())\n",
    )
    node.wait_console("512 32768 1000")
    assert node.pwm(2) == (1000, 32768)


def test_pulses_reach_the_handler(sim):
    node = start(
        sim,
        """
        import machine, time
        count = [0]
        def edge(pin):
            count[0] += 1
        machine.Pin(27, machine.Pin.IN).irq(edge, machine.Pin.IRQ_RISING)
        print("ready")
        while count[0] < 25:
            time.sleep_ms(10)
        print("counted")
        """,
        {"sensors": [{"type": "pulse", "quantity": "wind_speed", "pin": 27, "per_pulse": 2.4}]},
        world=World(wind_speed=0),
    )
    node.wait_console("ready")
    for _ in range(5):
        node.set_pin(27, 1)
        node.set_pin(27, 0)
    node.world.wind_speed = 240  # 100 pulses a second
    node.wait_console("counted", timeout=3)


def test_a_flow_meter_follows_the_pump_on_its_line_and_a_relay_may_stick(sim):
    node = start(
        sim,
        """
        import machine, time
        count = [0]
        def edge(pin):
            count[0] += 1
        machine.Pin(27, machine.Pin.IN).irq(edge, machine.Pin.IRQ_RISING)
        pump = machine.Pin(26, machine.Pin.OUT, value=0)
        time.sleep_ms(300)
        print("off", count[0])
        pump.on()
        while count[0] < 20:
            time.sleep_ms(10)
        pump.off()
        print("counted")
        time.sleep_ms(300)
        count[0] = 0
        print("ready")
        while count[0] < 20:
            time.sleep_ms(10)
        print("stuck")
        """,
        {
            "sensors": [
                {"type": "pulse", "quantity": "flow_rate", "pin": 27, "pulses_per_litre": 4000}
            ],
            "actuators": [{"name": "pump", "pin": 26, "max_run_s": 9, "flow_meter": 27}],
        },
        world=World(),
    )
    assert node.wait_console("off") == "off 0"
    node.wait_console("counted")
    node.wait_console("ready")
    node.faults.relay("pump", "stuck")
    node.wait_console("stuck")
    assert node.pins[26] == 0
    node.faults.clear()
    assert node.world.flow_rate == 0
    with pytest.raises(KeyError, match="valve"):
        node.faults.relay("valve", "stuck")
    with pytest.raises(ValueError, match="relay fault 'wet' is not one of ok, stuck, dead"):
        node.faults.relay("pump", "wet")


def test_fast_pulses_are_not_lost(sim):
    node = start(
        sim,
        """
        import machine, time
        count = [0]
        def edge(pin):
            count[0] += 1
        machine.Pin(27, machine.Pin.IN).irq(edge, machine.Pin.IRQ_RISING)
        print("ready")
        rates = []
        for _ in range(7):
            before = count[0]
            time.sleep_ms(400)
            rates.append(count[0] - before)
        rates.sort()
        print("rate", rates[3] * 1000 // 400)
        """,
        {"sensors": [{"type": "pulse", "quantity": "wind_speed", "pin": 27, "per_pulse": 1}]},
        world=World(wind_speed=500),
    )
    rate = int(node.wait_console("rate", 60).split()[1])
    # 500 a second, the median of seven: a busy machine stands still at times. A pulse a tick
    # would be 50.
    assert 150 < rate < 1000
