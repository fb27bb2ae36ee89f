"""`fieldhand deploy` and `logs` on a board: the real MicroPython behind a serial port."""

import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from e2e.nodes import Backend, backend
from virtualboards import HOST, start_node

from fieldhand import fleetfile
from fieldhand.broker import Broker
from fieldhand.building import build, mpy
from fieldhand.cli import main
from fieldhand.device import deploy as deploying
from fieldhand.device import logs
from fieldhand.device.errors import DeviceError
from fieldhand.device.ports import PortError
from fieldhand.device.serial import Device
from fieldhand.esp import nvs
from fieldhand.virtual import VirtualBoard

NODE = "plant-1"
PUMP = 26
DATA, STATUS = f"devices/{NODE}/data", f"devices/{NODE}/status"
COMMAND = f"devices/{NODE}/command"
SECRET = "correct horse battery"
FLEET = """
[broker]
host = "{host}"
port = {port}

[wifi]
ssid = "field"
password = "${{WIFI_PASSWORD}}"

[node.plant-1]
dialect = "plantnanny"
board = "esp32-devkitc"
interval = "1s"
status_interval = "2s"
sensors = [{{ type = "dht22", pin = 4 }}]
actuators = [{{ name = "pump", pin = {pump}, max_run_s = 600 }}]
"""


class Bench:
    """A flashed virtual board whose node reports to a broker, and somebody who hears it."""

    def __init__(self, folder: Path, board: VirtualBoard, backend: Backend) -> None:
        self.fleet = folder / "fleet.toml"
        self.board = board
        self.backend = backend
        self.file = fleetfile.load(self.fleet)
        self.node = self.file.nodes[NODE]
        self.files = build.files(self.file, self.node)

    def deploy(self, files: Mapping[str, bytes], **options: Any) -> deploying.Report:
        with Device(self.board.port) as device:
            return deploying.deploy(
                device, NODE, files, build.secrets(self.file, self.node), **options
            )

    def command(self, *arguments: str) -> int:
        return main(["deploy", NODE, "-f", str(self.fleet), "-p", self.board.port, *arguments])

    def reports(self) -> dict[str, Any]:
        """A reading from now on: the node runs."""
        return self.backend.wait(DATA, since=self.backend.mark(), timeout=60)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("deploy")
    with (
        Broker("0.0.0.0", 0, allow_anonymous=True) as broker,
        VirtualBoard(flash=folder / "flash.bin") as board,
        backend(broker.port) as heard,
    ):
        text = FLEET.format(host=HOST, port=broker.port, pump=PUMP)
        (folder / "fleet.toml").write_text(text, "utf-8")
        (folder / ".env").write_text(f"WIFI_PASSWORD={SECRET}\n", "utf-8")
        made = Bench(folder, board, heard)
        start_node(board, made.file, NODE)
        heard.wait(DATA, timeout=60)
        yield made


@pytest.fixture
def restored(bench: Bench) -> Iterator[None]:
    """The next test finds the node running, with the files that belong there."""
    yield
    bench.board.plug()
    bench.deploy(bench.files, replace=True)


def version(text: str) -> bytes:
    return mpy.compiled("fieldnode/version.py", text)


def running(wanted: str) -> Callable[[dict[str, Any]], bool]:
    """A status of a node whose firmware has this version."""
    return lambda status: wanted in json.dumps(status)


