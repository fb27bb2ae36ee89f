"""What a board that does not answer says by what it prints instead."""

from __future__ import annotations

from fieldhand.device import bootlog

_SAYS_MOST = 80  # characters of a stranger's line that are shown
_LOOP = 2  # starts heard within the few seconds that we listen


def of_silence(heard: bytes) -> str:
    """What is wrong with a board of which no REPL answered and `heard` came instead."""
    if not heard.strip(b"\0\r\n "):
        return (
            "nothing is heard from the board. Is it powered, is this its port, does nothing hold "
            "GPIO0 low? Press EN; a board without MicroPython: `fieldhand flash NODE`"
        )
    text = heard.decode("utf-8", "replace")
    if bootlog.DOWNLOAD.search(text):
        return (
            "the board waits for a download: GPIO0 is held low (the BOOT button, or something "
            "wired to it). Let go of it and press EN"
        )
    if bootlog.NO_PROGRAM.search(text):
        return "there is no program on the board: `fieldhand flash NODE`"
    if bootlog.DAMAGED_PROGRAM.search(text):
        return "the program on the board is damaged: `fieldhand flash NODE` writes it anew"
    if bootlog.BROWNOUT.search(text):
        return (
            "the board's voltage breaks down (brown-out) and it starts again and again: use a "
            "shorter cable or another USB port, and feed relays and pumps from their own supply"
        )
    starts = bootlog.RESET.findall(text)
    if len(starts) >= _LOOP:
        crash = "; it crashes in the chip's own code" if bootlog.CRASH.search(text) else ""
        return (
            f"the board starts again and again ({starts[-1]}){crash} and its REPL cannot be "
            "reached: take off what is wired to it, else flash it anew: `fieldhand flash NODE`"
        )
    if garbage(heard):
        return (
            "the board sends what is no text: another baud rate than MicroPython's 115200, so "
            "another program, or a bad cable. `fieldhand flash NODE` puts MicroPython on it"
        )
    if bootlog.DAMAGED_FILES.search(text):
        return "the board's file system is damaged: `fieldhand flash NODE` makes a new one"
    if bootlog.LOGGED.search(text):
        return (
            "the node runs, but does not stop for Ctrl-C: press EN and repeat at once. Are TX "
            "and RX of another device on GPIO1 and GPIO3?"
        )
    if "raw REPL; CTRL-B" in text:
        return "its REPL answers and then does nothing that it is told: press EN and repeat"
    said = _last_line(text)
    return f"something other than MicroPython answers{said}: `fieldhand flash NODE` replaces it"


def node_lines(heard: bytes) -> list[str]:
    """The lines our firmware logs among what was heard, whole ones only."""
    lines = heard.decode("utf-8", "replace").split("\n")[:-1]
    return [line.rstrip("\r") for line in lines if bootlog.LOGGED.match(line)]


def garbage(heard: bytes) -> bool:
    """Bytes of another baud rate: few of them are printable ASCII."""
    plain = sum(byte in b"\r\n\t\x1b" or 32 <= byte < 127 for byte in heard)
    return plain < 0.7 * len(heard)


def _last_line(text: str) -> str:
    for line in reversed(text.splitlines()):
        said = "".join(c for c in line if c.isprintable()).strip()
        if said:
            return f" ('{said[:_SAYS_MOST]}')"
    return ""
