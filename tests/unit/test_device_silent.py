"""A board of which no REPL answers, on a pseudo-terminal: what `Device` says, and how soon."""

import os
import pty
import threading
import tty
from collections.abc import Callable, Iterator

import pytest

from fieldhand.device import serial
from fieldhand.device.errors import DeviceError
from fieldhand.device.ports import PortError
from fieldhand.device.serial import Device


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(serial, "_ATTENTION_S", 0.4)
    monkeypatch.setattr(serial, "_AFTER_RESET_S", 0.2)


@pytest.fixture
def board() -> Iterator[tuple[str, Callable[[Callable[[bytes], bytes]], None]]]:
    """(port, a way to say what the board answers to what it is sent)."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    talking: list[threading.Thread] = []

    def answer(reply: Callable[[bytes], bytes]) -> None:
        def talk() -> None:
            try:
                os.write(ours, reply(b""))
                while data := os.read(ours, 256):
                    os.write(ours, reply(data))
            except OSError:
                pass  # closed

        talking.append(threading.Thread(target=talk, daemon=True))
        talking[-1].start()

    yield os.ttyname(theirs), answer
    os.close(theirs)
    for thread in talking:
        thread.join(5)
    os.close(ours)


LOOP = b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "nothing is heard"),
        (LOOP, "again and again (SW_CPU_RESET)"),
        (bytes(range(128, 256)), "no text"),
        (b"ready> ", "something other than MicroPython answers ('ready> ready>"),
    ],
    ids=["silent", "boot loop", "other baud rate", "another program"],
)
def test_no_repl(board, said, words):
    port, answer = board
    answer(lambda data: said)
    with pytest.raises(DeviceError) as raised, Device(port):
        pass
    assert words in str(raised.value) and str(raised.value).startswith(f"{port}: ")


def test_a_repl_that_falls_silent_ends_in_a_message(board, monkeypatch):
    """It says that it takes code, and never does."""
    monkeypatch.setattr(serial, "_STEP_S", 0.2)
    port, answer = board
    raw = b"raw REPL; CTRL-B to exit\r\n>"
    answer(lambda data: raw if data.endswith(b"\x01") and b"\x05" not in data else b"")
    with pytest.raises(DeviceError, match="does nothing that it is told"), Device(port):
        pass


def test_a_port_that_is_taken(board):
    port, answer = board
    other = wire_of(port)
    try:
        with pytest.raises(PortError, match="in use"), Device(port):
            pass
    finally:
        other.close()


def test_a_port_that_is_not_there():
    with pytest.raises(PortError, match="no such port"), Device("/dev/ttyNONE9"):
        pass


def wire_of(port):
    from fieldhand.device.wire import Wire

    return Wire(port)
