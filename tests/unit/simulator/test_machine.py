"""Timers, watchdog, resets and sleep, as MicroPython 1.24's ports/esp32 has them."""

import socket
import time

import pytest
from unit.simulator.programs import CONFIG, SOCKET, output, raised, start


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("machine.Pin(24)", "ValueError('invalid pin',)"),
        ("machine.Pin(40)", "ValueError('invalid pin',)"),
        ("machine.Pin(-1)", "ValueError('invalid pin',)"),
        ("machine.Pin(34, machine.Pin.OUT)", "ValueError('pin can only be input',)"),
        ("machine.ADC(23)", "ValueError('invalid pin',)"),
        ("machine.ADC(34).atten(4)", "ValueError('invalid atten',)"),
        ("machine.WDT(timeout=0)", "ValueError('WDT timeout too short',)"),
        ("machine.Timer(0).init(period=0)", "Timer period is too short"),
        ("machine.Timer(4)", "Timer(4) doesn't exist, there are only 4 hardware timers"),
        ("machine.freq(123)", "frequency must be"),
        ("machine.I2C(2)", "I2C(2) doesn't exist"),
        ("machine.SoftI2C(scl=22, sda=21).readfrom(99, 1)", "OSError(19,)"),
        ("machine.PWM(machine.Pin(2), freq=0)", "ValueError("),
        ("machine.RTC().memory(bytes(2049))", "ValueError('buffer too long',)"),
        ("machine.nonsense", "AttributeError"),
        ("machine.Pin(2).nonsense", "AttributeError"),
    ],
)
def test_what_machine_refuses(sim, statement, error):
    assert error in output(sim, "import machine\n" + raised(statement))[-1]


def test_a_timer_fires_while_the_program_is_busy(sim):
    lines = output(
        sim,
        """
        import machine, time
        fired = []
        def tick(timer):
            fired.append(time.ticks_ms())
        timer = machine.Timer(0)
        began = time.ticks_ms()
        timer.init(mode=machine.Timer.PERIODIC, period=50, callback=tick)
        while time.ticks_diff(time.ticks_ms(), began) < 475:
            pass
        timer.deinit()
        count = len(fired)
        time.sleep_ms(120)
        assert len(fired) == count, "fired after deinit"
        print(count, time.ticks_diff(fired[0], began))
        """,
    )
    count, first = map(int, lines[-1].split())
    assert 7 <= count <= 9
    assert 49 <= first <= 90


@pytest.mark.parametrize(
    "wait",
    [
        "time.sleep(3)",
        "time.sleep_ms(3000)",
        "poller.poll(3000)",
        "s.settimeout(3); s.recv(1)",
        "s.recv(1)",
    ],
)
def test_a_timer_fires_while_the_program_waits(sim, wait):
    """The ESP32 runs handlers while it waits for a socket, so must we: a pump's end is one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sim.broker = server.getsockname()
        node = start(
            sim,
            SOCKET
            + f"""
