"""What may be written to a board and where: decided before anything is erased."""

import hashlib
from dataclasses import replace

import pytest
from fakes.esp_images import MB, made

from fieldhand import boards
from fieldhand.errors import FieldhandError
from fieldhand.esp import ImageError, littlefs, nvs, partitions
from fieldhand.flashing import flashplan
from fieldhand.flashing.flashplan import Chip, Held

DEVKIT = boards.load("esp32-devkitc")
SECRETS = {"id": "greenhouse", "wifi_ssid": "home", "wifi_pass": "secret"}
NOTHING = Held(None, {})


@pytest.fixture(scope="module")
def vfs():
    return littlefs.write({"main.py": b"print(1)\n"}, 2 * MB)


def planned(data, vfs, held=NOTHING, secrets=SECRETS, flash_size=4 * MB):
    found = flashplan.check_image(data, "x.bin", DEVKIT)
    return flashplan.plan(data, found, flash_size, vfs, secrets, held)


def flash_after(plan, size=4 * MB, before=b"\xff"):
    flash = bytearray(before * size)
    for offset, data in plan.segments:
        flash[offset : offset + len(data)] = data
    return bytes(flash)


def test_a_blank_board_gets_image_nvs_and_file_system_where_the_table_says(vfs):
    data = made()
    flash = flash_after(planned(data, vfs))
    # Addresses of ESP-IDF and of MicroPython's partitions-4MiB.csv.
    assert flash[0x1000:0x9000] == data[: 0x9000 - 0x1000]
    assert flash[0x10000 : 0x10000 + 4096] == data[0xF000 : 0xF000 + 4096]
    assert nvs.read(flash[0x9000:0xF000]) == {
        "fieldhand": {key: value.encode() for key, value in SECRETS.items()}
    }
    assert littlefs.read(flash[0x200000:]) == {"main.py": b"print(1)\n"}


def test_the_bootloader_comes_last_so_that_half_a_blank_board_does_not_start(vfs):
    assert planned(made(), vfs).segments[-1][0] == 0x1000


def test_ota_data_of_before_is_erased(vfs):
    board = boards.load("esp32-devkitc-ota")
    data = made(variant="OTA")
    found = flashplan.check_image(data, "x.bin", board)
    place = found.file_system(4 * MB)
    files = littlefs.write({"main.py": b""}, place.size)
    flash = flash_after(flashplan.plan(data, found, 4 * MB, files, SECRETS, NOTHING), before=b"\0")
    otadata = partitions.find(found.partitions, "otadata")
    assert (otadata.offset, otadata.size) == (0xD000, 0x2000)
    assert flash[0xD000:0xF000] == b"\xff" * 0x2000


def test_the_file_system_fills_a_larger_flash_when_the_image_lets_it(vfs):
    plan = planned(made(version="1.26.1"), vfs, flash_size=8 * MB)
    offset, data = plan.segments[0]
    assert (offset, len(data)) == (0x200000, 6 * MB)
    assert littlefs.read(data) == {"main.py": b"print(1)\n"}


def test_a_node_keeps_its_count_of_boots_and_loses_old_secrets(vfs):
    before = Held(
        "greenhouse",
        {
            "id": b"greenhouse",
            "boot": b"41",
            "crashes": b"3 3 1 MemoryError",
            "mqtt_user": b"old",
            "mqtt_pass": b"old",
            "net": b"{}",  # sent to the node, see fieldnode/slots.py; what the cable brings wins
            "wind": b"5",
        },
    )
    plan = planned(made(), vfs, before)
    assert plan.kept == ("boot", "wind")
    stored = nvs.read(flash_after(plan)[0x9000:0xF000])["fieldhand"]
    assert stored["boot"] == b"41"
    assert not {"crashes", "mqtt_user", "mqtt_pass", "net"} & set(stored)


