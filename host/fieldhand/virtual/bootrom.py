"""What an ESP32 does before MicroPython: ROM and second-stage bootloader, and what they say.

Texts as seen on boards; formats: esptool's "Firmware Image Format", ESP-IDF's "Bootloader" and
"Partition Tables". A blank flash has the chip print `invalid header: 0xffffffff` until its watchdog
resets it, for ever.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass

from fieldhand.errors import FieldhandError
from fieldhand.esp import ImageError, partitions
from fieldhand.esp.partitions import Partition
from fieldhand.sim.protocol import Reset
from fieldhand.virtual.flash import Flash

_IMAGE_MAGIC = 0xE9
_HEADER = 24
_SEGMENT = struct.Struct("<II")
_MAX_SEGMENTS = 16
_CHECKSUM_SEED = 0xEF
_HASH_APPENDED = 23  # byte of the header
_CHIP_ID = 12
_VERSION = re.compile(rb"MicroPython v(\d+\.\d+\.\d+)")
_MACHINE = re.compile(rb"(?:Generic )?ESP32\w* module with ESP32\w*")
_BUILD = re.compile(rb"\b(ESP32_GENERIC(?:_[A-Z0-9]+)?(?:-[A-Z0-9_]+)?)\0")
_INVALID_HEADERS = 8  # lines until the watchdog comes


@dataclass(frozen=True)
class Chip:
    """`offset` of the bootloader in flash; `number` in images; `pins`: GPIOs from 0 on."""

    number: int
    offset: int
    pins: int
    greeting: str
    boot: str  # from flash
    download: str
    causes: dict[Reset, str]
    watchdog: str  # the reset that ends each round of a boot loop
    brown_out: str


_MODERN = {
    Reset.POWER_ON: "0x1 (POWERON)",
    Reset.HARD: "0xc (RTC_SW_CPU_RST)",
    Reset.WATCHDOG: "0xc (RTC_SW_CPU_RST)",
    Reset.DEEPSLEEP: "0x5 (DSLEEP)",
}
CHIPS = {
    "esp32": Chip(
        0,
        0x1000,
        40,
        "ets Jul 29 2019 12:21:46\r\n\r\n",
        "0x13 (SPI_FAST_FLASH_BOOT)",
        "0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))",
        {
            Reset.POWER_ON: "0x1 (POWERON_RESET)",
            Reset.HARD: "0xc (SW_CPU_RESET)",
            Reset.WATCHDOG: "0xc (SW_CPU_RESET)",
            Reset.DEEPSLEEP: "0x5 (DEEPSLEEP_RESET)",
        },
        "0x10 (RTCWDT_RTC_RESET)",
        "0xf (RTCWDT_BROWN_OUT_RESET)",
    ),
    "esp32s3": Chip(
        9,
        0,
        49,
        "ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\n",
        "0x8 (SPI_FAST_FLASH_BOOT)",
        "0x0 (DOWNLOAD(USB/UART0))",
        _MODERN,
        "0x7 (TG0WDT_SYS_RST)",
        "0xf (BROWNOUT_RST)",
    ),
    "esp32c3": Chip(
        5,
        0,
        22,
        "ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n",
        "0xc (SPI_FAST_FLASH_BOOT)",
        "0x4 (DOWNLOAD(USB/UART0/1))",
        _MODERN,
        "0x7 (TG0WDT_SYS_RST)",
        "0xf (BROWNOUT_RST)",
    ),
}


class BootFailure(FieldhandError):
    """The flash cannot be booted: the chip says `text`, resets, and tries again."""

    def __init__(self, text: str) -> None:
        super().__init__(text.strip().splitlines()[-1])
        self.text = text


@dataclass(frozen=True)
class Booted:
    """What the bootloader hands over to; `text` is what was said.

    `release`: what the program says of itself, as MicroPython's "version;machine;build".
    """

    text: str
    app: Partition
    release: str


def chip(name: str) -> Chip:
    """Raises FieldhandError for a chip that is not known."""
    try:
        return CHIPS[name]
    except KeyError:
        known = ", ".join(CHIPS)
        raise FieldhandError(f"chip '{name}' is not one of {known}") from None


def reset_text(chip: Chip, cause: Reset | None, *, brown_out: bool = False) -> str:
    """Number and name of a reset; `cause` None: by the watchdog of a boot loop."""
    if brown_out:
        return chip.brown_out
    return chip.watchdog if cause is None else chip.causes[cause]


def greeting(chip: Chip, reset: str, *, download: bool = False) -> str:
    """The first lines after a reset, of `reset_text`."""
    if download:
        return f"{chip.greeting}rst:{reset},boot:{chip.download}\r\nwaiting for download\r\n"
    return f"{chip.greeting}rst:{reset},boot:{chip.boot}\r\n"


def boot(chip: Chip, flash: Flash) -> Booted:
    """Bootloader, partition table, app: each checked as the chip does. Raises BootFailure."""
    said = "configsip: 0, SPIWP:0xee\r\nmode:DIO, clock div:2\r\n"
    magic = struct.unpack("<I", flash.read(chip.offset, 4))[0]
    if magic & 0xFF != _IMAGE_MAGIC:
        raise BootFailure(f"invalid header: 0x{magic:08x}\r\n" * _INVALID_HEADERS)
    room = partitions.TABLE_OFFSET - chip.offset
    segments, entry = _verify(chip, flash.read(chip.offset, room), "boot: bootloader", said)
    for address, size in segments:
        said += f"load:0x{address:08x},len:{size}\r\n"
    said += f"entry 0x{entry:08x}\r\n"
    try:
        table = partitions.parse(flash.read(partitions.TABLE_OFFSET, partitions.TABLE_SIZE))
    except ImageError as error:
        raise BootFailure(
            f"{said}E (58) flash_parts: {error}\r\n"
            "E (58) boot: Failed to verify partition table\r\n"
            "E (63) boot: load partition table error!\r\n"
        ) from None
    for part in table:
        if part.end > flash.size:
            raise BootFailure(
                f"{said}E (58) flash_parts: partition {part.name} invalid - offset "
                f"0x{part.offset:x} size 0x{part.size:x} exceeds flash chip size "
                f"0x{flash.size:x}\r\nE (63) boot: load partition table error!\r\n"
            )
    for app in _apps(table, flash):
        try:
            _verify(chip, flash.read(app.offset, app.size), f"esp_image: image at {app.offset:#x}")
        except BootFailure as failure:
            said += failure.text
            continue
        return Booted(said, app, _release(flash.read(app.offset, app.size)))
    raise BootFailure(f"{said}E (120) boot: No bootable app partitions in the partition table\r\n")


def _release(program: bytes) -> str:
    version = _VERSION.search(program)
    machine = _MACHINE.search(program)
    build = _BUILD.search(program)
    found = (version and version[1], machine and machine[0], build and build[1])
    return ";".join(part.decode() if part else "" for part in found)


def _apps(table: tuple[Partition, ...], flash: Flash) -> list[Partition]:
    """App partitions in the order in which they are tried."""
    slots = sorted(
        (part for part in table if part.kind == "app" and part.subtype.startswith("ota_")),
        key=lambda part: int(part.subtype[4:]),
    )
    factory = [part for part in table if part.subtype == "factory" and part.kind == "app"]
    data = next((part for part in table if (part.kind, part.subtype) == ("data", "ota")), None)
    if not slots or data is None:
        return factory + slots
    newest = 0
    for number in range(2):
        entry = flash.read(data.offset + number * 4096, 32)
        sequence, _, state, crc = struct.unpack("<I20sII", entry)
        # ESP_OTA_IMG_INVALID and _ABORTED: tried, and found bad.
        if zlib.crc32(entry[:4], 0xFFFFFFFF) == crc and state not in (3, 4):
            newest = max(newest, sequence) if sequence != 0xFFFFFFFF else newest
    if not newest:
        return factory + slots
    first = (newest - 1) % len(slots)
    return slots[first:] + slots[:first] + factory


def _verify(
    chip: Chip, data: bytes, what: str, said: str = ""
) -> tuple[list[tuple[int, int]], int]:
    """(segments as (address, size), entry point). Raises BootFailure."""

    def bad(text: str) -> BootFailure:
        return BootFailure(f"{said}E (71) {what} {text}\r\n")

    magic, count = data[0], data[1]
    if magic != _IMAGE_MAGIC:
        raise bad(f"has invalid magic byte 0x{magic:02x} (nothing flashed here?)")
    number = struct.unpack_from("<H", data, _CHIP_ID)[0]
    if number != chip.number:
        raise bad(f"requires chip id {number}, this is chip id {chip.number}")
    at, check, segments = _HEADER, _CHECKSUM_SEED, []
    for _ in range(count if count <= _MAX_SEGMENTS else 0):
        if at + _SEGMENT.size > len(data):
            raise bad("is cut off")
        address, size = _SEGMENT.unpack_from(data, at)
        at += _SEGMENT.size
        if size > len(data) - at:
            raise bad(f"has invalid segment length 0x{size:x}")
        check ^= _xor(data[at : at + size])
        segments.append((address, size))
        at += size
    at |= 15  # the checksum is the last byte of a block of 16
    if at >= len(data) or check != data[at]:
        raise bad(f"Checksum failed. Calculated 0x{check:x}")
    end = at + 1
    if data[_HASH_APPENDED] == 1 and hashlib.sha256(data[:end]).digest() != data[end : end + 32]:
        raise bad("hash failed - image is corrupt")
    return segments, struct.unpack_from("<I", data, 4)[0]


def _xor(data: bytes) -> int:
    """All bytes of `data` XORed."""
    while len(data) > 1:
        half = len(data) // 2
        left = int.from_bytes(data[:half]) ^ int.from_bytes(data[half : 2 * half])
        data = left.to_bytes(half) + data[2 * half :]
    return data[0] if data else 0
