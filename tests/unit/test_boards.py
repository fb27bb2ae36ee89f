"""The board files, and what is said of a wrong one.

Pin numbers are copied by hand from Espressif's user guides and datasheets.
"""

from pathlib import Path

import pytest

from fieldhand import boards, paths
from fieldhand.errors import ConfigError, FieldhandError

# chip, flash in MB, hardware timers, offset of the image, ADC1, strapping, console, USB
FACTS = {
    "esp32-devkitc": ("esp32", 4, 4, 0x1000, range(32, 40), {0, 2, 5, 12, 15}, {1, 3}, set()),
    "esp32-devkitc-ota": ("esp32", 4, 4, 0x1000, range(32, 40), {0, 2, 5, 12, 15}, {1, 3}, set()),
    "esp32-s3-devkitc": (
        "esp32s3",
        8,
        4,
        0,
        range(1, 11),
        {0, 3, 45, 46},
        {43, 44},
        {19, 20},
    ),
    "esp32-c3-devkitm": ("esp32c3", 4, 2, 0, range(0, 5), {2, 8, 9}, {20, 21}, {18, 19}),
}


def test_there_is_one_of_each_chip_and_the_simulator():
    assert boards.names() == tuple(sorted([*FACTS, "sim"]))
    assert {boards.load(name).chip for name in boards.names()} == set(boards.CHIPS)


@pytest.mark.parametrize("name", FACTS)
def test_a_board_is_as_its_datasheet_says(name):
    board = boards.load(name)
    chip, megabytes, timers, offset, adc1, strapping, console, usb = FACTS[name]
    assert (board.chip, board.flash_size, board.timers) == (chip, megabytes << 20, timers)
    assert board.image.offset == offset
    assert board.adc1 == set(adc1) & board.usable
    assert (board.strapping, board.console, board.usb) == (strapping, console, usb)
    assert not board.simulated


def test_what_differs_between_the_chips():
    esp32, s3, c3 = map(boards.load, ("esp32-devkitc", "esp32-s3-devkitc", "esp32-c3-devkitm"))
    assert esp32.input_only == {34, 35, 36, 39} and not s3.input_only and not c3.input_only
    assert esp32.dac == {25, 26} and not s3.dac and not c3.dac
    assert esp32.hil.analog_source == "dac"
    assert s3.hil.analog_source == c3.hil.analog_source == "pwm"
    # Neither has an LED that is a plain output.
    assert esp32.defaults["led"] == 2
    assert "led" not in s3.defaults and "led" not in c3.defaults


@pytest.mark.parametrize(
    ("name", "side", "row", "expected"),
    [  # pin 1 is the row at the top
        ("esp32-devkitc", 0, 3, ("VP", 36)),
        ("esp32-devkitc", 0, 19, ("5V", None)),
        ("esp32-devkitc", 1, 4, ("TX", 1)),
        ("esp32-devkitc", 1, 19, ("CLK", 6)),
        ("esp32-s3-devkitc", 0, 8, ("15", 15)),
        ("esp32-s3-devkitc", 0, 14, ("46", 46)),
        ("esp32-s3-devkitc", 1, 2, ("TX", 43)),
        ("esp32-s3-devkitc", 1, 20, ("19", 19)),
        ("esp32-c3-devkitm", 0, 11, ("IO10", 10)),
        ("esp32-c3-devkitm", 1, 2, ("TX", 21)),
    ],
)
def test_the_header_is_in_the_order_of_the_board(name, side, row, expected):
    pin = boards.load(name).header[side][row - 1]
    assert (pin.label, pin.gpio) == expected


def test_the_image_has_the_name_and_address_it_has_at_micropython_org():
    image = boards.load("esp32-devkitc").image
    assert image.file == "ESP32_GENERIC-20241025-v1.24.0.bin"
    assert image.url == (
        "https://micropython.org/resources/firmware/ESP32_GENERIC-20241025-v1.24.0.bin"
    )
    assert image.sha256 == "648e655fdaa8c31ece4e8f2a5c7815b015a7bca1c8db56246287799164ad9bff"
    ota = boards.load("esp32-devkitc-ota").image
    assert ota.file == "ESP32_GENERIC-OTA-20241025-v1.24.0.bin"
    assert ota.sha256 is None


def test_like_takes_the_pins_and_the_flash_only_of_the_same_chip():
    devkit, ota, sim = map(boards.load, ("esp32-devkitc", "esp32-devkitc-ota", "sim"))
    for key in ("usable", "adc1", "strapping", "header", "hil", "notes"):
        assert getattr(devkit, key) == getattr(ota, key) == getattr(sim, key)
    assert dict(devkit.defaults) == dict(ota.defaults) == dict(sim.defaults)
    assert ota.flash_size == devkit.flash_size
    assert sim.image is None and sim.flash_size == 0 and sim.simulated


