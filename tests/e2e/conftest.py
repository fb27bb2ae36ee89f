"""Fixtures of the tests in which real nodes, brokers and hosts meet."""

from collections.abc import Iterator

import pytest
from e2e.nodes import Backend, backend
from mosquitto import Mosquitto


@pytest.fixture
def heard(own_mosquitto: Mosquitto) -> Iterator[Backend]:
    """A plain MQTT client that hears all, on a Mosquitto of the test's own."""
    with backend(own_mosquitto.port) as made:
        yield made


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> str:
    """Nodes run the sources: compiled, what a test's main.py changes by name is renamed.

    The heap that takes.
    """
    monkeypatch.setenv("FIELDHAND_SOURCE", "1")
    return "900k"
