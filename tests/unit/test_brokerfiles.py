"""What a broker is told of a fleet. That Mosquitto takes it: tests/e2e/test_provision.py."""

import base64
import hashlib
import subprocess
import tomllib
from pathlib import Path

import pytest

from fieldhand import fleetfile
from fieldhand.errors import ConfigError, FieldhandError
from fieldhand.fleetfile import template
from fieldhand.provisioning import brokerfiles, credentials

BROKER = """[broker]
user = "host"
password = "${MQTT_PASSWORD}"
"""


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fleetfile.FleetFile:
    monkeypatch.setenv("MQTT_PASSWORD", "for the host")
    text = template.FLEET_TOML.replace("[broker]\n", BROKER)
    (tmp_path / "fleet.toml").write_text(text)
    return fleetfile.load(tmp_path / "fleet.toml")


def sections(text: str) -> dict[str, list[str]]:
    """ACL lines by user."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("user "):
            found[line[5:]] = lines = []
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


def test_every_node_has_its_dialects_topics_and_no_others(fleet: fleetfile.FleetFile) -> None:
    credentials.provide(credentials.path_for(fleet.path), fleet.nodes)
    found = sections(brokerfiles.access_list(fleet))
    assert list(found) == ["host", *fleet.nodes]
    assert found["host"] == ["topic readwrite #"]
    # From the dialects' documents.
    assert found["pool"] == [
        "topic write devices/org-123/pool/telemetry",
        "topic write devices/org-123/pool/status",
        "topic write devices/org-123/pool/command_response",
        "topic write devices/org-123/pool/alert",
        "topic read devices/org-123/pool/commands",
        "topic read devices/org-123/pool/config",
    ]
    assert found["panel-7"] == [
        "topic write company/acme/machine/panel-7/telemetry",
        "topic write company/acme/machine/panel-7/status",
        "topic read company/acme/machine/panel-7/command",
    ]
    for user, lines in found.items():
        if user != "host":
            assert not [line for line in lines if "+" in line or "#" in line], user


def test_the_password_file_has_mosquittos_form(fleet: fleetfile.FleetFile) -> None:
    place = credentials.path_for(fleet.path)
    credentials.provide(place, fleet.nodes)
    users = brokerfiles.users(fleet)
    assert users == {"host": "for the host"} | {
        node: one.password for node, one in credentials.load(place).items()
    }
    text = brokerfiles.passwords(users)
    assert text == brokerfiles.passwords(users)  # the same bytes each time
    assert not [password for password in users.values() if password in text]
    salts = set()
    for line in text.splitlines():
        user, _, rest = line.partition(":")
        _, kind, iterations, salt, key = rest.split("$")
        assert kind == "7"
        raw = base64.b64decode(salt, validate=True)
        expected = hashlib.pbkdf2_hmac("sha512", users[user].encode(), raw, int(iterations))
        assert base64.b64decode(key, validate=True) == expected and len(raw) == 12
        salts.add(salt)
    assert len(salts) == len(users) == 6


def test_who_has_no_credentials_is_named(fleet: fleetfile.FleetFile, tmp_path: Path) -> None:
    credentials.provide(credentials.path_for(fleet.path), ["pool", "01"])
    with pytest.raises(ConfigError) as caught:
        brokerfiles.users(fleet)
    (told,) = caught.value.problems
    assert told.startswith("3 nodes have no credentials: greenhouse, panel-7, farm_001: ")
    assert "fieldhand provision --all" in told
    nobody = fleetfile.check(tomllib.loads(template.FLEET_TOML), fleet.path)
    with pytest.raises(ConfigError, match="no host is let in"):
        brokerfiles.users(nobody)


def test_two_nodes_of_one_user_with_two_passwords_are_told(
    fleet: fleetfile.FleetFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.provide(credentials.path_for(fleet.path), fleet.nodes)
    monkeypatch.setenv("OTHER", "other")
    raw = tomllib.loads(fleet.path.read_text())
    raw["node"]["pool"] |= {"mqtt_user": "01", "mqtt_password": "${OTHER}"}
    with pytest.raises(ConfigError, match=r"\[node\.01\]: another has the user '01'"):
        brokerfiles.users(fleetfile.check(raw, fleet.path))


def test_the_files_are_private_and_not_for_git(fleet: fleetfile.FleetFile, tmp_path: Path) -> None:
    credentials.provide(credentials.path_for(fleet.path), fleet.nodes)
    folder = tmp_path / ".fieldhand" / "mosquitto"
    files = brokerfiles.write_mosquitto(fleet, folder)
    assert [file.name for file in files] == ["passwd", "acl", "fieldhand.conf"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    subprocess.run(["git", "init"], cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(FieldhandError, match="git sees it"):
        brokerfiles.write_mosquitto(fleet, tmp_path / "out")
    assert not (tmp_path / "out").exists()
