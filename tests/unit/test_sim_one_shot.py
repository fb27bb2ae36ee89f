"""A run's hardware timer on the firmware's own Hal: on the dot, and certain."""

import textwrap
from collections.abc import Iterator

import pytest

from fieldhand.sim import Simulator

PROGRAM = """
import machine, micropython, time
from fieldnode.hal import Hal
hal = Hal()
pump = hal.pin_out(26, 1)
began = time.ticks_ms()
ended = []
def end(timer):
    pump.value(0)
    ended.append(time.ticks_diff(time.ticks_ms(), began))
"""
# No handler runs while another does: what comes meanwhile waits in a queue, which is full here.
BLOCK = """
def block(until):
    try:
        while True:
            micropython.schedule(id, None)
    except RuntimeError:  # full
        pass
    while time.ticks_diff(time.ticks_ms(), began) < until:
        pass
"""


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(boot_delay=0.05, wifi_delay=0.02) as simulator:
        yield simulator


def last_line(sim: Simulator, program: str) -> str:
    config = {"node": "n1", "broker": {"host": "10.0.0.2", "port": 1883}}
    node = sim.add(config, files={"main.py": textwrap.dedent(program)})
    node.start()
    node.wait_state("repl", 20)
    assert node.pins[26] == 0
    return node.console.lines()[-1]


@pytest.mark.parametrize("ms", [1, 40, 499, 500, 777, 1300])
def test_it_ends_on_the_dot_and_once(sim: Simulator, ms: int) -> None:
    program = f"""
hal.one_shot({ms}, end)
time.sleep_ms({ms} + 700)
print(len(ended), ended[0])
"""
    count, took = map(int, last_line(sim, PROGRAM + program).split())
    assert count == 1 and took >= ms  # how much later is the machine's affair


def test_a_lost_alarm_comes_again_though_the_loop_hangs(sim: Simulator) -> None:
    program = """
hal.one_shot(600, end)
time.sleep_ms(400)
micropython.schedule(block, 750)
while not ended:
    pass
print(len(ended), ended[0])
"""
    count, took = map(int, last_line(sim, PROGRAM + BLOCK + program).split())
    assert count == 1 and took >= 750, "the alarm at 600 ms was not lost: prove it otherwise"


def test_cancelled_it_never_fires_and_its_timer_is_free(sim: Simulator) -> None:
    program = """
for _ in range(9):
    hal.one_shot(300, end).cancel()
time.sleep_ms(700)
pump.value(0)
print(len(ended))
"""
    assert last_line(sim, PROGRAM + program) == "0"
