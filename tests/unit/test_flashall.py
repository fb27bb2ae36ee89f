"""Which board is which node, when several are on the cable: by name or by MAC, never guessed."""

import pytest

from fieldhand.device.ports import PortError
from fieldhand.errors import FieldhandError
from fieldhand.flashing import knownboards
from fieldhand.flashing.flashall import assign
from fieldhand.flashing.knownboards import Known

MACS = {"/dev/a": "24:0a:c4:00:00:01", "/dev/b": "24:0a:c4:00:00:02", "/dev/c": "24:0a:c4:0:0:3"}


def known(**nodes):
    return {MACS[f"/dev/{port}"]: Known(node, "esp32-devkitc", "1.24.0", "x.bin")
            for port, node in nodes.items()}  # fmt: skip


def ask(port):
    return "ESP32", MACS[port]


def assigned(nodes, given, boards, found=("/dev/a", "/dev/b")):
    return assign(nodes, given, boards, found=found, identify=ask)


def test_boards_are_known_by_their_macs():
    places, missing = assigned(["x", "y"], {}, known(a="y", b="x"))
    assert (places, missing) == ({"x": "/dev/b", "y": "/dev/a"}, {})


def test_what_the_user_says_wins_and_its_port_is_not_asked():
    def never(port):
        raise AssertionError(port)

    places, _ = assign(["x"], {"x": "/dev/a"}, known(a="y"), found=["/dev/a"], identify=never)
    assert places == {"x": "/dev/a"}


def test_a_stranger_is_named_and_not_taken():
    places, missing = assigned(["x"], {}, {}, found=["/dev/a"])
    assert places == {}
    assert missing["x"].endswith("/dev/a (ESP32, 24:0a:c4:00:00:01), say --port PORT=x")


def test_two_boards_that_were_one_node_are_not_chosen_from():
    places, missing = assigned(["x"], {}, known(a="x", b="x"))
    assert places == {}
    assert "--port /dev/a=x or --port /dev/b=x" in missing["x"]


def test_a_board_that_does_not_answer_keeps_no_other_from_its_node():
    def one_is_busy(port):
        if port == "/dev/a":
            raise PortError("/dev/a: is in use", port, "busy")
        return ask(port)

    said = []
    places, missing = assign(
        ["x", "y"], {}, known(b="y"), found=["/dev/a", "/dev/b"], identify=one_is_busy,
        say=said.append,
    )  # fmt: skip
    assert places == {"y": "/dev/b"} and list(missing) == ["x"]
    assert said == ["/dev/a: is in use"]


def test_notes_are_added_to(tmp_path):
    place = knownboards.path(tmp_path / "fleet.toml")
    knownboards.note(place, known(a="x"))
    knownboards.note(place, known(b="y"))
    assert {mac: each.node for mac, each in knownboards.load(place).items()} == {
        MACS["/dev/a"]: "x",
        MACS["/dev/b"]: "y",
    }
    assert [path.name for path in place.parent.iterdir()] == ["boards.json"]


@pytest.mark.parametrize("text", ["", "[]", '{"24:0a:c4:00:00:01": {"name": "x"}}', "{"])
def test_a_damaged_note_is_told(tmp_path, text):
    place = knownboards.path(tmp_path / "fleet.toml")
    place.parent.mkdir()
    place.write_text(text)
    with pytest.raises(FieldhandError, match="boards.json: is damaged .*: delete it"):
        knownboards.load(place)
