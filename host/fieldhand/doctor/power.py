"""Why the board started, and whether its supply holds.

MicroPython calls a brown-out a power-on (ports/esp32/modmachine.c, `mp_machine_reset_cause`). The
chip's own register tells them apart until the next reset: a power-on is 1 there; a brown-out is 15,
or, where ESP-IDF's interrupt restarts the chip, a software reset (12). By it the node counts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieldhand.device import bootlog
from fieldhand.doctor.findings import Finding, fail, ok, warn

_POWER_ON = 1
_BROWN_OUT = 15
_WORDS = {
    "PWRON": "power-on or EN button",
    "HARD": "restart by software, or a crash of the firmware",
    "WDT": "watchdog",
    "DEEPSLEEP": "deep sleep",
    "SOFT": "restart of MicroPython alone; what was before is not known",
}
_WEAK = (
    "Use a short cable and a supply of 1 A, put 470 uF across 5 V and GND, and feed relays and "
    "pumps from a supply of their own"
)
CRASH_LIMIT = 3  # fieldnode/crashes.py: then safe mode


def judge(result: Mapping[str, Any]) -> Iterator[Finding]:
    yield _reset(result)
    strikes, count, text = _crashes(result.get("crashes", ""))
    boots = result.get("boot")
    starts = f"{boots} starts so far" if boots else "never started as a node"
    if strikes >= CRASH_LIMIT - 1 and count >= CRASH_LIMIT:
        last = text.strip().splitlines()[-1] if text.strip() else "no traceback"
        yield fail(
            "crashes",
            f"{count} in a row, last: {last}",
            "The node is in safe mode and moves nothing: see `fieldhand logs` for the traceback",
            crashes=count,
        )
    elif count:
        yield warn(
            "crashes",
            f"{count} in a row; {starts}",
            "Look at the traceback with `fieldhand logs`",
            crashes=count,
        )
    else:
        yield ok("crashes", f"none; {starts}", crashes=0)


def _reset(result: Mapping[str, Any]) -> Finding:
    cause, rom = str(result.get("cause", "unknown")), result.get("rom")
    count = int(result["brownouts"]) if str(result.get("brownouts", "")).isdigit() else 0
    data = {"cause": cause, "rom": rom, "brownouts": count}
    so_far = f"; {count} brown-out{'' if count == 1 else 's'} so far" if count else ""
    if rom == _BROWN_OUT or cause == "PWRON" and rom not in (None, _POWER_ON):
        text = f"the last start was a brown-out: the voltage broke down{so_far}"
        return fail("power", text, _WEAK, **data)
    word = _WORDS.get(cause, "unknown")
    if cause == "WDT":
        advice = "The loop hung, or C code did: look at `fieldhand logs` for what came before"
        return warn("power", f"started by its {word}", advice, **data)
    known = "" if cause != "PWRON" or rom else "; a brown-out would look the same here"
    if count:
        return warn("power", f"started by {word}{so_far}", _WEAK, **data)
    return ok("power", f"started by {word}{known}, no brown-out so far", **data)


def _crashes(kept: str) -> tuple[int, int, str]:
    """(strikes, count, traceback) of the text in NVS, see fieldnode/crashes.py."""
    parts = kept.split(" ", 3)
    try:
        return int(parts[0]), int(parts[1]), parts[3]
    except (ValueError, IndexError):
        return 0, 0, ""


def restarted(console: str) -> str | None:
    """What a board that started again in the middle of a check says of it, None if it did not."""
    if bootlog.BROWNOUT.search(console) or "RTCWDT_BROWN_OUT_RESET" in console:
        return f"the supply broke down (brown-out). {_WEAK}"
    return None