def test_nothing_changed_nothing_sent(bench, capsys):
    assert bench.command("--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["sent"], report["removed"], report["credentials"]) == ([], [], [])
    assert report["unchanged"] == len(bench.files)
    assert bench.reports()


def test_one_file_changed_is_the_only_one_sent_and_runs(bench, capsys):
    files = bench.files | {"fieldnode/version.mpy": version('VERSION = "9.8.7"\n')}
    report = bench.deploy(files)
    assert report.plan.send == ("fieldnode/version.mpy",)
    assert f"{NODE} speaks plantnanny" in (report.first_line or "")
    bench.backend.wait(STATUS, running("9.8.7"), bench.backend.mark(), timeout=60)
    assert bench.command() == 0
    assert "sent: fieldnode/version.mpy" in capsys.readouterr().out


def test_dry_run_changes_nothing(bench, capsys):
    files = bench.files | {"fieldnode/version.mpy": version('VERSION = "9.8.6"\n')}
    report = bench.deploy(files, dry_run=True)
    assert report.plan.send == ("fieldnode/version.mpy",) and report.first_line is None
    assert bench.reports(), "the node does not go on"
    with Device(bench.board.port) as device:
        assert device.hashes("fieldnode/version.mpy") == {
            "fieldnode/version.mpy": sha256(bench.files["fieldnode/version.mpy"])
        }


def test_stale_files_of_ours_go_and_the_nodes_own_stay(bench):
    with Device(bench.board.port) as device:
        for path in ("fieldnode/gone.mpy", "fieldnode/old/x.mpy", "ledger/9", "mine.txt"):
            device.write(path, b"x" * 5000)
    report = bench.deploy(bench.files)
    assert report.plan.remove == ("fieldnode/gone.mpy", "fieldnode/old/x.mpy")
    with Device(bench.board.port) as device:
        there = device.files()
        assert not any("gone" in path or "old" in path for path in there)
        assert there["ledger/9"].size == there["mine.txt"].size == 5000
        assert "fieldnode/old" not in device.exec("import os\nprint(os.listdir('fieldnode'))")
        for path in ("ledger/9", "mine.txt"):
            device.remove(path)


def test_a_pump_that_runs_is_off_once_the_deploy_begins(bench):
    bench.reports()
    bench.backend.publish(COMMAND, {"action": "pump_water", "durationMs": 600_000})
    bench.board.wait(lambda: bench.board.pins[PUMP] == 1, 20, "pump")
    with Device(bench.board.port) as device:
        assert bench.board.pins[PUMP] == 0
        assert device.facts.node


def test_the_watchdog_does_not_end_a_deploy(bench):
    """The node's minute becomes ten; the stand-in then: unit/simulator/test_machine.py."""
    bench.reports()
    hardware = bench.board._hardware
    assert hardware._watchdog and hardware._watchdog_s < 120
    with Device(bench.board.port) as device:
        assert device.facts.node
        assert hardware._watchdog and hardware._watchdog_s > 600
    bench.board.wait(lambda: hardware._watchdog_s < 120, 20, "node's own watchdog")


def test_a_cable_pulled_in_the_middle_leaves_the_old_files(bench, restored):
    ballast = {"fieldnode/ballast.bin": bytes(60_000)}
    files = bench.files | {"fieldnode/version.mpy": version('VERSION = "9.8.5"\n')} | ballast

    def pull(done: int, whole: int) -> None:
        if done > whole / 2:
            bench.board.unplug()

    with pytest.raises(PortError, match="cable"):
        bench.deploy(files, progress=pull)
    mark = bench.backend.mark()
    bench.board.plug()
    bench.backend.wait(DATA, since=mark, timeout=60)
    with Device(bench.board.port) as device:
        there = device.files()
    assert there["fieldnode/version.mpy"].sha256 == sha256(bench.files["fieldnode/version.mpy"])
    assert not [path for path in there if path.endswith(".new") or "ballast" in path]
    report = bench.deploy(files)
    assert report.plan.send == ("fieldnode/ballast.bin", "fieldnode/version.mpy")
    bench.backend.wait(STATUS, running("9.8.5"), bench.backend.mark(), timeout=60)


def test_a_full_file_system_changes_nothing(bench, monkeypatch):
    with Device(bench.board.port) as device:
        device.exec(FILL % (device.space().free_blocks - 10), timeout=60)
        free = device.free() // 1024
    files = bench.files | {"fieldnode/ballast.bin": bytes(400_000)}
    try:
        with pytest.raises(DeviceError, match=rf"full: \d+ kB are needed, {free} kB of"):
            bench.deploy(files)
        # Somebody wrote in between: it is noticed while it is sent.
        monkeypatch.setattr(deploying, "_check_space", lambda *args: None)
        with pytest.raises(DeviceError, match="ballast.bin found no room. Nothing was changed"):
            bench.deploy(files)
    finally:
        with Device(bench.board.port) as device:
            left = device.files()
            device.remove("fill")
    assert not [path for path in left if path.endswith(".new") or "ballast" in path]
    assert bench.reports(), "the node does not go on"


FILL = """
with open('fill', 'wb') as f:
 for i in range(%d): f.write(bytes(4096))
"""


def test_a_changed_secret_goes_to_nvs_and_nowhere_else(bench, capsys, monkeypatch):
    other = "another horse"
    monkeypatch.setenv("WIFI_PASSWORD", other)
    bench.file = fleetfile.load(bench.fleet)
    try:
        assert bench.command() == 0
        said = capsys.readouterr()
        assert "set in NVS: wifi_pass\n" in said.out
        assert other not in said.out + said.err and SECRET not in said.out + said.err
        with Device(bench.board.port) as device:
            for path in device.files():
                assert other.encode() not in device.read(path), path
        stored = nvs.read(bench.board.flash.read(0x9000, 0x6000))["fieldhand"]
        assert stored["wifi_pass"] == other.encode()
    finally:
        monkeypatch.undo()
        bench.file = fleetfile.load(bench.fleet)


def test_another_nodes_board_is_refused(bench, capsys):
    with Device(bench.board.port) as device, pytest.raises(DeviceError) as raised:
        deploying.deploy(device, "plant-2", bench.files, {"id": "plant-2"})
    assert f"this board is '{NODE}', not 'plant-2'" in str(raised.value)


def test_somebody_elses_program_is_refused_and_replaced_on_request(bench, restored):
    with Device(bench.board.port) as device:
        device.write("main.py", b"import machine\nmachine.reset()\n")  # it loops, tightly
        for path in device.files("fieldnode", "fieldproto"):
            device.remove(path)
    bench.board.press_reset()
    with pytest.raises(DeviceError, match="somebody else's program"):
        bench.deploy(bench.files)
    report = bench.deploy(bench.files, replace=True)
    assert report.plan.send[-1].startswith("main") or "main.py" in report.plan.send
    assert bench.reports()


def test_a_node_that_crashes_at_its_start_is_shown_with_its_line(bench, restored):
    files = bench.files | {"fieldnode/version.mpy": version('raise RuntimeError("injected")\n')}
    with pytest.raises(DeviceError) as raised:
        bench.deploy(files)
    told = str(raised.value)
    assert "the node crashes at its start" in told and "RuntimeError: injected" in told
    assert "firmware/fieldnode/version.py:1 in <module>" in told


def test_logs_do_not_disturb_the_node_and_come_back_with_the_cable(bench):
    bench.reports()
    told: list[str] = []
    boots = bench.board.console.mark()
    lines = logs.follow(bench.board.port, reconnect=True, seconds=60, tell=told.append)
    bench.backend.publish(COMMAND, {"action": "pump_water", "durationMs": 2000})
    assert "pump off after" in take(lines, "pump off")[-1].text
    assert not any("speaks" in line for line in list(bench.board.console)[boots:])
    bench.board.unplug()
    bench.board.plug()

    def restart() -> None:
        bench.board.wait(lambda: len(told) == 2, 60, "cable")
        bench.board.press_reset()

    restarting = threading.Thread(target=restart)
    restarting.start()
    first = take(lines, "speaks")[-1]
    restarting.join()
    assert first.level == "I" and first.uptime_s is not None
    assert "gone" in told[0] and "back" in told[1]


def take(lines: Iterator[logs.Line], text: str) -> list[logs.Line]:
    """Lines up to the one with `text`."""
    found = []
    for line in lines:
        found.append(line)
        if text in line.text:
            break
    return found


def test_repl_is_mpremotes_on_a_terminal(bench):
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "fieldhand.cli", "repl", "-p", bench.board.port]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        said(ours, b"Ctrl-J")
        # What comes before mpremote has the terminal is lost.
        said(ours, b">>> ", again=b"\x03")
        os.write(ours, b"40 + 2\r")
        said(ours, b"42\r\n>>> ")
        os.write(ours, b"\x04\x1d")  # soft reset: the node starts; leave
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert bench.reports()


def said(terminal: int, text: bytes, again: bytes = b"") -> None:
    """Read until `text`, writing `again` each second until then."""
    heard = b""
    deadline = time.monotonic() + 30
    while text not in heard:
        assert time.monotonic() < deadline, f"no {text!r} in {heard!r}"
        if select.select([terminal], [], [], 1)[0]:
            heard += os.read(terminal, 4096)
        else:
            os.write(terminal, again)


@pytest.mark.parametrize("command", ["deploy", "repl"])
def test_without_mpremote_it_says_how_to_get_it(bench, command):
    arguments = [command, NODE, "-f", str(bench.fleet), "-p", bench.board.port]
    code = (
        "import sys; sys.modules['mpremote'] = None\n"
        f"from fieldhand.cli import main; sys.exit(main({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.endswith("error: no mpremote: pip install 'fieldhand[board]'\n")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
