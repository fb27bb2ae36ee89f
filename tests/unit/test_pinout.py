"""The drawing of a board: in the header's order, with what a node has on it, as text and SVG."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fieldhand import boards, fleetfile
from fieldhand.boards import pinout, pinrules

SVG = "{http://www.w3.org/2000/svg}"
# The relay's name has what XML and HTML would take for theirs.
FLEET = """
[node.greenhouse]
dialect = "farm"
board = "esp32-c3-devkitm"
sensors = [
    { type = "analog", quantity = "soil_moisture", raw = [3200, 1300], value = [0, 100] },
    { type = "analog", quantity = "npk", pin = 1, raw = [0, 4095], value = [0, 1023] },
    { type = "dht11" },
    { type = "pulse", quantity = "wind_speed", pin = 3, per_pulse = 2.4, window = "hz" },
    { type = "ezo", quantity = "ec", only = ["ec"] },
    { type = "ezo", quantity = "ph" },
]
actuators = [{ name = "<pump> & valve", max_run_s = 60 }]
led = { pin = 4 }
"""
# Drawn by hand from the tables J1 and J3 of Espressif's user guide and the node above.
EXPECTED = """\
greenhouse on esp32-c3-devkitm: ESP32-C3-DevKitM-1, ESP32-C3-MINI-1

                                    ┌────────────┐
                                GND ┤ ·        · ├ GND
                                3V3 ┤ ·        × ├ TX 21    serial console
                                3V3 ┤ ·        × ├ RX 20    serial console
              strapping, ADC1   IO2 ┤ ○        · ├ GND
     pulse wind_speed [input]   IO3 ┤ ●        ○ ├ IO9      strapping, Boot button
                                GND ┤ ·        ○ ├ IO8      strapping, RGB LED
                                RST ┤ ·        · ├ GND
                                GND ┤ ·        ● ├ IO7      dht11 [bus]
analog soil_moisture [analog]   IO0 ┤ ●        ● ├ IO6      I2C SCL: ezo ec, ezo ph [bus]
          analog npk [analog]   IO1 ┤ ●        ● ├ IO5      I2C SDA: ezo ec, ezo ph [bus]
       <pump> & valve [relay]  IO10 ┤ ●        ● ├ IO4      LED
                                GND ┤ ·        · ├ GND
                                 5V ┤ ·        × ├ IO18     USB
                                 5V ┤ ·        × ├ IO19     USB
                                GND ┤ ·        · ├ GND
                                    └───[USB]────┘

