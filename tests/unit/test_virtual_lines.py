"""The DevKit's auto-program circuit against its schematic and the sequences of esptool."""

import pytest

from fieldhand.virtual import lines

# ESP32-DevKitC V4 schematic, "Auto program", as levels of the USB chip's outputs (low: asserted):
# DTR RTS -> EN IO0: 1 1 -> 1 1, 0 0 -> 1 1, 1 0 -> 0 1, 0 1 -> 1 0.
SCHEMATIC = {(1, 1): (1, 1), (0, 0): (1, 1), (1, 0): (0, 1), (0, 1): (1, 0)}


class Clock:
    """Of an event loop: what is to be called later, and the time."""

    def __init__(self):
        self.now, self.due = 0.0, []

    def call_later(self, delay, call):
        handle = Handle(self.now + delay, call)
        self.due.append(handle)
        return handle

    def advance(self, seconds):
        self.now += seconds
        for handle in list(self.due):
            if handle.at <= self.now and not handle.cancelled:
                handle.cancelled = True
                handle.call()


class Handle:
    def __init__(self, at, call):
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def wired():
    clock, seen = Clock(), []
    made = lines.ResetLines(
        clock,
        lambda: seen.append("held"),
        lambda download: seen.append("download" if download else "run"),
    )
    made.clock, made.seen = clock, seen
    return made


@pytest.mark.parametrize("outputs", SCHEMATIC)
def test_en_and_io0_follow_the_schematic(outputs):
    dtr, rts = (not level for level in outputs)  # True: asserted, which is low
    assert lines.levels(dtr, rts) == tuple(bool(level) for level in SCHEMATIC[outputs])


def test_esptools_classic_reset_ends_in_download_mode(wired):
    # esptool's docs, "Boot Mode Selection": D0|R1|W0.1|D1|R0|W0.05|D0
    for step in (
        {"dtr": False},
        {"rts": True},
        None,
        {"dtr": True},
        {"rts": False},
        {"dtr": False},
    ):
        wired.clock.advance(0.1) if step is None else wired.set(**step)
    assert wired.seen == ["held", "download"]


def test_a_slow_network_port_between_the_two_lines_makes_no_difference(wired):
    wired.set(rts=True)
    wired.set(dtr=True)
    wired.clock.advance(lines.EN_RISE_S * 0.9)
    wired.set(rts=False)
    assert wired.seen == ["held", "download"]


def test_both_asserted_for_long_is_a_start_from_flash(wired):
    wired.set(rts=True)
    wired.set(dtr=True)
    wired.clock.advance(lines.EN_RISE_S * 1.1)
    assert wired.seen == ["held", "run"]
    wired.set(rts=False)  # IO0 goes low while the program runs: nothing
    assert wired.seen == ["held", "run"]


def test_both_lines_at_once_reset_as_well(wired):
    # esptool's UnixTightReset: U0,0 U1,1 U0,1 W0.1 U1,0 W0.05 U0,0 (DTR, RTS).
    for dtr, rts in ((0, 0), (1, 1), (0, 1), (1, 0), (0, 0)):
        wired.set(dtr=bool(dtr), rts=bool(rts))
    assert wired.seen == ["held", "download"]


def test_a_hard_reset_runs_the_program(wired):
    wired.set(rts=True)
    wired.set(rts=False)
    assert wired.seen == ["held", "run"]


def test_opening_and_closing_a_port_resets_nothing(wired):
    # pyserial asserts DTR, then RTS; mpremote lets RTS go first.
    for step in ({"dtr": True}, {"rts": True}, {"rts": False}, {"dtr": False}):
        wired.set(**step)
    wired.set(dtr=True, rts=True)
    wired.set(dtr=False, rts=False)
    assert wired.seen == []


def test_the_boot_button_is_io0(wired):
    wired.boot_pressed = True
    wired.set(rts=True)
    wired.set(rts=False)
    assert wired.seen == ["held", "download"]
