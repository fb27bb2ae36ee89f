"""Fixtures for all tests: brokers, and what a missing tool means here and in CI."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from mosquitto import Mosquitto, executable
from plugins.micropython import pytest_report_header  # noqa: F401 - found by its name

HIL = Path(__file__).parent / "hil"


def missing(reason: str) -> NoReturn:
    """Skip for want of a tool; in CI, where everything is installed, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"mosquitto", "own_mosquitto"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("mosquitto")
        if HIL in item.path.parents:
            item.add_marker("hil")
            if not os.environ.get("PORT"):
                item.add_marker(pytest.mark.skip(reason="no board: set PORT=/dev/ttyUSB0"))


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Mosquitto]:
    """A running Mosquitto shared by the session: use topics and client ids of your own."""
    if executable() is None:
        missing("mosquitto is not installed: apt-get install mosquitto")
    with Mosquitto(persistent=False) as broker:
        yield broker


@pytest.fixture
def own_mosquitto() -> Iterator[Mosquitto]:
    """A running Mosquitto of the test's own, to stop, kill, pause and start again."""
    if executable() is None:
        missing("mosquitto is not installed: apt-get install mosquitto")
    with Mosquitto() as broker:
        yield broker
