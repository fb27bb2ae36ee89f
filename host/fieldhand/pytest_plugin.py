"""Pytest fixtures for programs that talk to a fleet.

Loaded by pytest where Fieldhand is installed (entry point `pytest11`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fieldhand.broker import Broker


@pytest.fixture
def fieldhand_broker() -> Iterator[Broker]:
    """A running `fieldhand.broker.Broker` on a free port of 127.0.0.1, new for every test."""
    from fieldhand.broker import Broker

    with Broker() as broker:
        yield broker