def test_the_loops_of_the_devkit_are_neighbours_that_a_jumper_joins():
    board = boards.load("esp32-devkitc")
    row = [pin.gpio for pin in board.header[0]]
    hil = board.hil
    assert abs(row.index(hil.relay_output) - row.index(hil.relay_input)) == 1
    assert abs(row.index(hil.analog_output) - row.index(hil.analog_input)) == 1


def test_an_unknown_board_is_told_from_the_near_one():
    with pytest.raises(FieldhandError, match=r"unknown board 'esp32-devkit' \(did you mean"):
        boards.load("esp32-devkit")


GOOD = (paths.boards() / "esp32-devkitc.toml").read_text("utf-8")


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        boards.read(path)
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{path}: ")
    return caught.value.problems


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('chip = "esp32"', 'chip = "esp33"', "chip: unknown 'esp33' (did you mean 'esp32"),
        ('chip = "esp32"', 'chipp = "esp32"', "chip: is required"),
        ('chip = "esp32"', 'chip = "esp32"\nchipp = 1', "chipp: unknown key (did you mean 'chip'"),
        ('flash_size = "4MB"', 'flash_size = "4 GB"', 'flash_size: "4 GB" is not a size such as'),
        ("timers = 4", "timers = true", "timers: true is not a whole number from 1 to 16"),
        ("timers = 4", "", "timers: is required"),
        ("offset = 0x1000", "", "[image] offset: is required"),
        ('version = "1.24.0"', 'version = "1.24"', '[image] version: "1.24" is not of the form'),
        ("648e655f", "648E655F", "[image] sha256: "),
        ("flash = [6, 7", "flash = [5, 6, 7", "[pins] flash: GPIO5 is in usable too"),
        ("flash = [6, 7", 'flash = ["6", 7', "[pins] flash: '6' is not a GPIO number from 0 to 48"),
        ("console = [1, 3]", "console = 1", "[pins] console: is not a list of GPIO numbers"),
        ("console = [1, 3]", "console = [1, 1]", "[pins] console: GPIO1 is listed twice"),
        ("console = [1, 3]", "console = [0, 3]", "[pins] console: GPIO0 is in strapping too"),
        ("dac = [25, 26]", "dac = [24, 26]", "[pins] dac: GPIO24 is not in usable"),
        ("dac = [25, 26]", "daq = [25, 26]", "[pins] daq: unknown key (did you mean 'dac'?)"),
        ("adc2 = [0", "adc2 = [36, 0", "[pins] adc1: GPIO36 is in adc2 too"),
        ('0 = "Boot', 'a = "Boot', "[notes] a: is not a GPIO number"),
        ("relay = 26", "relay = 12", "[defaults] relay: GPIO12 is not fit for it"),
        ("relay = 26", "relay = 34", "[defaults] relay: GPIO34 is not fit for it"),
        ("relay = 26", "relay = 4", "[defaults] dht: GPIO4 is already relay's"),
        ("relay = 26\n", "", "[defaults] relay: is required"),
        ("led = 2\n", "led = 2\nfull_scale = 33\n", "[defaults] full_scale: is not a voltage"),
        ("battery = 33", "battery = 27", "[defaults] battery: GPIO27 is not fit for it"),
        ("i2c = { scl = 22, ", "i2c = { ", "[defaults] i2c scl: is required"),
        ("npk = 35", "npk = 25", "[defaults] analog.npk: GPIO25 is not fit for it"),
        ('source = "dac"', 'source = "adc"', "[hil] analog source: unknown 'adc'"),
        ("output = 25", "output = 23", "[hil] analog.output: GPIO23 is not fit for it"),
        ("output = 26, input = 27", "output = 26, input = 26", "[hil]: a pin is used twice"),
        ('"EN"', '"=5"', "[header] left: \"=5\" is neither a NAME nor NAME=GPIO"),
        ('"VP=36"', '"VP=39"', "[header]: GPIO39 is there twice"),
        ('"VP=36"', '"VP"', "[pins] usable: GPIO36 is in neither row of [header]"),
        ('"VP=36"', '"VP=36", "X=40"', "[header]: GPIO40 is neither in usable nor in flash"),
        ("[header]", "[headers]", "[header]: is required"),
        ("[pins]", "[pins", "is not TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_board_file_is_named_with_file_and_key(tmp_path, old, new, expected):
    assert GOOD.count(old) >= 1
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    assert any(problem.startswith(expected) for problem in found), found


def test_like_names_a_board_and_no_chain(tmp_path):
    text = 'title = "x"\nchip = "esp32"\nlike = "{}"\n'
    (found,) = problems(tmp_path, text.format("nobody"))
    assert found.startswith("like: 'nobody' is no board")
    (tmp_path / "first.toml").write_text(GOOD, "utf-8")
    (tmp_path / "second.toml").write_text(text.format("first"), "utf-8")
    assert boards.read(tmp_path / "second.toml").title == "x"
    (found,) = problems(tmp_path, text.format("second"))
    assert found == "like: second is itself like another board"
