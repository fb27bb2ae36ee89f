"""Partition tables, against what ESP-IDF's own tool put into MicroPython's official images."""

import hashlib

import pytest

from fieldhand.esp import ImageError, layouts, partitions
from fieldhand.esp.partitions import Partition

MB = 1 << 20
KB = 1 << 10
# The last 16 bytes of the table in ESP32_GENERIC v1.24.0 and v1.26.1, from micropython.org.
MD5 = {
    "1.24.0": "fcbb2b925747711e3b24bc188f657bac",
    "1.26.1": "8405a9bb5ce0b84c4f2ca5de9a76b050",
}
PLAIN = layouts.official("", "1.24.0", 4 * MB)
TABLE = partitions.pack(PLAIN)


@pytest.mark.parametrize("version", MD5)
def test_a_packed_table_is_the_one_in_the_official_image(version: str) -> None:
    entries = layouts.official("", version, 4 * MB)
    packed = partitions.pack(entries)
    assert packed[32 * len(entries) :][:32].hex() == "eb" * 2 + "ff" * 14 + MD5[version]
    assert packed[32 * (len(entries) + 1) :].strip(b"\xff") == b""
    assert len(packed) == 0xC00 and partitions.parse(packed + b"more of flash") == entries


def test_an_entry_is_32_bytes_as_espressif_documents_them() -> None:
    by_hand = bytes.fromhex("aa50 01 02 00900000 00600000".replace(" ", "")) + b"nvs".ljust(
        20, b"\0"
    )
    assert TABLE[:32] == by_hand
    assert partitions.find(PLAIN, "nvs") == Partition("nvs", "data", "nvs", 0x9000, 0x6000)
    assert partitions.find(PLAIN, "nvs2") is None


@pytest.mark.parametrize(
    ("variant", "version", "flash", "expected"),
    [
        # ports/esp32/partitions-4MiB.csv, -8MiB.csv and -4MiB-ota.csv of MicroPython 1.24
        ("", "1.24.0", 4, (0x200000, 0x200000)),
        ("", "1.25.0", 8, (0x200000, 0x600000)),
        ("OTA", "1.24.0", 4, (0x310000, 0xF0000)),
        # without an entry: all that is left
        ("", "1.26.0", 4, (0x200000, 0x200000)),
        ("SPIRAM", "1.28.0", 16, (0x200000, 0xE00000)),
        ("OTA", "1.28.0", 4, (0x310000, 0xF0000)),
    ],
)
def test_where_the_file_system_is(
    variant: str, version: str, flash: int, expected: tuple[int, int]
) -> None:
    place = partitions.file_system(layouts.official(variant, version, flash * MB), flash * MB)
    assert (place.offset, place.size) == expected


def test_a_flash_that_is_too_small_for_the_layout_is_said() -> None:
    for version in ("1.24.0", "1.28.0"):
        with pytest.raises(ImageError, match="larger flash.* and the flash has 2048 kB"):
            partitions.file_system(layouts.official("", version, 4 * MB), 2 * MB)
    with pytest.raises(ImageError, match="larger flash: its partitions end at 8192 kB"):
        partitions.file_system(layouts.official("", "1.24.0", 8 * MB), 4 * MB)
    fat = (*PLAIN[:3], Partition("ffat", "data", "fat", 0x200000, 0x200000))
    with pytest.raises(ImageError, match="FAT file system"):
        partitions.file_system(fat, 4 * MB)


@pytest.mark.parametrize("variant, flash", [("OTA", 8), ("", 2), ("D2WD", 2)])
def test_a_layout_nobody_looked_up_is_not_guessed(variant: str, flash: int) -> None:
    with pytest.raises(ImageError, match="name the image"):
        layouts.official(variant, "1.24.0", flash * MB)


def test_every_bit_that_flips_in_a_table_is_found() -> None:
    length = 32 * (len(PLAIN) + 1)
    for bit in range(length * 8):
        damaged = bytearray(TABLE)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ImageError, match="partition table is (damaged|not there)"):
            partitions.parse(bytes(damaged))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is cut off"),
        (TABLE[:70], "is cut off"),
        (b"\xff" * 4096, "only erased flash"),
        (b"\xe9" + bytes(4095), "is not there"),
    ],
)
def test_what_is_no_table_is_said(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        partitions.parse(data)


def test_a_table_of_old_has_no_md5() -> None:
    entries = TABLE[: 32 * len(PLAIN)]
    assert partitions.parse(entries.ljust(0xC00, b"\xff")) == PLAIN


def test_kinds_without_a_name_keep_their_number() -> None:
    entry = bytes.fromhex("aa504005") + bytes(8) + b"mine".ljust(16, b"\0") + bytes(4)
    md5 = b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(entry).digest()
    (found,) = partitions.parse(entry + md5)
    assert (found.kind, found.subtype) == ("0x40", "0x5")
    assert partitions.pack([found]).startswith(entry + md5)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Partition("a" * 17, "data", "nvs", 0x9000, 0x1000), "1 to 16 characters"),
        (Partition("nvs", "data", "nvs", 0x9010, 0x1000), "in the middle of a sector"),
        (Partition("nvs", "data", "neither", 0x9000, 0x1000), "'neither' is not a kind"),
        (Partition("nvs", "0x100", "nvs", 0x9000, 0x1000), "is a byte"),
    ],
)
def test_what_cannot_be_packed_is_said(part: Partition, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        partitions.pack([part])
