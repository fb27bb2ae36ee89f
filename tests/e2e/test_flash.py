"""From a blank board to a node that reports, by the command that a maker types."""

import json
import os
import subprocess
import sys
from pathlib import Path

from e2e.nodes import backend
from fakes.esp_images import made
from virtualboards import HOST

from fieldhand.broker import Broker
from fieldhand.virtual import VirtualBoard

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'host'}:{ROOT / 'protocol'}", "NO_COLOR": "1"}
FLEET = """
[broker]
host = "127.0.0.1"
node_host = "{host}"
port = {port}

[wifi]
ssid = "field"
password = "${{WIFI_PASSWORD}}"

[node.greenhouse]
dialect = "plantnanny"
board = "esp32-devkitc"
interval = "1s"
sensors = [{{ type = "dht22", pin = 4 }}]
"""
PASSWORD = "correct horse battery"


def fieldhand(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "fieldhand.cli", *arguments],
        cwd=folder,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=150,
    )


def test_a_blank_board_becomes_a_node_that_is_heard(tmp_path):
    (tmp_path / "micropython.bin").write_bytes(made())
    (tmp_path / ".env").write_text(f"WIFI_PASSWORD={PASSWORD}\n")
    with (
        Broker("0.0.0.0", 0, allow_anonymous=True) as broker,
        backend(broker.port) as heard,
        VirtualBoard("esp32", flash=tmp_path / "flash.bin") as board,
    ):
        (tmp_path / "fleet.toml").write_text(FLEET.format(host=HOST, port=broker.port))
        done = fieldhand(
            tmp_path, "flash", "greenhouse", "--image", "micropython.bin", "--port", board.port
        )
        assert done.returncode == 0, done.stderr
        assert f"greenhouse runs on {board.port}: ESP32 {board.mac.hex(':')}" in done.stdout
        steps = [line.partition(": ")[2] for line in done.stderr.splitlines()]
        assert steps == ["connecting", "checking", "writing", "starting"]
        assert PASSWORD not in done.stdout + done.stderr
        reading = heard.wait("devices/greenhouse/data", timeout=60)
        assert "temperatureC" in reading and reading["_fh"]["boot"].startswith("1-")

        again = fieldhand(
            tmp_path, "flash", "greenhouse", "--image", "micropython.bin", "--port", board.port,
            "--json",
        )  # fmt: skip
        assert again.returncode == 0, again.stderr
        [row] = json.loads(again.stdout)["boards"]
        assert row["running"] is True and row["was"] == "greenhouse" and "boot" in row["kept"]
        # The boots are counted on, so no number of a reading is used twice.
        since = heard.mark()
        reading = heard.wait("devices/greenhouse/data", since=since, timeout=60)
        assert reading["_fh"]["boot"].startswith("2-")
