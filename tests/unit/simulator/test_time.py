"""The clock and the ticks, as MicroPython 1.24's ports/esp32 has them."""

from unit.simulator.programs import CONNECT, output, raised, start


def test_time_begins_in_2000(sim):
    lines = output(
        sim,
        """
        import time
        print(time.time() < 3, type(time.time()), time.gmtime(0), len(time.localtime()))
        for t in ((2000, 1, 1, 0, 0, 0, 0, 0), (2024, 2, 29, 12, 34, 56, 0, 0),
                  (2026, 12, 31, 23, 59, 59, 0, 0), (2025, 14, 1, 0, 0, 0, 0, 0)):
            print(time.gmtime(time.mktime(t)))
        """,
    )
    assert lines == [
        "True <class 'int'> (2000, 1, 1, 0, 0, 0, 5, 1) 8",
        "(2000, 1, 1, 0, 0, 0, 5, 1)",
        "(2024, 2, 29, 12, 34, 56, 3, 60)",
        "(2026, 12, 31, 23, 59, 59, 3, 365)",
        "(2026, 2, 1, 0, 0, 0, 6, 32)",
    ]


def test_ticks_can_wrap_as_on_the_chip(sim):
    lines = output(
        sim,
        """
        import time
        a = time.ticks_ms()
        time.sleep_ms(600)
        b = time.ticks_ms()
        print(b < a, 590 < time.ticks_diff(b, a) < 800, time.ticks_add(a, 2 ** 29) < 2 ** 30)
        """,
        ticks_start=2**30 - 500,
    )
    assert lines == ["True True True"]


def test_ntp(sim):
    sim.wall_clock = lambda: 1767225600.7
    program = (
        raised("import ntptime; ntptime.time()")
        + CONNECT
        + "ntptime.settime()\nprint(time.gmtime()[:6])\n"
        + "began = time.ticks_ms()\nprint('down')\ntime.sleep_ms(300)"
        + raised("ntptime.time()")
    )
    node = start(sim, program)
    node.wait_console("down")
    node.faults.ntp(False)
    node.wait_state("repl")
    assert node.console.lines() == [
        "OSError(-202,)",
        "(2026, 1, 1, 0, 0, 0)",
        "down",
        "OSError(116,)",
    ]
