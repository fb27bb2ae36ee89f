"""MicroPython's image: what it is, and every way in which a file can be another one.

The images here are made by esptool's classes; that the official ones read as they should, and that
damage to each is found, was tried with those of 1.24 to 1.28 for ESP32, S3 and C3.
"""

import dataclasses
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from fieldhand import paths
from fieldhand.esp import ImageError, image, layouts, partitions

MB = 1 << 20
BANNER = b"\0MicroPython v%s on 2024-10-25\0"
FROZEN = b"\0ntptime.py\0umqtt/simple.py\0"


def made(
    chip: str = "esp32",
    *,
    version: str = "1.24.0",
    variant: str = "",
    texts: bytes = FROZEN,
    banner: bytes = BANNER,
) -> bytes:
    content = image.app_descriptor() + (banner % version.encode() if banner else b"") + texts
    return image.pack(
        chip,
        image.program(chip, b"second stage bootloader " * 50, in_flash=False),
        layouts.official(variant, version.partition("-")[0], 4 * MB),
        image.program(chip, content + bytes(2000), in_flash=True),
    )


GOOD = made()
TABLE = 0x7000  # in the file: it begins with what belongs at 0x1000
APP = 0xF000


@pytest.mark.parametrize("chip, offset", [("esp32", 0x1000), ("esp32s3", 0), ("esp32c3", 0)])
def test_each_chip_has_its_bootloader_where_it_looks_for_it(chip: str, offset: int) -> None:
    found = image.read(made(chip))
    assert (found.chip, found.offset, found.version) == (chip, offset, "1.24.0")
    assert (found.build, found.variant, found.psram) == (None, "", False)
    assert found.partitions == layouts.official("", "1.24.0", 4 * MB)
    assert {"ntptime.py", "umqtt/simple.py"} <= found.frozen
    assert found.program.offset == 0x10000 and found.size == len(made(chip))
    assert found.file_system(4 * MB).offset == 0x200000


@pytest.mark.parametrize(
    ("chip", "texts", "variant", "expected"),
    [
        ("esp32", b"", "OTA", (None, "OTA", False)),
        ("esp32", b"\0esp_psram\0", "", (None, "SPIRAM", True)),
        ("esp32", b"\0ESP32_GENERIC\0", "", ("ESP32_GENERIC", "", False)),
        ("esp32", b"\0ESP32_GENERIC-OTA\0", "OTA", ("ESP32_GENERIC-OTA", "OTA", False)),
        ("esp32", b"\0ESP32_GENERIC-UNICORE\0", "", ("ESP32_GENERIC-UNICORE", "UNICORE", False)),
        ("esp32s3", b"\0ESP32_GENERIC_S3\0esp_psram\0", "", ("ESP32_GENERIC_S3", "", True)),
        ("esp32s3", b"\0PHY_GENERIC\0", "", (None, "", False)),
    ],
)
def test_the_variant_shows_by_its_name_or_by_what_is_in_it(
    chip: str, texts: bytes, variant: str, expected: tuple[str | None, str, bool]
) -> None:
    found = image.read(made(chip, texts=texts, variant=variant))
    assert (found.build, found.variant, found.psram) == expected


def test_a_preview_counts_as_its_release() -> None:
    banner = b"\0MicroPython v1.25.0-preview.12.gabcdef on 2025-01-01\0 %s"
    assert image.read(made(banner=banner)).version == "1.25.0"


