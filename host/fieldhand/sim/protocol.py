"""What the stand-ins and the supervisor say to each other.

A request is `op, 0, size, a, b, c` (16 bytes, little-endian) and `size` bytes of payload. A reply
is `kind, 0, size, value` (8 bytes) and `size` bytes. The interrupt connection carries single
bytes from the supervisor: 0 to 48 an edge on that pin, from 64 on an alarm of a timer,
`64 + (generation << 2 | id)`.
"""

from __future__ import annotations

import struct
from enum import IntEnum

REQUEST = struct.Struct("<BxHiii")
REPLY = struct.Struct("<BxHi")
TIMER_BASE = 64


class Op(IntEnum):
    """Requests; standins/*.py hold the same numbers as constants."""

    PIN_INIT = 1
    PIN_SET = 2
    PIN_GET = 3
    PIN_IRQ = 4
    ADC = 5
    TIMER = 6
    WDT_START = 7
    WDT_FEED = 8
    RESET = 9
    I2C_READ = 10
    I2C_WRITE = 11
    I2C_MEM = 12
    I2C_SCAN = 13
    NVS_OPEN = 14
    NVS_GET = 15
    NVS_SET = 16
    NVS_COMMIT = 17
    RTC_GET = 18
    RTC_SET = 19
    RTC_MEMORY = 20
    WLAN = 21
    DHT = 22
    ONEWIRE = 23
    NTP = 24
    STATE = 25
    PWM = 26
    INFO = 27
    DAC = 28


class Reset(IntEnum):
    """`machine.reset_cause()` of the ESP32 port."""

    POWER_ON = 1
    HARD = 2
    WATCHDOG = 3
    DEEPSLEEP = 4
    SOFT = 5


class ChipError(Exception):
    """What the chip answers with; the stand-in raises it as the MicroPython exception."""

    kind = 2  # OSError

    def __init__(self, value: int = 0, text: str = "") -> None:
        super().__init__(value, text)
        self.value = value
        self.text = text


class ChipValueError(ChipError):
    kind = 3

    def __init__(self, text: str) -> None:
        super().__init__(0, text)


class SimulatorFault(ChipError):
    """A mistake in the supervisor, RuntimeError in the node."""

    kind = 4

    def __init__(self, text: str) -> None:
        super().__init__(0, text)


def reply(answer: int | bytes | ChipError | None) -> bytes:
    """The bytes that answer a request."""
    if answer is None:
        return REPLY.pack(0, 0, 0)
    if isinstance(answer, int):
        return REPLY.pack(0, 0, answer)
    if isinstance(answer, ChipError):
        text = answer.text.encode()
        return REPLY.pack(answer.kind, len(text), answer.value) + text
    return REPLY.pack(1, len(answer), 0) + answer
