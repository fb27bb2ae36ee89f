"""`fieldhand doctor` and `fieldhand bench` on a board: the real MicroPython at a serial port."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.nodes import Backend, backend
from virtualboards import HOST, start_node

from fieldhand import devicebench, fleetfile
from fieldhand.broker import Broker
from fieldhand.cli import main
from fieldhand.device.serial import Device
from fieldhand.virtual import VirtualBoard

NODE = "plant-1"
READING = f"iot/node/{NODE}/telemetry"
FLEET = """
[broker]
host = "{host}"
port = {port}

[wifi]
ssid = "field"
password = "${{WIFI_PASSWORD}}"

[node.plant-1]
dialect = "iotnode"
board = "esp32-devkitc"
interval = "1s"
sensors = [
    {{ type = "analog", quantity = "npk", pin = 34, raw = [0, 4095], value = [0, 1023] }},
    {{ type = "rssi" }},
]
actuators = [{{ name = "pump", pin = 26, max_run_s = 600 }}]
"""


@dataclass
class Desk:
    """A board at work, and somebody who hears its node."""

    fleet: Path
    board: VirtualBoard
    heard: Backend

    def command(self, name: str, *arguments: str) -> int:
        return main([name, *arguments, "-f", str(self.fleet)])

    def works(self) -> None:
        """A reading from now on: the node runs again."""
        self.heard.wait(READING, since=self.heard.mark(), timeout=60)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """That figures come, not how good they are, is tested here."""
    for name, value in (("MESSAGES", 10), ("TIMES", 3), ("FLASH_TIMES", 2), ("RUNS", 2)):
        monkeypatch.setattr(devicebench, name, value)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("doctor")
    with (
        Broker("0.0.0.0", 0, allow_anonymous=True) as broker,
        VirtualBoard(flash=folder / "flash.bin") as board,
        backend(broker.port) as heard,
    ):
        (folder / "fleet.toml").write_text(FLEET.format(host=HOST, port=broker.port), "utf-8")
        (folder / ".env").write_text("WIFI_PASSWORD=correct horse\n", "utf-8")
        start_node(board, fleetfile.load(folder / "fleet.toml"), NODE)
        heard.wait(READING, timeout=60)
        yield Desk(folder / "fleet.toml", board, heard)


def report(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was printed with --json, and its findings by check."""
    told = json.loads(capsys.readouterr().out)
    return told, {row["check"]: row for row in told["findings"]}


def test_a_healthy_board_and_its_node_goes_on(desk, capsys):
    code = desk.command("doctor", NODE, "--port", desk.board.port, "--json")
    told, found = report(capsys)
    assert [row for row in found.values() if row["state"] == "fail"] == []
    assert code == 0 and told["healthy"] is True
    assert (told["node"], told["via"]) == (NODE, "cable")
    assert found["power"]["data"]["cause"] == "PWRON"
    assert found["firmware"]["state"] == found["file system"]["state"] == "ok"
    assert found["identity"]["data"]["has"]["wifi.password"] is True
    assert "correct horse" not in json.dumps(told)  # nothing secret is told
    assert found["ACL"]["data"]["heard"] is True
    assert found["sensor npk@34"]["state"] == "ok"
    desk.works()


def test_a_port_alone_finds_its_node_in_the_fleet_file(desk, capsys):
    assert desk.command("doctor", desk.board.port) == 0
    out, err = capsys.readouterr()
    assert "iot/node/plant-1/status arrives here" in " ".join(out.split())
    assert "the node was reset and runs again" in err
    desk.works()


def test_the_relay_clicks_only_when_somebody_said_so(desk, capsys):
    arguments = (NODE, "--port", desk.board.port, "--relay", "pump")
    assert desk.command("doctor", *arguments) == 2  # nobody to ask
    assert "--yes" in capsys.readouterr().err
    assert desk.command("doctor", *arguments, "--yes", "--json") == 0
    _, found = report(capsys)
    assert found["relay pump"]["data"]["levels"] == [0, 1, 0]


def test_a_full_file_system(desk, capsys):
    with Device(desk.board.port) as device:
        device.exec(
            "import os\ns = os.statvfs('/')\nb = bytes(4096)\n"
            "with open('big', 'wb') as f:\n for _ in range(s[3] - 6): f.write(b)\n",
            timeout=60,
        )
    code = desk.command("doctor", NODE, "--port", desk.board.port, "--json")
    told, found = report(capsys)
    with Device(desk.board.port) as device:
        device.remove("big")
    assert code == 1 and told["healthy"] is False
    assert found["file system"]["state"] == "fail"
    assert "outbox_bytes" in found["file system"]["advice"]


def test_bench_tells_every_figure_of_board_and_simulator(desk, capsys):
    assert desk.command("bench", NODE, "--port", desk.board.port, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    for column in ("device", "simulator"):
        measured = told[column]
        assert measured["missing"] == {}
        for metric in devicebench.METRICS:
            figure = measured["series"][metric.key]
            assert figure["unit"] == metric.unit
            assert figure["repetitions"] >= 2
            assert figure["min"] <= figure["median"] <= figure["max"]
        assert measured["heap"] > measured["free"] > measured["block"] > 0
        assert measured["mhz"] > 0
    # From two runs: no two machines measure the same to the microsecond, eleven times.
    assert told["device"]["series"] != told["simulator"]["series"]
    desk.works()
