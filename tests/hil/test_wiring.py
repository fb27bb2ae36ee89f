"""The board's own hardware, by the jumpers of its file ([hil] in boards/*.toml)."""

import json
from collections.abc import Callable, Iterator

import pytest
from hil.bench import Bench

from fieldhand.device.serial import Device

Record = Callable[[str, object], None]
OLDEST = (1, 24)


@pytest.fixture(scope="module")
def device(bench: Bench) -> Iterator[Device]:
    """The REPL; the node is stopped while these tests run, and starts again after them."""
    with bench.device() as found:
        yield found
        found.reset()


def test_the_interpreter_is_new_enough(device: Device, record_property: Record) -> None:
    """MicroPython is new enough"""
    told = device.exec("import sys; print(*sys.implementation.version[:3])").split()
    record_property("micropython", ".".join(told))
    assert tuple(map(int, told[:2])) >= OLDEST


@pytest.mark.parametrize("level", [1, 0])
def test_the_relays_output_is_the_inputs_level(bench: Bench, device: Device, level: int) -> None:
    """What the relay's output is set to, the looped input reads"""
    told = device.exec(
        "from machine import Pin\n"
        f"Pin({bench.hil.relay_output}, Pin.OUT, value={level})\n"
        f"print(Pin({bench.hil.relay_input}, Pin.IN).value())"
    )
    assert int(told) == level


def test_a_hardware_timer_ends_a_run_though_the_loop_hangs(
    bench: Bench, device: Device, record_property: Record
) -> None:
    """A hardware timer puts the output off though the program hangs"""
    told = device.exec(
        "from machine import Pin\n"
        "from time import ticks_diff, ticks_ms\n"
        "from fieldnode.hal import Hal\n"
        "hal = Hal()\n"
        f"out = hal.pin_out({bench.hil.relay_output}, 1)\n"
        f"line = Pin({bench.hil.relay_input}, Pin.IN)\n"
        "start = ticks_ms()\n"
        "hal.one_shot(500, lambda timer: out.value(0))\n"
        "while line.value() and ticks_diff(ticks_ms(), start) < 5000: pass\n"
        "print(ticks_diff(ticks_ms(), start))",
        timeout=20,
    )
    assert 500 <= int(told) < 5000
    record_property("ended_after_ms", int(told))


def test_the_adc_follows_the_dac(bench: Bench, device: Device, record_property: Record) -> None:
    """The ADC follows what the board's other analog pin puts out"""
    hil = bench.hil
    source = (
        f"from machine import DAC; set = DAC(Pin({hil.analog_output})).write"
        if hil.analog_source == "dac"
        else f"from machine import PWM; pwm = PWM(Pin({hil.analog_output}), freq=20000)\n"
        "set = lambda level: pwm.duty_u16(level * 257)"
    )
    told = device.exec(
        "from machine import ADC, Pin\n"
        "from time import sleep_ms\n"
        f"{source}\n"
        f"adc = ADC(Pin({hil.analog_input}), atten=ADC.ATTN_11DB)\n"
        "found = []\n"
        "for level in (26, 77, 128, 179, 230):\n"  # tenths of 3.3 V: 1, 3, 5, 7, 9
        "    set(level); sleep_ms(50)\n"
        "    found.append(sum(adc.read_uv() for i in range(8)) // 8000)\n"
        "print(found)"
    )
    millivolts = json.loads(told)
    record_property("adc_mv", millivolts)
    assert millivolts == sorted(millivolts)
    # 3.3 V * 128 / 255; the ESP32's DAC and ADC, uncalibrated, are each some per cent off.
    assert millivolts[2] == pytest.approx(1656, rel=0.15)
