"""Where the parts are, and what is said when one is missing."""

import sys

import pytest

from fieldhand import paths
from fieldhand.sim import Simulator


def test_the_checkout_has_its_parts():
    assert (paths.firmware() / "fieldnode").is_dir()
    assert (paths.protocol() / "fieldproto" / "__init__.py").is_file()
    assert (paths.standins() / "machine.py").is_file()


def test_without_umqtt_the_firmware_is_not_started(monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDHAND_UMQTT", str(tmp_path))
    with Simulator() as sim, pytest.raises(paths.MissingPart) as caught:
        sim.add({"node": "n"})
    assert str(caught.value) == (
        f"umqtt.simple is not in {tmp_path}: set FIELDHAND_UMQTT to a directory with it"
    )
    monkeypatch.delenv("FIELDHAND_UMQTT")
    monkeypatch.setattr(paths, "checkout", lambda: tmp_path)
    with pytest.raises(paths.MissingPart, match="make umqtt"):
        paths.umqtt()


def test_a_directory_with_umqtt_is_taken(monkeypatch, tmp_path):
    (tmp_path / "umqtt").mkdir()
    (tmp_path / "umqtt" / "simple.py").touch()
    monkeypatch.setenv("FIELDHAND_UMQTT", str(tmp_path))
    assert paths.umqtt() == tmp_path


def test_without_micropython_there_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(paths.MissingPart) as caught:
        Simulator()
    assert "make venv" in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "micropython").touch()
    assert paths.micropython() == tmp_path / "micropython"
