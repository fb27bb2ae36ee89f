"""Tracebacks of the firmware as a node has it, compiled and with short names, by source line.

They are MicroPython's own: the real modules run and fail under the unix port.
"""

import subprocess
from pathlib import Path

import pytest

from fieldhand import paths
from fieldhand.building import mpy
from fieldhand.device.tracebacks import Resolver

CRASHES = """
import sys
from fieldnode.crashes import {Crashes} as Crashes
from fieldproto import nodeconfig

class Nvs:
    def get_str(self, key):
        return None
    def set_str(self, key, text):
        raise OSError(28)

def fail(call, *args):
    try:
        call(*args)
    except Exception as error:
        sys.print_exception(error, sys.stdout)

fail(Crashes, Nvs(), "watchdog")
fail(nodeconfig.load, {"version": 1, "node": 5})
"""


@pytest.fixture(scope="module")
def traceback(tmp_path_factory) -> str:
    """What MicroPython prints."""
    folder = tmp_path_factory.mktemp("node")
    packages = (paths.firmware() / "fieldnode", paths.protocol() / "fieldproto")
    mpy.write(folder, *packages, short=True)
    sources = {name: path.read_text() for name, path in mpy.modules(*packages)}
    line = sources["fieldnode/crashes.py"].split("\n").index("class Crashes:")
    short = mpy.shortened(sources)["fieldnode/crashes.py"].split("\n")[line]
    name = short.removeprefix("class ").removesuffix(":")
    (folder / "crashing.py").write_text(CRASHES.replace("{Crashes}", name))
    done = subprocess.run(
        [paths.micropython(), "crashing.py"],
        cwd=folder,
        env={"MICROPYPATH": f"{folder}:.frozen"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_a_frame_becomes_the_method_and_its_line(traceback):
    assert "in _strike" not in traceback, "the names are not short: this proves nothing"
    resolved = Resolver().text(traceback)
    number = next(
        number
        for number, line in enumerate(source("crashes.py"), 1)
        if "self._nvs.set_str(_KEY" in line
    )
    assert (
        f"  firmware/fieldnode/crashes.py:{number} in Crashes._save\n"
        "    self._nvs.set_str(_KEY, state + self.text)\n"
    ) in resolved
    assert " in Crashes._strike\n    self._save()\n" in resolved
    assert ' in Crashes.__init__\n    self._strike("the loop hung' in resolved


def test_a_function_of_the_protocol_too(traceback):
    resolved = Resolver().text(traceback)
    assert "  protocol/fieldproto/nodeconfig.py:" in resolved
    assert "\nFieldError: node: is a number, not a string" in resolved


def test_what_is_not_ours_stays(traceback):
    resolved = Resolver().text(traceback).splitlines()
    assert resolved[0] == "Traceback (most recent call last):"
    assert [line for line in resolved if "crashing.py" in line] == [
        line for line in traceback.splitlines() if "crashing.py" in line
    ]
    assert Resolver().line("I 12.345 n1 speaks plantnanny") == "I 12.345 n1 speaks plantnanny"
    assert Resolver().frame('  File "umqtt/simple.py", line 90, in connect') is None


def test_main_py_is_the_firmwares():
    lines = (paths.firmware() / "main.py").read_text().splitlines()
    number = lines.index("start.main()") + 1
    frame = Resolver().frame(f'  File "main.py", line {number}, in <module>')
    assert frame is not None and frame.sure
    assert (frame.file, frame.source) == ("firmware/main.py", "start.main()")


@pytest.mark.parametrize("line", [99_999, 1])
def test_a_line_that_cannot_be_the_nodes_is_doubted(line):
    frame = Resolver().frame(f'  File "fieldnode/node.mpy", line {line}, in _3')
    assert frame is not None and not frame.sure
    assert "lines may be off" in str(frame)


def test_a_frozen_image_keeps_its_names():
    lines = source("node.py")
    number = next(n for n, line in enumerate(lines, 1) if "self._restart_step()" in line)
    frame = Resolver().frame(f'  File "fieldnode/node.py", line {number}, in step')
    assert frame is not None and frame.sure and frame.function == "Node.step"


def source(name: str) -> list[str]:
    return Path(paths.firmware(), "fieldnode", name).read_text("utf-8").splitlines()
