"""What Ctrl-C does to a node that starts, pressed once and pressed again."""

import json
import sys


class Board:
    """A `Hal` whose pin_out is interrupted at its `at`th call, and whose NVS is when opened."""

    at = 0
    levels = {}
    calls = 0

    def pin_out(self, pin, value):
        Board.calls += 1
        if Board.calls == Board.at:
            raise KeyboardInterrupt
        Board.levels[pin] = value

    def nvs(self, namespace):
        Board.levels = {26: 1, 27: 0}  # both run: 27 is active low
        raise KeyboardInterrupt


class Module:
    Hal = Board


sys.modules["fieldnode.hal"] = Module  # which imports `machine`

from fieldnode import start  # noqa: E402


def stopped(at):
    with open("node.json", "w") as file:
        json.dump({"actuators": [{"pin": 26}, {"pin": 27, "active_low": True}]}, file)
    Board.at = at
    Board.calls = 0
    try:
        start.main()
    except KeyboardInterrupt:
        return Board.levels


def test_ctrl_c_puts_the_outputs_off():
    assert stopped(0) == {26: 0, 27: 1}


def test_ctrl_c_in_the_midst_of_that_does_not_leave_one_on():
    # Calls 1 and 2 are those of the start.
    assert stopped(3) == {26: 0, 27: 1}
    assert stopped(4) == {26: 0, 27: 1}
