"""The virtual board's flash, and what its ROM and bootloader make of it."""

import json
import os
import struct
import subprocess
import zlib

import pytest
from virtualboards import MB, contents

from fieldhand.errors import FieldhandError
from fieldhand.esp import image
from fieldhand.virtual import bootrom, runtime
from fieldhand.virtual.flash import Download, Flash
from fieldhand.virtual.image import standin_image

ESP32 = bootrom.CHIPS["esp32"]


@pytest.fixture
def flash(tmp_path):
    made = Flash(tmp_path / "flash.bin", 4 * MB)
    yield made
    made.close()


def filled(flash, data):
    flash.write(0, data)
    return flash


def refused(flash, chip=ESP32):
    with pytest.raises(bootrom.BootFailure) as caught:
        bootrom.boot(chip, flash)
    return caught.value.text


def test_a_new_flash_is_erased_and_is_kept_in_the_file(tmp_path):
    first = Flash(tmp_path / "f.bin", MB)
    assert first.read(0, 16) == b"\xff" * 16
    first.write(MB - 2, b"abcdef")  # beyond the end is lost
    first.close()
    again = Flash(tmp_path / "f.bin", 2 * MB)
    assert again.read(MB - 2, 4) == b"ab\xff\xff" and again.read(2 * MB - 1, 9) == b"\xff"
    again.close()
    with pytest.raises(FieldhandError, match="larger than a flash of 1 MB"):
        Flash(tmp_path / "f.bin", MB)


def test_a_download_that_is_cut_leaves_what_was_written(flash):
    flash.write(0, bytes(4 * 4096))
    packed = zlib.compress(os.urandom(3000) + b"A" * 6000, 0)
    Download(flash, 4096, compressed=True).write(packed[:5000])
    there = flash.read(0, 4 * 4096)
    assert there[:4096] == bytes(4096)
    # 7 bytes are zlib's header and that of the first block; the second sector was begun.
    assert there[4096 + 3000 : 4096 + 4993] == b"A" * 1993
    assert there[4096 + 4993 : 3 * 4096] == b"\xff" * (2 * 4096 - 4993)
    assert there[3 * 4096 :] == bytes(4096)


def test_blank_flash(flash):
    assert refused(flash) == "invalid header: 0xffffffff\r\n" * 8


def test_an_image_boots(flash):
    booted = bootrom.boot(ESP32, filled(flash, contents()))
    assert booted.app.name == "factory"
    assert "entry 0x" in booted.text and "load:0x" in booted.text


@pytest.mark.parametrize("chip", ["esp32s3", "esp32c3"])
def test_the_chip_boots_its_own_image_only(flash, chip):
    filled(flash, contents(chip))
    assert bootrom.boot(bootrom.CHIPS[chip], flash).app.name == "factory"
    flash.write(0x1000, flash.read(0, 0x7000))
    assert "requires chip id" in refused(flash)


def test_damage_is_told_where_it_is(flash):
    good = contents()
    # Behind the last segment is the checksum: a bit in the segment is enough.
    for address, said in (
        (0x1000 + 40, "boot: bootloader Checksum failed"),
        (0x8000, "load partition table error"),
        (0x8002, "load partition table error"),
        (0x10000, "image at 0x10000 has invalid magic byte"),
        (0x10000 + 400, "image at 0x10000 Checksum failed"),
    ):
        filled(flash, good)
        flash.write(address, bytes([good[address] ^ 0x40]))
        assert said in refused(flash), hex(address)


def test_a_table_for_a_larger_flash(tmp_path):
    small = Flash(tmp_path / "small.bin", 2 * MB)
    small.write(0, contents()[: 2 * MB])
    assert "exceeds flash chip size 0x200000" in refused(small)
    small.close()


def slot(number, state=0xFFFFFFFF):
    """An entry of the OTA data (esp_ota_select_entry_t) that chooses slot `number` of 2."""
    sequence = struct.pack("<I", number + 1)
    return struct.pack("<4s20sII", sequence, b"", state, zlib.crc32(sequence, 0xFFFFFFFF))


def test_ota_data_chooses_the_program(flash):
    data = standin_image(variant="OTA")
    facts = image.read(data)
    first, second = (part for part in facts.partitions if part.kind == "app")
    filled(flash, contents(data=data))
    assert bootrom.boot(ESP32, flash).app.name == "ota_0"
    flash.write(0xD000, slot(1))
    # Chosen, and nothing there: the other one runs.
    assert bootrom.boot(ESP32, flash).app.name == "ota_0"
    flash.write(second.offset, flash.read(first.offset, 0x20000))
    assert bootrom.boot(ESP32, flash).app.name == "ota_1"
    flash.write(0xD000, slot(1, state=3))  # ESP_OTA_IMG_INVALID
    assert bootrom.boot(ESP32, flash).app.name == "ota_0"


@pytest.mark.parametrize(
    ("chip", "version", "variant"),
    [("esp32", None, ""), ("esp32", "1.26.1", ""), ("esp32", "1.24.0", "OTA")]
    + [("esp32s3", None, ""), ("esp32c3", "1.25.0", "")],
)
def test_the_stand_in_is_an_image_as_the_official_one(chip, version, variant):
    found = image.read(standin_image(chip, version, variant))
    assert (found.chip, found.variant) == (chip, variant)
    assert found.version == version or version is None
    assert "umqtt/simple.py" in found.frozen


def test_running_boards_are_found_and_dead_ones_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDHAND_RUNTIME", str(tmp_path / "run"))
    assert runtime.running() == []
    file = runtime.register("rfc2217://127.0.0.1:4001", {"chip": "esp32"})
    assert runtime.running() == ["rfc2217://127.0.0.1:4001"]
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = {"pid": ended.pid, "port": "rfc2217://127.0.0.1:4002"}
    (tmp_path / "run" / "board-1-4002.json").write_text(json.dumps(dead))
    (tmp_path / "run" / "board-2-4003.json").write_text("not JSON")
    assert [facts["chip"] for facts in runtime.boards()] == ["esp32"]
    assert not (tmp_path / "run" / "board-1-4002.json").exists()
    file.unlink()
    assert runtime.running() == []
