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


def last_line(sim: Simulator, program: str, chip: str = "esp32", pump: int = 26) -> str:
    config = {"node": "n1", "broker": {"host": "10.0.0.2", "port": 1883}}
    node = sim.add(config, files={"main.py": textwrap.dedent(program)}, chip=chip)
    node.start()
    node.wait_state("repl", 20)
    assert node.pins[pump] == 0
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


COUNT = """
hal = Hal()
made = []
try:
    for _ in range(9):
        made.append(hal.one_shot(60000, end))
except OSError as error:
    print(len(made), error.errno)
for timer in made:
    timer.cancel()
hal.pin_out(%d, 0)
"""


@pytest.mark.parametrize(
    ("chip", "pump", "timers"), [("esp32", 26, 4), ("esp32s3", 48, 4), ("esp32c3", 10, 2)]
)
def test_each_chip_gives_the_timers_it_has(
    sim: Simulator, chip: str, pump: int, timers: int
) -> None:
    """Numbers by ports/esp32/machine_timer.c, from SOC_TIMER_GROUP_TOTAL_TIMERS of ESP-IDF."""
    program = PROGRAM.replace("pin_out(26", f"pin_out({pump}") + COUNT % pump
    assert last_line(sim, program, chip, pump) == f"{timers} 16"


def test_the_aliases_of_micropython_1_24_on_a_c3_are_not_taken_for_timers(sim: Simulator) -> None:
    """There Timer(2) is Timer(0): a second run would put off what ends the first."""
    alias = """
timers = [machine.Timer(0), machine.Timer(1)]
class Timer:
    PERIODIC = 1
    def __new__(cls, number):
        return timers[number & 1]
machine.Timer = Timer
"""
    program = PROGRAM.replace("pin_out(26", "pin_out(10") + alias + COUNT % 10
    assert last_line(sim, program, "esp32c3", 10) == "2 16"
