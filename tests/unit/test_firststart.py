"""What a board says at its start, told in a maker's words.

The lines of the chip are those printed by ESP32s, as ESP-IDF's and esptool's documentation quote
them ("Boot Log", "Fatal Errors").
"""

import os
import pty
import re
import threading

import pytest
import serial

from fieldhand.flashing.firststart import Start, Watcher, watch

RESET = (
    "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
)
LOADED = "configsip: 0, SPIWP:0xee\r\nload:0x3fff0030,len:4892\r\nentry 0x400805b0\r\n"


def judge(*texts):
    watcher = Watcher()
    for text in texts:
        found = watcher.feed(text.encode())
        if found is not None:
            return found
    return watcher.silence()


def test_a_node_that_says_it_runs():
    assert judge(RESET, LOADED, "I 3.120 greenhouse speaks plantnanny\r\n") == Start(True, None)


def test_bytes_of_another_rate_and_cut_lines_do_not_matter():
    found = judge("\x80\xff\x00", RESET, "I 3.120 greenhouse spe", "aks plantnanny\r\n")
    assert found == Start(True, None)


def test_what_a_running_node_complains_of_is_told():
    found = judge(
        "E 3.000 node.json: interval_ms: is not a number\r\nI 3.1 x\r\n",
        "I 3.120 greenhouse speaks plantnanny\r\n",
    )
    assert found == Start(True, "node.json: interval_ms: is not a number")


def test_a_node_that_refuses_its_configuration():
    found = judge(RESET, "E 2.900 node.json cannot be read: ENOENT\r\n")
    assert found == Start(False, "node.json cannot be read: ENOENT")


def test_a_node_that_crashes_is_told_with_the_reason():
    found = judge(
        "E 2.900 the node crashed:\r\n",
        'Traceback (most recent call last):\r\n  File "fieldnode/start.py", line 41, in main\r\n',
        "MemoryError: memory allocation failed, allocating 4096 bytes\r\n",
    )
    assert not found.running
    assert "MemoryError: memory allocation failed" in found.trouble


LOOPS = [
    ("invalid header: 0xffffffff\r\n" * 8, "no program in its flash"),
    ("Brownout detector was triggered\r\n", "supply voltage"),
    (
        "E (31) spi_flash: Detected size(4096k) smaller than the size in the binary image "
        "header(8192k). Probe failed.\r\n",
        "flash is smaller",
    ),
    ("E (95) boot: No bootable app partitions in the partition table\r\n", "program .* damaged"),
    (
        "Guru Meditation Error: Core  0 panic'ed (IllegalInstruction). Exception was "
        "unhandled.\r\n",
        "MicroPython itself crashes",
    ),
    ("E (254) quad_psram: PSRAM chip is not connected, or wrong PSRAM line mode\r\n", "PSRAM"),
]


@pytest.mark.parametrize(("line", "advice"), LOOPS)
def test_a_board_that_starts_over_and_over(line, advice):
    found = judge(*[RESET, line] * 3)
    assert not found.running
    assert found.trouble.startswith("it starts over and over")
    assert re.search(advice, found.trouble)


def test_a_loop_without_a_known_reason_names_the_resets():
    again = RESET.replace("0x1 (POWERON_RESET)", "0x7 (TG0WDT_SYS_RESET)")
    assert "TG0WDT_SYS_RESET" in judge(RESET, again, again).trouble


def test_one_reset_of_its_own_is_no_loop():
    # The first start of a node may reset once, and a reset button bounces.
    found = judge(RESET, RESET, LOADED, "I 3.120 greenhouse speaks plantnanny\r\n")
    assert found.running


def test_a_prompt_without_a_node():
    assert "no node on it" in judge(RESET, "MicroPython v1.24.0 on 2024-10-25\r\n", ">>> ").trouble


def test_a_firmware_that_this_micropython_cannot_read():
    found = judge(
        "Traceback (most recent call last):\r\n",
        "ValueError: incompatible .mpy file\r\n",
        "MicroPython v1.18 on 2022-01-17; ESP32 module with ESP32\r\n>>> ",
    )
    assert "needs 1.24 or newer" in found.trouble


def test_a_damaged_file_system():
    found = judge(
        "The filesystem appears to be corrupted. If you had important data there, you\r\n"
    )
    assert "flash it again" in found.trouble


def test_a_board_in_download_mode():
    found = judge("rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT)\r\nwaiting for download\r\n")
    assert "BOOT" in found.trouble


def test_silence_and_what_was_said_last():
    assert "says nothing" in judge("").trouble
    assert '"entry 0x400805b0"' in judge(RESET, LOADED).trouble


@pytest.fixture
def line():
    master, slave = pty.openpty()
    with serial.Serial(os.ttyname(slave), 115200) as console:
        os.close(slave)
        yield master, console
    os.close(master)


def test_an_error_right_after_the_node_said_it_runs_is_heard(line):
    master, console = line

    def speak():
        os.write(master, b"I 3.120 greenhouse speaks plantnanny\r\n")
        os.write(master, b"E 3.130 safe mode after 3 crashes\r\n")

    thread = threading.Thread(target=speak)
    thread.start()
    assert watch(console) == Start(True, "safe mode after 3 crashes")
    thread.join()


def test_waiting_ends(line):
    assert watch(line[1], deadline_s=0.2).running is False