● connected  ○ free  × not for a node  · power, ground, reset"""


@pytest.fixture(scope="module")
def drawn():
    node = fleetfile.check(tomllib.loads(FLEET), Path("fleet.toml")).nodes["greenhouse"]
    board = boards.load(node.board)
    return board, pinrules.uses(board, node.sensors, node.actuators, node.led)


def test_the_text_is_the_board_as_it_lies_on_the_table(drawn):
    assert pinout.text(*drawn, "greenhouse").splitlines() == EXPECTED.splitlines()


def test_two_probes_on_one_wire_are_both_named():
    board = boards.load("esp32-devkitc")
    probes = [
        {"type": "ds18b20", "quantity": f"{what}_temperature", "pin": 13, "rom": rom * 16}
        for what, rom in (("water", "1"), ("soil", "2"))
    ]
    uses = pinrules.uses(board, probes, [], None)
    assert pinrules.check(board, uses) == []
    assert "ds18b20 water_temperature + ds18b20 soil_temperature [bus]    IO13" in pinout.text(
        board, uses
    )


def test_without_a_node_the_defaults_are_shown():
    text = pinout.text(boards.load("esp32-devkitc"), None)
    assert "default relay, DAC    IO26 ┤ ○" in text
    assert "├ IO22     default I2C SCL" in text
    assert "default soil_moisture, input only, ADC1    IO34" in text
    assert "●" not in text.splitlines()[5]


def test_the_svg_is_xml_that_names_what_colour_shows(drawn):
    root = ElementTree.fromstring(pinout.svg(*drawn, "greenhouse"))
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text == "Pinout of greenhouse on esp32-c3-devkitm"
    assert "IO10 left: <pump> & valve (relay); IO7 right: dht11 (bus)" in desc.text
    pins = {}
    for group in root.findall(f"{SVG}g"):
        said = [element.text for element in group.findall(f"{SVG}text")]
        circle = group.find(f"{SVG}circle")
        pins[said[-1], float(circle.get("cx")) < 466] = (circle.get("class"), said[:-1])
    assert pins["IO10", True] == ("pin relay", ["relay", "<pump> & valve"])
    assert pins["IO6", False] == ("pin bus", ["bus", "I2C SCL: ezo ec, ezo ph"])
    assert pins["IO4", False] == ("pin led", ["LED"])
    assert pins["TX 21", False] == ("pin reserved", ["serial console"])
    assert pins["IO9", False] == ("pin", ["strapping, Boot button"])
    # Who is told by colour is told by a word too.
    for role, words in pins.values():
        kind = role.removeprefix("pin").strip()
        assert kind in ("", "reserved", "power") or pinout.ROLES[kind] in words
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text


@pytest.mark.parametrize("name", boards.names())
def test_nothing_of_a_drawing_lies_outside_it_or_on_top_of_another_row(name):
    board = boards.load(name)
    root = ElementTree.fromstring(pinout.svg(board, None))
    _, _, width, height = map(float, root.get("viewBox").split())
    rows = {}
    for circle in root.iter(f"{SVG}circle"):
        if "IO" not in (circle.get("class") or ""):
            rows.setdefault(circle.get("cx"), []).append(float(circle.get("cy")))
    for element in root.iter():
        x, y = (element.get(key) for key in ("x", "y"))
        assert x is None or 0 <= float(x) <= width
        assert y is None or 0 <= float(y) <= height
    for ys in rows.values():
        assert all(b - a >= 20 for a, b in zip(ys, ys[1:], strict=False))


def test_a_long_name_is_cut_in_the_drawing_and_whole_in_its_title(drawn):
    board, _ = drawn
    name = "the second pump behind the greenhouse"
    use = pinrules.Use("actuators[0]", name + " by the pond", "relay", 10, "relay")
    root = ElementTree.fromstring(pinout.svg(board, [use]))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert name + "…" in texts
    titles = [element.text for element in root.iter(f"{SVG}title")]
    assert f"IO10: {name} by the pond (relay)" in titles


def test_the_record_has_every_pin_of_the_header_once(drawn):
    board, uses = drawn
    rows = pinout.record(board, uses)
    assert len(rows) == 30
    assert {row["gpio"] for row in rows} - {None} == board.usable
    assert [row for row in rows if row["gpio"] == 7] == [
        {
            "side": "right",
            "label": "IO7",
            "gpio": 7,
            "role": "bus",
            "connected": True,
            "text": "dht11",
        }
    ]


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "fieldhand.cli", "board", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_board_list_and_show_as_commands(tmp_path):
    code, out, _ = run("list", "--json")
    assert code == 0
    assert {b["name"]: b["flash_size"] for b in json.loads(out)} == {
        name: boards.load(name).flash_size for name in boards.names()
    }
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('[wifi]\nssid = "x"\n' + FLEET, "utf-8")
    node = ("--node", "greenhouse", "-f", str(fleet))
    code, out, err = run("show", "esp32-c3-devkitm", *node)
    assert (code, out, err) == (0, EXPECTED + "\n", "")
    drawing = tmp_path / "pins.svg"
    code, out, _ = run("show", "esp32-c3-devkitm", *node, "--svg", str(drawing))
    assert (code, out) == (0, f"{drawing}\n")
    assert ElementTree.fromstring(drawing.read_text("utf-8")).tag == f"{SVG}svg"


def test_a_node_made_for_another_board_is_drawn_with_what_would_not_work(tmp_path):
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('[wifi]\nssid = "x"\n' + FLEET, "utf-8")
    node = ("--node", "greenhouse", "-f", str(fleet))
    code, out, err = run("show", "esp32-devkitc", *node, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["chip"] == "esp32" and found["node"] == "greenhouse"
    assert [p["text"] for p in found["pins"] if p["gpio"] == 21] == ["I2C SDA: ezo ec, ezo ph"]
    assert "greenhouse is made for esp32-c3-devkitm" in err
    assert "actuators[0] pin: GPIO10 drives the flash chip of esp32-devkitc" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "esp32-devkit"), "unknown board 'esp32-devkit' (did you mean 'esp32-devkitc'?)"),
        (("show", "sim", "--svg", "/nowhere/x.svg"), "/nowhere/x.svg: No such file or directory"),
        (("show", "sim", "--svg", "-", "--json"), "--json and --svg exclude each other"),
    ],
)
def test_a_mistake_is_one_line(arguments, expected):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"error: {expected}")