def test_esptool_takes_what_is_packed_for_an_image(tmp_path: Path) -> None:
    part = tmp_path / "app.bin"
    part.write_bytes(GOOD[APP:])
    command = [sys.executable, "-m", "esptool", "image-info", str(part)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Detected image type: ESP32" in said and "(valid)" in said and "invalid" not in said
    assert "Project name: micropython" in said and "ESP-IDF: v5.2.2" in said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"\xe9", "cut off after a few bytes"),
        (b"hello", "no image for an ESP32"),
        (b"<!DOCTYPE html>...", "a web page"),
        (b"\x7fELF" + bytes(100), "an .elf file"),
        (b"UF2\n" + bytes(600), "a .uf2 file"),
        (b"PK\x03\x04" + bytes(100), "a .zip file"),
        (GOOD[APP:], r"an app image \(\.app-bin\).* take the full \.bin"),
        (b"\xff" * 0x1000 + GOOD, "leave out the first 4096 bytes"),
        (b"\xe9" * 0x9000, "unknown chip, number 59881"),
        (made(banner=b""), "an image for esp32, but no MicroPython"),
    ],
)
def test_a_file_that_is_none_is_named_with_what_to_take(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        image.read(data)


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (30, "cut off after a few bytes"),
        (5000, "ends before the partition table: it is cut off"),
        (TABLE, "ends before the partition table"),
        (TABLE + 50, "the partition table is cut off"),
        (TABLE + 150, "the partition table is damaged: its MD5"),
        (APP, "ends before the program: it is cut off"),
        (APP + 1, "the program in the image is cut off"),
        (APP + 1000, "the program in the image is cut off"),
        (len(GOOD) - 33, "the program in the image is cut off"),
        (len(GOOD) - 1, r"the program in the image is cut off or damaged.*SHA-256"),
    ],
)
def test_a_file_cut_off_anywhere_is_said(length: int, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        image.read(GOOD[:length])


def test_a_bit_that_flips_anywhere_that_matters_is_found() -> None:
    boot = len(image.program("esp32", b"second stage bootloader " * 50, in_flash=False))
    parts = (range(boot), range(TABLE, TABLE + 32 * 5), range(APP, APP + 400))
    for at in [*(at for part in parts for at in part), len(GOOD) - 1, len(GOOD) - 40]:
        damaged = bytearray(GOOD)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(ImageError):
            image.read(bytes(damaged))


def test_a_program_larger_than_its_partition_is_said() -> None:
    small = [dataclasses.replace(p, size=0x400) for p in layouts.official("", "1.24.0", 4 * MB)]
    table = partitions.pack(small)
    with pytest.raises(ImageError, match=r"has 24\d\d bytes, and its partition 'factory' 1024"):
        image.read(GOOD[:TABLE] + table + GOOD[TABLE + len(table) :])


def test_another_chip_is_named() -> None:
    found = image.read(GOOD)
    found.check_chip("esp32")
    with pytest.raises(ImageError, match="is for ESP32, and the board has ESP32-S3: take one for"):
        found.check_chip("esp32s3")
    assert image.chip_title("sim") == "sim"


@pytest.mark.parametrize("variant, size", [("", 0x6000), ("OTA", 0x4000)])
def test_nvs_lies_in_the_hole_it_has_in_the_image(variant: str, size: int) -> None:
    data = made(variant=variant)
    regions = image.regions(data, image.read(data), b"n" * size)
    assert [start for start, _ in regions] == [0x1000, 0x9000, 0x9000 + size]
    assert b"".join(part for _, part in regions).replace(b"n" * size, b"\xff" * size) == data
    with pytest.raises(ImageError, match="another NVS"):
        image.regions(data, image.read(data), b"n" * 0x1000)


def test_the_layout_wins_over_where_programs_usually_are() -> None:
    moved = [p for p in layouts.official("", "1.26.0", 4 * MB) if p.kind != "app"]
    moved.append(partitions.Partition("mine", "app", "ota_3", 0x20000, 0x100000))
    app = image.program("esp32", image.app_descriptor() + BANNER % b"1.26.0", in_flash=True)
    boot = image.program("esp32", b"boot", in_flash=False)
    found = image.read(image.pack("esp32", boot, moved, app))
    assert found.program.name == "mine" and found.file_system(4 * MB).offset == 0x120000


def test_the_header_says_the_chip_as_espressif_numbers_them() -> None:
    for chip, number in {"esp32": 0, "esp32s3": 9, "esp32c3": 5}.items():  # esp_chip_id_t
        assert struct.unpack_from("<H", made(chip), 12)[0] == number


def test_without_esptool_it_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "esptool", None)
    with pytest.raises(paths.MissingPart, match=r"pip install 'fieldhand\[board\]'"):
        image.read(GOOD)
