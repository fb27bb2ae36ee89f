"""What can be wrong when a board is flashed: each item has a test here, and a maker's message.

The board is the virtual one, in its download mode; esptool, the ports and the locks are real.
"""

import functools
import json
import multiprocessing
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.esp_images import MB, app_image, made, with_header
from serial.tools import list_ports

from fieldhand import cli, fleetfile
from fieldhand.building import mpy
from fieldhand.device.ports import PortError
from fieldhand.esp import nvs
from fieldhand.flashing import firststart, flash, flashall
from fieldhand.virtual import VirtualBoard

FLEET = """
[broker]
node_host = "127.0.0.2"
[wifi]
ssid = "field"
[node.greenhouse]
dialect = "plantnanny"
board = "esp32-devkitc"
[node.pool]
dialect = "plantnanny"
board = "esp32-devkitc"
"""
ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'host'}:{ROOT / 'protocol'}", "NO_COLOR": "1"}


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
    """The firmware is the same for all: compiling it takes half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mpy, "build", functools.cache(mpy.build))
        yield


@pytest.fixture
def project(tmp_path):
    (tmp_path / "fleet.toml").write_text(FLEET)
    (tmp_path / "good.bin").write_bytes(made())
    return tmp_path


@pytest.fixture(scope="module")
def board():
    """A board for what leaves it as it is, or is written over by the next."""
    with VirtualBoard("esp32") as running:
        yield running


@pytest.fixture
def run(project, capsys):
    """Run `fieldhand flash` on the project; (exit code, stdout, stderr)."""

    def call(*arguments, image="good.bin", node="greenhouse"):
        words = [node] if node else []
        words += ["--image", str(project / image)] if image else []
        words += ["--file", str(project / "fleet.toml"), "--no-wait", *map(str, arguments)]
        code = cli.main(["flash", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def untouched(board):
    return not board.flash.read(0, board.flash.size).strip(b"\xff")


# -- wrong chip, wrong image, too little flash --


def test_wrong_chip(run):
    with VirtualBoard("esp32s3") as other:
        code, _, err = run("--port", other.port)
        assert code == 2
        assert "has an ESP32-S3, and 'greenhouse' is for esp32-devkitc with an ESP32" in err
        assert untouched(other)


def test_the_revision_that_an_image_for_the_c3_wants(run, project):
    """The official ones say v0.3 to v1.99, at 15 of the header: ESP-IDF, esp_app_format.h."""
    with (project / "fleet.toml").open("a") as file:
        file.write('[node.tiny]\ndialect = "plantnanny"\nboard = "esp32-c3-devkitm"\n')
    for least in (3, 5):
        data = with_header(made("esp32c3"), "esp32c3", 15, struct.pack("<HH", least, 199))
        (project / f"v{least}.bin").write_bytes(data)
    with VirtualBoard("esp32c3") as c3:
        code, _, err = run("--port", c3.port, image="v5.bin", node="tiny")
        assert code == 2 and "v0.5" in err and "v0.4" in err
        assert untouched(c3)
        assert run("--port", c3.port, image="v3.bin", node="tiny")[0] == 0


def test_an_image_for_another_chip(run, project):
    (project / "s3.bin").write_bytes(made("esp32s3", "1.26.1", flash_mb=4))
    code, _, err = run("--port", "/dev/null", image="s3.bin")
    assert code == 2
    assert "s3.bin: the image is for ESP32-S3, and the board has ESP32" in err


def test_an_image_that_is_not_for_an_esp32_at_all(run, project):
    (project / "web.bin").write_bytes(b"<!DOCTYPE html><html></html>")
    (project / "any.bin").write_bytes(bytes(range(256)) * 100)
    for name in ("web.bin", "any.bin"):
        code, _, err = run("--port", "/dev/null", image=name)
        assert code == 2
        assert name in err and "take" in err and "micropython.org/download" in err


def test_an_app_image_instead_of_the_full_one(run, project):
    (project / "x.app-bin").write_bytes(app_image())
    code, _, err = run("--port", "/dev/null", image="x.app-bin")
    assert code == 2
    assert "app image" in err and "take the full .bin" in err


def test_a_truncated_image(run, project):
    data = made()
    for length in (100, 0x5000, len(data) - 1000, len(data) - 1):
        (project / "cut.bin").write_bytes(data[:length])
        code, _, err = run("--port", "/dev/null", image="cut.bin")
        assert code == 2
        assert "cut off" in err or "damaged" in err


def test_an_image_of_the_wrong_variant(run, project):
    (project / "ota.bin").write_bytes(made(variant="OTA"))
    code, _, err = run("--port", "/dev/null", image="ota.bin")
    assert code == 2
    assert "OTA variant, and board 'esp32-devkitc' takes the plain one" in err


def test_a_micropython_too_old(run, project):
    (project / "old.bin").write_bytes(made(version="1.23.0"))
    code, _, err = run("--port", "/dev/null", image="old.bin")
    assert code == 2
    assert "1.23.0" in err and "1.24 or newer" in err


def test_flash_too_small(run):
    with VirtualBoard("esp32", 2 * MB) as small:
        code, _, err = run("--port", small.port)
        assert code == 2
        assert "its flash has 2 MB, and esp32-devkitc has 4 MB" in err
        assert untouched(small)


def test_an_image_made_for_more_flash(run, project):
    (project / "8mb.bin").write_bytes(made(version="1.26.1", flash_mb=8))
    with VirtualBoard("esp32") as blank:
        code, _, err = run("--port", blank.port, image="8mb.bin")
        assert code == 2
        assert "made for 8 MB of flash, and the board has 4 MB" in err
        assert untouched(blank)


def test_an_image_for_a_later_chip_revision(run, project, board):
    # min_chip_rev_full, ESP-IDF's esp_image_header_t: v9.0, which no ESP32 is.
    image = with_header(made(), "esp32", 15, struct.pack("<HH", 900, 999))
    (project / "late.bin").write_bytes(image)
    before = program(board)
    code, _, err = run("--port", board.port, "--yes", image="late.bin")
    assert code == 2
    assert "requires chip revision" in err and "half written" not in err and "force" not in err
    assert program(board) == before


# -- the port --


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_port_busy(run, terminal):
    script = (
        "import serial,sys; s=serial.Serial(sys.argv[1],exclusive=True); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, terminal],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as monitor:
        monitor.stdout.readline()
        code, _, err = run("--port", terminal)
        monitor.stdin.close()
    assert code == 2
    assert f"{terminal}: is in use by" in err and f"(pid {monitor.pid})" in err


def test_no_permission_says_the_udev_line(project, terminal):
    os.chmod(terminal, 0)
    command = [sys.executable, "-m", "fieldhand.cli", "flash", "greenhouse", "--port", terminal]
    command += ["--image", "good.bin"]
    if os.geteuid() == 0:
        # Root without the capability that lets it open what its mode forbids.
        setpriv = shutil.which("setpriv")
        assert setpriv, "util-linux is not installed"
        drop = "--bounding-set=-dac_override,-dac_read_search"
        command = [setpriv, drop, "--inh-caps=-all", *command]
    done = subprocess.run(command, cwd=project, env=ENV, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "no permission" in done.stderr and "group dialout" in done.stderr
    assert 'SUBSYSTEM=="tty"' in done.stderr and 'MODE="0666"' in done.stderr
    assert "udevadm control --reload-rules" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_such_port(run):
    code, _, err = run("--port", "/dev/ttyUSB77")
    assert code == 2
    assert "/dev/ttyUSB77: no such port" in err


def test_a_port_where_no_board_answers(run, terminal):
    code, _, err = run("--port", terminal)
    assert code == 2
    assert "no ESP32 answers" in err and "BOOT" in err


def plugged(monkeypatch, *devices):
    infos = [
        _Info(device=device, name="x", description="CP2102N", vid=0x10C4, pid=0xEA60,
              serial_number=None)
        for device in devices
    ]  # fmt: skip
    monkeypatch.setattr(list_ports, "comports", lambda: infos)


class _Info(SimpleNamespace):
    def __lt__(self, other):
        return self.device < other.device


def test_two_boards_are_listed_and_none_is_taken(run, monkeypatch):
    plugged(monkeypatch, "/dev/ttyUSB0", "/dev/ttyUSB1")
    code, _, err = run()
    assert code == 2
    assert "2 boards are connected" in err
    assert "--port /dev/ttyUSB0" in err and "--port /dev/ttyUSB1" in err


def test_one_board_is_taken(run, monkeypatch, board):
    plugged(monkeypatch, board.port)
    assert run()[0] == 0


# -- the cable, and a flash that is interrupted --


class _Meanwhile(flash.Reporter):
    """Does something at a share of the writing, once; keeps what it is told."""

    def __init__(self, share, do):
        self.share, self.do, self.said = share, do, []

    def progress(self, done, total):
        if self.do is not None and done >= self.share * total:
            do, self.do = self.do, None
            do()

    def say(self, text):
        self.said.append(text)


def job(project, port, node="greenhouse", **more):
    file = fleetfile.load(project / "fleet.toml")
    image = project / "good.bin"
    return flash.prepare(file, file.nodes[node], port, image=image, wait=False, **more)


def identity(board):
    return nvs.read(board.flash.read(0x9000, 0x6000)).get("fieldhand", {})


def program(board):
    """What a node that runs does not write: bootloader, table and program."""
    return board.flash.read(0x1000, 0x8000) + board.flash.read(0x10000, 0x10000)


def complete(board, node="greenhouse"):
    good = board.flash.read(0x1000, 0x8000) == made()[:0x8000]
    return good and identity(board).get("id") == node.encode()


def make_it(board, **values):
    """Put a partition table and `values` in NVS on a board, as if it had been flashed."""
    board.hold_boot()
    board.press_reset()
    board.hold_boot(False)
    board.wait_state("download")
    board.flash.write(0x8000, made()[0x7000:0x8000])
    stored = {key: text.encode() for key, text in values.items()}
    board.flash.write(0x9000, nvs.write({"fieldhand": stored}, 0x6000))


def test_cable_pulled_in_the_middle_and_run_again(project):
    with VirtualBoard("esp32") as board:
        with pytest.raises(flash.FlashError) as caught:
            flash.run(job(project, board.port), _Meanwhile(0.3, board.unplug))
        assert caught.value.begun
        assert "was the cable pulled" in str(caught.value)
        assert "half written" in str(caught.value) and "run it again" in str(caught.value)
        board.plug()
        assert not complete(board)
        flash.run(job(project, board.port))
        assert complete(board)


def test_killed_in_the_middle_and_run_again(project):
    with VirtualBoard("esp32") as board:
        process = subprocess.Popen(
            [sys.executable, "-m", "fieldhand.cli", "flash", "greenhouse", "--no-wait",
             "--image", "good.bin", "--port", board.port],
            cwd=project, env=ENV, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in process.stderr:
            if "writing" in line:
                break
        process.kill()
        process.communicate()
        assert not complete(board)
        flash.run(job(project, board.port))
        assert complete(board)


def test_ctrl_c_in_the_middle_says_what_it_leaves(project):
    def press():
        raise KeyboardInterrupt

    with VirtualBoard("esp32") as board:
        reporter = _Meanwhile(0.3, press)
        with pytest.raises(KeyboardInterrupt):
            flash.run(job(project, board.port), reporter)
        assert "half written" in reporter.said[-1] and "run it again" in reporter.said[-1]
        flash.run(job(project, board.port))
        assert complete(board)


# -- the start --


def test_ctrl_c_at_the_start_says_that_the_board_is_written(project, board, monkeypatch, capsys):
    monkeypatch.setattr(firststart, "watch", lambda console: signal.raise_signal(signal.SIGINT))
    words = ["flash", "greenhouse", "--image", str(project / "good.bin"), "--port", board.port]
    words += ["--file", str(project / "fleet.toml"), "--yes"]
    said = "greenhouse: interrupted: the board is written, its start was not watched"
    assert cli.main(words) == 130
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1] == said
    assert complete(board)
    noted = json.loads((project / ".fieldhand" / "boards.json").read_text())
    assert noted[board.mac.hex(":")]["node"] == "greenhouse"
    assert cli.main([*words, "--json"]) == 130
    out, err = capsys.readouterr()
    [row] = json.loads(out)["boards"]
    assert (row["ok"], row["begun"], row["running"]) == (True, True, None)
    assert err.splitlines()[-1] == said


def test_board_in_boot_loop(project, board):
    class Damage(flash.Reporter):
        def phase(self, name):
            if name == "starting":
                board.flash.write(0x10000, bytes(4096))

    with pytest.raises(flash.FlashError) as caught:
        flash.run(replace(job(project, board.port), wait=True), Damage())
    assert "starts over and over" in str(caught.value)
    assert "the program in its flash is damaged: flash it again" in str(caught.value)


# -- who the board is, and several of them --


def test_a_board_that_is_another_node_is_left_alone_unless_agreed(run, board):
    make_it(board, id="greenhouse", boot="41")
    before = program(board)
    code, _, err = run("--port", board.port, node="pool")
    assert code == 2
    assert "the board is node 'greenhouse', not 'pool'" in err and "--yes" in err
    assert program(board) == before and identity(board)["id"] == b"greenhouse"
    board.wait(lambda: board.state != "download", 10, "start of what was on it")
    assert run("--port", board.port, "--yes", node="pool")[0] == 0
    assert complete(board, "pool")


def test_the_same_node_keeps_its_count_of_boots(run, board):
    make_it(board, id="greenhouse", boot="41")
    code, _, err = run("--port", board.port)
    assert code == 0
    assert "kept from the board's NVS: boot" in err
    assert int(identity(board)["boot"]) in (41, 42)  # 42: it has started since


def test_several_boards_at_once_by_name_then_by_their_macs(project, run, monkeypatch):
    with VirtualBoard("esp32") as one, VirtualBoard("esp32") as two:
        given = ["--port", f"{one.port}=greenhouse", "--port", f"{two.port}=pool"]
        code, out, _ = run("--all", *given, "--json", node=None)
        assert code == 0
        rows = {row["node"]: row for row in json.loads(out)["boards"]}
        assert rows["greenhouse"]["port"] == one.port and rows["pool"]["port"] == two.port
        assert complete(one, "greenhouse") and complete(two, "pool")
        noted = json.loads((project / ".fieldhand" / "boards.json").read_text())
        assert {mac: known["node"] for mac, known in noted.items()} == {
            one.mac.hex(":"): "greenhouse",
            two.mac.hex(":"): "pool",
        }
        # The cables are swapped: only the MACs tell.
        plugged(monkeypatch, two.port, one.port)
        code, out, _ = run("--all", node=None)
        assert code == 0
        assert [line.split()[:2] for line in out.splitlines()[1:]] == [
            ["greenhouse", one.port],
            ["pool", two.port],
        ]


def test_some_of_several_fail(run, board):
    with VirtualBoard("esp32s3") as other:
        given = ["--port", f"{board.port}=greenhouse", "--port", f"{other.port}=pool"]
        code, out, err = run("--all", "--yes", *given, node=None)
        assert code == 1
        assert "greenhouse" in out and "not begun" in out
        assert "has an ESP32-S3" in err


def test_a_process_that_dies_is_told(project, board):
    class Killer:
        def phase(self, node, name):
            if name == "writing":
                [child] = multiprocessing.active_children()
                child.kill()

        def progress(self, *args): ...

        say = chatter = progress

    [outcome] = flashall.run([job(project, board.port, yes=True)], Killer())
    assert outcome.begun
    assert "ended unexpectedly (exit code -9); run it again" in outcome.error


def test_an_unknown_board_is_never_guessed(run, monkeypatch, board):
    plugged(monkeypatch, board.port)
    code, _, err = run("--all", node=None)
    assert code == 2
    assert f"--port {board.port}=" in err.replace("PORT", board.port)
    assert board.mac.hex(":") in err


def test_a_port_error_keeps_its_kind_for_those_who_catch_it(project):
    with pytest.raises(PortError) as caught:
        flash.run(job(project, "rfc2217://127.0.0.1:9"))
    assert caught.value.kind == "refused"
