"""What a node proves itself with: strong, kept from git's eyes, and whole or not there."""

import json
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from fieldhand import fleetfile
from fieldhand.building import build
from fieldhand.errors import ConfigError, FieldhandError
from fieldhand.fleetfile import template
from fieldhand.provisioning import credentials, pairing

FLEET = """
[broker]
host = "192.0.2.1"
user = "house"
password = "${MQTT_PASSWORD}"
[wifi]
ssid = "field"
password = "${WIFI_PASSWORD}"
[node.pot]
dialect = "plantnanny"
[node.tub]
dialect = "plantnanny"
mqtt_user = "tub-by-hand"
mqtt_password = "${TUB}"
"""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return credentials.path_for(tmp_path / "fleet.toml")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def test_each_node_has_its_own_of_160_bits(kept: Path) -> None:
    nodes = [f"n{i}" for i in range(50)]
    assert credentials.provide(kept, nodes) == nodes
    made = credentials.load(kept)
    assert [made[node].user for node in nodes] == nodes
    for one in made.values():
        # 20 random bytes as base64 without padding, RFC 4648 section 5: 27 characters.
        assert re.fullmatch(r"[A-Za-z0-9_-]{27}", one.password)
        assert pairing.normal(one.code) == one.code
    assert len({one.password for one in made.values()}) == 50
    assert len({one.code for one in made.values()}) == 50


def test_a_second_run_keeps_what_is_there_and_renew_does_not(kept: Path) -> None:
    credentials.provide(kept, ["a", "b"])
    before = credentials.load(kept)
    assert credentials.provide(kept, ["a", "c"]) == ["c"]
    after = credentials.load(kept)
    assert after["a"] == before["a"] and after["b"] == before["b"]
    assert credentials.provide(kept, ["a"], renew=True) == ["a"]
    renewed = credentials.load(kept)
    assert renewed["a"].password != before["a"].password and renewed["a"].code != before["a"].code
    assert renewed["b"] == before["b"] and renewed["c"] == after["c"]


def test_only_its_owner_reads_the_file_and_no_repr_shows_a_secret(kept: Path) -> None:
    credentials.provide(kept, ["a"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    made = credentials.load(kept)["a"]
    assert made.password not in repr(made) and made.code not in repr(made)


def test_a_write_that_fails_leaves_the_file_as_it_was(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.provide(kept, ["a"])
    before = kept.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(kept))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FieldhandError, match=r"credentials\.json.*No space left"):
        credentials.provide(kept, ["b"])
    assert kept.read_bytes() == before
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "damaged"),
        ("[]", "version 1"),
        ('{"version": 2, "nodes": {}}', "version 1"),
        ('{"version": 1, "nodes": {"a": {"user": "a", "code": "x"}}}', "node 'a': needs"),
        ('{"version": 1, "nodes": {"a": {"user": "a", "code": "x", "password": ""}}}', "node 'a'"),
    ],
)
def test_a_damaged_file_is_refused_and_never_written_over(kept: Path, text: str, said: str) -> None:
    kept.parent.mkdir()
    kept.write_text(text)
    with pytest.raises(ConfigError, match=said):
        credentials.provide(kept, ["b"])
    assert kept.read_text() == text


def test_what_git_sees_gets_no_secret(kept: Path) -> None:
    folder = kept.parent.parent
    git(folder, "init")
    with pytest.raises(FieldhandError, match=r"git sees it: add it to \.gitignore"):
        credentials.provide(kept, ["a"])
    assert not kept.exists()
    (folder / ".gitignore").write_text(template.GITIGNORE)
    credentials.provide(kept, ["a"])
    git(folder, "add", "-f", str(kept))  # tracked, though the .gitignore names it
    with pytest.raises(FieldhandError, match="git rm --cached"):
        credentials.provide(kept, ["b"])
    assert list(credentials.load(kept)) == ["a"]


def test_a_machine_without_git_is_no_obstacle(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(kept.parent))
    assert credentials.provide(kept, ["a"]) == ["a"]


def test_an_id_that_would_break_a_password_file_is_refused(kept: Path) -> None:
    for node in ("a:b", "a\nb"):
        with pytest.raises(FieldhandError, match="rename the node"):
            credentials.provide(kept, [node])
    assert not kept.exists()


def test_a_node_takes_what_the_file_names_then_what_was_made_then_the_brokers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MQTT_PASSWORD", "WIFI_PASSWORD", "TUB"):
        monkeypatch.setenv(name, name.lower())
    file = fleetfile.check(tomllib.loads(FLEET), tmp_path / "fleet.toml")
    wifi = {"wifi_ssid": "field", "wifi_pass": "wifi_password"}
    house = {"mqtt_user": "house", "mqtt_pass": "mqtt_password"}
    assert build.secrets(file, file.nodes["pot"]) == {"id": "pot"} | wifi | house
    credentials.provide(credentials.path_for(file.path), ["pot", "tub"])
    made = json.loads((tmp_path / ".fieldhand" / "credentials.json").read_text())["nodes"]["pot"]
    own = {"mqtt_user": "pot", "mqtt_pass": made["password"]}
    assert build.secrets(file, file.nodes["pot"]) == {"id": "pot"} | wifi | own
    by_hand = {"mqtt_user": "tub-by-hand", "mqtt_pass": "tub"}
    assert build.secrets(file, file.nodes["tub"]) == {"id": "tub"} | wifi | by_hand


def test_the_check_character_is_crockfords() -> None:
    # 1234 with its check character is 16JD in the documentation of base32-crockford, which
    # implements https://www.crockford.com/base32.html; by hand: 1234 = 33 * 37 + 13, D is the 13th.
    assert pairing.normal("0000016JD") == "000-001-6JD"
    assert pairing.normal("ooo oo1-6jd") == "000-001-6JD"
    assert pairing.normal("0000016JE") is None


def test_every_wrong_character_and_every_swap_of_neighbours_is_noticed() -> None:
    for _ in range(20):
        code = pairing.make().replace("-", "")
        for place, letter in enumerate(code):
            for other in pairing.ALPHABET:
                if other != letter:
                    assert pairing.normal(code[:place] + other + code[place + 1 :]) is None
        for place in range(len(code) - 1):
            swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
            assert pairing.normal(swapped) is None or swapped == code
    for wrong in ("", "K7Q", "K7Q-F2M-9X", "K7Q-F2M-9X*", "K7Q-F2U-9XT", "é" * 9):
        assert pairing.normal(wrong) is None


def test_codes_have_no_characters_that_look_alike_and_are_spread_evenly() -> None:
    codes = [pairing.make().replace("-", "") for _ in range(4000)]
    assert len(set(codes)) == 4000
    used = set("".join(codes))
    assert used == set(pairing.ALPHABET) and not used & set("ILOU")
    # 4000 draws from 32: 125 expected, standard deviation 11; six of them either way.
    for place in range(8):
        counts = [sum(code[place] == letter for code in codes) for letter in pairing.ALPHABET]
        assert 59 < min(counts) and max(counts) < 191
