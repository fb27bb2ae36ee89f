"""What a board that does not answer is told to be, by what real ones print."""

import random

import pytest

from fieldhand.device import symptoms

# From an ESP32's ROM and ESP-IDF's second stage, as their documentation shows them.
BOOT = (
    b"ets Jul 29 2019 12:21:46\r\n\r\nrst:%b,boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
    b"configsip: 0, SPIWP:0xee\r\nmode:DIO, clock div:2\r\nload:0x3fff0030,len:4892\r\n"
)
PANIC = b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r\n"
# 115200 baud read at 74880, as an ESP8266's boot message is, and the like.
GARBAGE = random.Random(1).randbytes(600)


@pytest.mark.parametrize(
    ("heard", "words", "advice"),
    [
        (b"", "nothing is heard", "Press EN"),
        (b"\0\0\0", "nothing is heard", "Press EN"),
        (
            b"rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\r\n"
            b"waiting for download\r\n",
            "waits for a download",
            "GPIO0",
        ),
        (
            BOOT % b"0x10 (RTCWDT_RTC_RESET)" + b"invalid header: 0xffffffff\r\n" * 9,
            "no program",
            "fieldhand flash",
        ),
        ((BOOT % b"0xc (SW_CPU_RESET)") * 5, "again and again (SW_CPU_RESET)", "fieldhand flash"),
        (
            (PANIC + BOOT % b"0xc (SW_CPU_RESET)") * 3,
            "crashes in the chip's own code",
            "fieldhand flash",
        ),
        (
            (b"Brownout detector was triggered\r\n" + BOOT % b"0xf (RTCWDT_BROWN_OUT_RESET)") * 3,
            "brown-out",
            "shorter cable",
        ),
        (GARBAGE, "no text", "baud rate"),
        (
            b"The filesystem appears to be corrupted. If you had important data there, you\r\n",
            "file system is damaged",
            "fieldhand flash",
        ),
        (b"I 12.345 greenhouse speaks plantnanny\r\n", "does not stop for Ctrl-C", "EN"),
        (b"Hello from Arduino\r\nT=21.5\r\n", "something other than MicroPython", "'T=21.5'"),
        (  # after the one reset of our own
            BOOT % b"0x1 (POWERON_RESET)" + b"Hello from Arduino\r\n",
            "something other than MicroPython",
            "'Hello from Arduino'",
        ),
        (
            BOOT % b"0x3 (SW_RESET)" + b"E (95) boot: No bootable app partitions in the table\r\n",
            "damaged",
            "fieldhand flash",
        ),
    ],
)
def test_each_symptom_says_what_it_is_and_what_to_do(heard, words, advice):
    told = symptoms.of_silence(heard)
    assert words in told and advice in told
    assert "\n" not in told


def test_text_with_accents_is_no_garbage():
    assert not symptoms.garbage("I 3.100 pool 21,5 °C, pH 7,2 µS/cm\r\n".encode() * 9)
