"""`fieldhand provision NODE --port`: a board on a cable changes to another broker, with new
credentials, by the REPL of the firmware that runs on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.nodes import backend
from virtualboards import HOST, start_node

from fieldhand import fleetfile
from fieldhand.broker import Broker
from fieldhand.cli import main
from fieldhand.provisioning import brokerfiles, credentials
from fieldhand.virtual import VirtualBoard

NODE = "plant-1"
DATA, STATUS = f"devices/{NODE}/data", f"devices/{NODE}/status"
FLEET = """
[broker]
host = "{host}"
port = {port}
user = "house"
password = "${{MQTT_PASSWORD}}"

[wifi]
ssid = "field"

[node.plant-1]
dialect = "plantnanny"
board = "esp32-devkitc"
interval = "1s"
status_interval = "2s"
sensors = [{{ type = "dht22", pin = 4 }}]

[node.plant-2]
dialect = "plantnanny"
"""


def write(folder: Path, port: int) -> fleetfile.FleetFile:
    (folder / "fleet.toml").write_text(FLEET.format(host=HOST, port=port))
    (folder / ".env").write_text("MQTT_PASSWORD=of the house\n")
    return fleetfile.load(folder / "fleet.toml")


def provision(folder: Path, *arguments: str) -> int:
    return main(["provision", *arguments, "-f", str(folder / "fleet.toml")])


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VirtualBoard, Path]]:
    """A board that reports to a broker of its own, which demands what it was flashed with."""
    folder = tmp_path_factory.mktemp("provision")
    write(folder, 1883)
    assert provision(folder, "--all") == 0
    users = brokerfiles.users(fleetfile.load(folder / "fleet.toml"))
    with (
        Broker("0.0.0.0", 0, users) as broker,
        VirtualBoard(flash=folder / "flash.bin") as made,
        backend(broker.port, "house", "of the house") as heard,
    ):
        start_node(made, write(folder, broker.port), NODE)
        heard.wait(DATA, timeout=60)
        yield made, folder


def test_a_board_on_a_cable_tries_the_new_ones(
    board: tuple[VirtualBoard, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    made, folder = board
    assert provision(folder, NODE, "--renew") == 0
    own = credentials.load(credentials.path_for(folder / "fleet.toml"))[NODE]
    users = brokerfiles.users(fleetfile.load(folder / "fleet.toml"))
    with (
        Broker("0.0.0.0", 0, users) as broker,
        backend(broker.port, "house", "of the house") as heard,
    ):
        write(folder, broker.port)
        assert provision(folder, NODE, "--port", made.port, "--only", "broker") == 0
        heard.wait(STATUS, lambda s: s["_fh"]["also"].get("credentials") == "on trial", timeout=60)
        heard.wait(DATA, timeout=60)
        said = capsys.readouterr()
        assert own.password not in said.out + said.err and own.code not in said.out + said.err
        assert "plant-1 tries them now" in said.err


def test_another_nodes_board_is_left_alone(
    board: tuple[VirtualBoard, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    made, folder = board
    assert provision(folder, "plant-2", "--port", made.port) == 2
    assert "on this board is plant-1, not 'plant-2'" in capsys.readouterr().err