def test_another_nodes_values_are_not_taken_over(vfs):
    plan = planned(made(), vfs, Held("pool", {"id": b"pool", "boot": b"41"}))
    assert plan.kept == ()
    assert b"41" not in flash_after(plan)[0x9000:0xF000].strip(b"\xff")[:200]


def test_where_it_is_read_from_is_what_the_boards_own_table_says(vfs):
    flash = flash_after(planned(made(), vfs))
    place = flashplan.nvs_place(flash[0x8000:0x8C00])
    assert (place.offset, place.size) == (0x9000, 0x6000)
    assert flashplan.held(flash[place.offset : place.end]).node == "greenhouse"
    assert flashplan.nvs_place(b"\xff" * 0xC00) is None
    assert flashplan.nvs_place(bytes(0xC00)) is None


def test_the_chip_on_the_cable_has_to_be_the_boards():
    chip = Chip("esp32s3", "ESP32-S3", 8 * MB, None)
    with pytest.raises(FieldhandError, match="has an ESP32-S3, and 'greenhouse' is for esp32-devk"):
        flashplan.check_chip(chip, DEVKIT, "greenhouse")


def test_a_flash_smaller_than_the_boards_is_refused():
    with pytest.raises(FieldhandError, match="flash has 2 MB, and esp32-devkitc has 4 MB"):
        flashplan.check_chip(Chip("esp32", "ESP32", 2 * MB, None), DEVKIT, "greenhouse")


def test_a_flash_of_unknown_size_is_not_refused():
    flashplan.check_chip(Chip("esp32", "ESP32", None, None), DEVKIT, "greenhouse")


def test_a_locked_chip_is_refused():
    with pytest.raises(FieldhandError, match="flash encryption is burnt into this ESP32"):
        flashplan.check_chip(Chip("esp32", "ESP32", 4 * MB, "flash encryption"), DEVKIT, "x")


def test_an_image_for_more_flash_than_there_is_names_the_variant_to_take(vfs):
    # ESP-IDF's bootloader: "Detected size(4096k) smaller than the size in the binary image header"
    with pytest.raises(
        ImageError, match="made for 8 MB of flash, and the board has 4 MB.*FLASH_4M"
    ):
        planned(made(flash_mb=8, version="1.26.1"), vfs)


def test_an_image_without_nvs_is_refused(vfs):
    table = tuple(
        part for part in flashplan.check_image(made(), "x", DEVKIT).partitions if part.name != "nvs"
    )
    with pytest.raises(ImageError, match="no NVS"):
        planned(made(partitions=table), vfs)


def test_secrets_too_long_for_nvs_are_refused(vfs):
    with pytest.raises(ImageError, match="do not fit"):
        planned(made(), vfs, secrets={**SECRETS, "wifi_pass": "x" * 30000})


def test_a_full_nvs_of_before_gives_way_but_for_the_count_of_boots(vfs):
    held = Held("greenhouse", {"id": b"greenhouse", "boot": b"41", "other": bytes(20100)})
    assert planned(made(), vfs, held).kept == ("boot",)


def test_errors_name_the_file():
    with pytest.raises(ImageError, match="^mine.bin: "):
        flashplan.check_image(b"hello", "mine.bin", DEVKIT)


def test_every_byte_planned_is_checked_for_overlaps(vfs):
    found = flashplan.check_image(made(), "x", DEVKIT)
    low = tuple(
        replace(part, offset=0x10000, size=2 * MB) if part.name == "vfs" else part
        for part in found.partitions
    )
    with pytest.raises(ImageError, match="reaches into"):
        flashplan.plan(made(), replace(found, partitions=low), 4 * MB, vfs, SECRETS, NOTHING)


def test_the_made_image_is_what_esptool_takes_for_one():
    from esptool.bin_image import LoadFirmwareImage

    loaded = LoadFirmwareImage("esp32", made())
    assert loaded.checksum == loaded.calculate_checksum()
    assert loaded.stored_digest == hashlib.sha256(made()[: loaded.data_length]).digest()