import select, machine
poller = select.poll()
poller.register(s, select.POLLIN)
pump = machine.Pin(26, machine.Pin.OUT, value=1)
machine.Timer(0).init(mode=machine.Timer.ONE_SHOT, period=200, callback=lambda t: pump.off())
print("waiting")
{wait}
""",
        )
        node.wait_console("waiting")
        assert node.pins[26] == 1
        began = time.monotonic()
        node.wait_pin(26, 0, timeout=2)
        assert time.monotonic() - began < 1


def test_a_handler_may_ask_while_the_program_waits_for_an_answer(sim):
    lines = output(
        sim,
        """
        import machine, time
        a, b = machine.Pin(25, machine.Pin.OUT), machine.Pin(26, machine.Pin.OUT, value=1)
        ran = [0]
        def tick(timer):
            assert b.value() == 1
            machine.reset_cause(); machine.unique_id()
            ran[0] += 1
        machine.Timer(1).init(period=3, callback=tick)
        wrong = 0
        for i in range(4000):
            a.value(i & 1)
            wrong += a.value() != i & 1
        machine.Timer(1).deinit()
        print(wrong, ran[0] > 5)
        """,
    )
    assert lines[-1] == "0 True"


def test_timer_settings_do_not_mix(sim):
    """An alarm under way when the timer is set anew must not end the new period early."""
    lines = output(
        sim,
        """
        import machine, time
        timer = machine.Timer(0)
        early = 0
        for i in range(30):
            timer.init(mode=0, period=5, callback=lambda t: None)
            end = time.ticks_add(time.ticks_ms(), 5)
            while time.ticks_diff(end, time.ticks_ms()) > 0:
                pass
            fired = []
            timer.init(mode=0, period=1000, callback=lambda t: fired.append(1))
            time.sleep_ms(10)
            early += len(fired)
        print(early)
        """,
    )
    assert lines[-1] == "0"


def test_an_unfed_watchdog_resets(sim):
    node = start(
        sim,
        """
        import machine, time
        print("cause", machine.reset_cause())
        machine.Pin(26, machine.Pin.OUT, value=1)
        wdt = machine.WDT(timeout=300)
        if machine.reset_cause() == machine.PWRON_RESET:
            for i in range(50):
                wdt.feed()
                time.sleep_ms(10)
            print("fed")
            while True:
                pass
        wdt.feed()
        time.sleep_ms(100)
        """,
    )
    node.wait_console("fed")
    assert node.restart_count == 0
    node.wait_console("cause 3")
    assert node.restart_count == 1
    # main.py ended and the REPL does not feed: again.
    node.wait(lambda: node.restart_count >= 2, 5)


def test_a_watchdog_outlives_a_soft_reset_and_can_be_given_more_time(sim):
    # ports/esp32: machine_wdt.c reconfigures the one there is; nothing in main.c stops it.
    node = start(
        sim,
        """
        import machine, time
        print("cause", machine.reset_cause())
        if machine.reset_cause() == machine.PWRON_RESET:
            machine.WDT(timeout=300)
            raise SystemExit
        if machine.reset_cause() == machine.WDT_RESET:
            machine.WDT(timeout=300)
            machine.WDT(timeout=600000)
            time.sleep_ms(600)
            print("held")
        while True:
            pass
        """,
    )
    node.wait_console("cause 5")
    node.wait_console("cause 3")
    node.wait_console("held")
    assert node.restart_count == 2


def test_reset_and_power_cut_forget_what_the_chip_forgets(sim):
    node = start(
        sim,
        """
        import machine, time
        rtc = machine.RTC()
        print("boot", machine.reset_cause(), rtc.memory(), rtc.datetime()[0])
        if machine.reset_cause() == 1:
            rtc.memory(b"kept")
            rtc.datetime((2026, 5, 1, 0, 12, 30, 0, 0))
            noon = time.mktime((2026, 5, 1, 12, 30, 0, 0, 0))
            print("year", time.gmtime()[0], time.time() - noon)
            machine.Pin(26, machine.Pin.OUT, value=1)
            time.sleep_ms(100)
            machine.reset()
        machine.Pin(25, machine.Pin.OUT, value=1)
        """,
    )
    node.wait_console("year 2026 0")
    node.wait_console("boot 2 b'kept' 2026")
    node.wait_state("repl")
    assert (node.pins[26], node.pins[25]) == (0, 1)
    node.power_cut()
    assert node.state == "off" and node.pid is None and node.pins[25] == 0
    mark = node.console.mark()
    node.power_on()
    node.wait_console("boot 1 b'' 2000", since=mark)


def test_soft_reset_keeps_the_pins(sim):
    node = start(
        sim,
        """
        import machine, time
        print("cause", machine.reset_cause())
        if machine.reset_cause() == 1:
            machine.Pin(26, machine.Pin.OUT, value=1)
            machine.soft_reset()
        """,
    )
    node.wait_console("MPY: soft reboot")
    node.wait_console("cause 5")
    assert node.pins[26] == 1


def test_deepsleep(sim):
    node = start(
        sim,
        """
        import machine
        print("cause", machine.reset_cause(), machine.wake_reason())
        if machine.reset_cause() == 1:
            machine.RTC().memory(b"x")
            machine.deepsleep(300)
        print(machine.RTC().memory())
        """,
    )
    node.wait_state("sleeping")
    node.wait_console("cause 4 4")
    node.wait_console("b'x'")


def test_a_crash_drops_to_the_repl(sim):
    node = start(sim, "import machine\nmachine.Pin(26, machine.Pin.OUT, value=1)\n1 / 0\n")
    node.wait_state("repl")
    assert "ZeroDivisionError: divide by zero" in str(node.console)
    assert 'File "main.py", line 3' in str(node.console)
    assert not node.running and node.pid is not None
    assert node.pins[26] == 1  # nobody switched it off


def test_a_broken_boot_py_keeps_main_py_from_running(sim):
    node = sim.add(CONFIG, files={"boot.py": "import nothing", "main.py": "print('main')"})
    node.start()
    node.wait_state("repl")
    assert "ImportError" in str(node.console) and "main\n" not in str(node.console)


def test_disabled_interrupts_come_later(sim):
    lines = output(
        sim,
        """
        import machine, time
        fired = []
        state = machine.disable_irq()
        machine.Timer(0).init(mode=0, period=20, callback=lambda t: fired.append(1))
        time.sleep_ms(100)
        print(len(fired))
        machine.enable_irq(state)
        time.sleep_ms(50)
        print(len(fired))
        """,
    )
    assert lines == ["0", "1"]
