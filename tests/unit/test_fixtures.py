"""A missing tool or board is a skip with its reason at a desk, a failure in CI."""

import shutil
from pathlib import Path

import mosquitto
import pytest

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def session(pytester, monkeypatch):
    """Run one test file in a pytest of its own under a copy of tests/conftest.py."""
    pytester.makeini("[pytest]\nmarkers =\n    hil: x\n    mosquitto: x\n")
    shutil.copy(TESTS / "conftest.py", pytester.path)

    def run(name, source):
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        return pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider")

    return run


@pytest.mark.parametrize(("ci", "outcome"), [("true", "errors"), ("", "skipped")])
@pytest.mark.parametrize("fixture", ["mosquitto", "own_mosquitto"])
def test_missing_mosquitto(session, monkeypatch, fixture, ci, outcome):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(mosquitto, "executable", lambda: None)
    result = session("test_x.py", f"def test_x({fixture}):\n    pass\n")
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*mosquitto is not installed*"])


@pytest.mark.parametrize(("port", "outcome"), [("/dev/ttyUSB0", "passed"), ("", "skipped")])
def test_hardware_tests_need_a_port(session, monkeypatch, port, outcome):
    monkeypatch.setenv("PORT", port)
    result = session("hil/test_x.py", "def test_x():\n    pass\n")
    result.assert_outcomes(**{outcome: 1})
    if not port:
        result.stdout.fnmatch_lines(["*no board: set PORT=*"])
