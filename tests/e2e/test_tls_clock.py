"""A broker with TLS whose certificate the node checks: by the chip's clock, which says 2000 when
the power comes, until a time server has set it.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e import certificates
from e2e.nodes import Backend, example
from mosquitto import Mosquitto

from fieldhand.sim import Node, Simulator

DATA = "devices/greenhouse/data"
FUTURE = "The certificate validity starts in the future"
UNSET = "no time server has set the clock"
UNIX_TO_2000 = 946684800
WAIT_S = 30.0
# TLS wants an image with the firmware frozen in, which leaves more than a stock one, see README.
HEAP = "400k"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an authority that is from today on."""
    folder = tmp_path_factory.mktemp("clock")
    certificates.authority(folder)
    return folder


@pytest.fixture
def broker(authority: Path) -> Iterator[Mosquitto]:
    with Mosquitto(extra=certificates.server(authority, "IP:127.0.0.1")) as made:
        yield made


@pytest.fixture
def heard(broker: Mosquitto, authority: Path) -> Iterator[Backend]:
    made = Backend(broker.port, ca=authority / "ca.pem")
    yield made
    made.close()


@pytest.fixture
def node(broker: Mosquitto, authority: Path) -> Iterator[Node]:
    """A board that has never had power, with the authority's certificate."""
    config = example("greenhouse", broker.port)
    config["broker"]["tls"] = {"ca": "ca.der"}  # the unix MicroPython takes no PEM
    files = {"ca.der": (authority / "ca.der").read_bytes()}
    with Simulator(broker=(broker.host, broker.port)) as simulator:
        yield simulator.add(config, files=files, heap=HEAP)


def test_a_fresh_board_learns_the_time_and_connects(node: Node, heard: Backend) -> None:
    node.start()
    first = heard.wait(DATA)
    assert UNSET not in node.console
    assert abs(first["ts"] - time.time()) < WAIT_S
    shift = node.nvs["fieldhand"]["clock"]
    assert isinstance(shift, int) and abs(shift + UNIX_TO_2000 - time.time()) < WAIT_S

    # The clock goes on through a reset, and so does the one that dates readings.
    node.faults.ntp(False)
    mark = heard.mark()
    assert node.pid
    os.kill(node.pid, signal.SIGKILL)  # a hard reset
    again = heard.wait(DATA, lambda obj: obj["_fh"]["boot"] != first["_fh"]["boot"], mark)
    assert again["_fh"]["q"] == "backfilled"
    assert abs(again["ts"] - time.time()) < WAIT_S
    assert UNSET not in node.console

    # Without power it is lost, and nothing of what is in NVS is taken for it.
    node.power_cut()
    node.start()
    node.wait_console(UNSET, WAIT_S)


def test_a_silent_time_server_is_why(node: Node, heard: Backend) -> None:
    node.faults.ntp(False)
    node.start()
    line = node.wait_console(UNSET, WAIT_S)
    assert FUTURE in line and "TLS handshake 127.0.0.1:" in line
    assert "no time from pool.ntp.org" in node.console
    since = node.console.mark()
    node.wait_console(UNSET, WAIT_S, since)  # it goes on trying
    assert not heard.all(DATA)
    node.faults.ntp(True)  # asked within a minute: here, after the power was off
    node.power_cut()
    node.start()
    heard.wait(DATA)
