"""A simulator whose nodes start at once."""

import pytest

from fieldhand.sim import Simulator


@pytest.fixture
def sim():
    with Simulator(boot_delay=0.05, wifi_delay=0.02) as simulator:
        yield simulator
