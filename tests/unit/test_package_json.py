"""package.json, manifest.py, files/ of a build: other ways to get the firmware onto a board."""

import ast
import json
import os
import pty
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import package_json
import pytest

from fieldhand import paths
from fieldhand.building import mpy
from fieldhand.cli import main
from fieldhand.fleetfile import template

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
PACKAGES = (FIRMWARE / "fieldnode", ROOT / "protocol/fieldproto")
TIMEOUT_S = 90

# MicroPython with an empty littlefs at "/", as a board has it.
BOARD = """
import os, sys, vfs

class Flash:
    data = bytearray(b"\\xff" * (1 << 20))
    def readblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        buffer[:] = self.data[at : at + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        self.data[at : at + len(buffer)] = buffer
    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // 4096
        if op == 5:
            return 4096
        if op == 6:
            self.data[arg * 4096 : (arg + 1) * 4096] = b"\\xff" * 4096
            return 0

flash = Flash()
vfs.VfsLfs2.mkfs(flash)
vfs.umount("/")
vfs.mount(flash, "/")
os.chdir("/")
sys.path[:] = ["", ".frozen", "/lib"]  # as on the ESP32
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    """A pty with a MicroPython at its REPL behind it."""
    script = tmp_path / "board.py"
    script.write_text(BOARD)
    # mpremote's end and the board's, each the other side of a pty of which we hold the first.
    ends = [pty.openpty() for _ in range(2)]
    for end in (end for pair in ends for end in pair):
        tty.setraw(end)
    (ours, theirs), (inner, outer) = ends
    board = subprocess.Popen(
        [str(paths.micropython()), "-X", "heapsize=16m", "-i", str(script)],
        stdin=outer,
        stdout=outer,
        stderr=outer,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    relay = subprocess.Popen(
        [sys.executable, "-c", RELAY, str(ours), str(inner)], pass_fds=(ours, inner)
    )
    try:
        yield os.ttyname(theirs)
    finally:
        for process in (relay, board):
            process.kill()
            process.wait(TIMEOUT_S)
        for end in (end for pair in ends for end in pair):
            os.close(end)


RELAY = """
import os, select, sys
ours, inner = (int(word) for word in sys.argv[1:])
while True:
    for end in select.select([ours, inner], [], [])[0]:
        os.write(inner if end == ours else ours, os.read(end, 4096))
"""


def mpremote(port: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "mpremote", "connect", port, "resume", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_package_json_is_what_its_tool_writes() -> None:
    assert package_json.PACKAGE.read_text("utf-8") == package_json.text(), (
        "run: python tools/package_json.py"
    )


def test_mpremote_installs_it_and_the_firmware_is_imported(port: str) -> None:
    mpremote(port, "mip", "install", "firmware/package.json")
    listed = "import os; print(sorted(os.listdir('/')), sorted(os.listdir('/lib')))"
    assert mpremote(port, "exec", listed).split("\n")[0].strip() == (
        "['boot.py', 'lib', 'main.py'] ['fieldnode', 'fieldproto']"
    )
    script = (
        "from fieldproto import dialects\n"
        "from fieldnode import commands, sampler, version\n"
        "from fieldnode.sensors import build, ezo\n"
        "dialects.load('dese', {'org': 'o'}, True)\n"
        "print(version.VERSION, version.__file__, open('main.py').read())"
    )
    said = mpremote(port, "exec", script)
    version = json.loads(package_json.PACKAGE.read_text())["version"]
    assert said.startswith(f"{version} /lib/fieldnode/version.py from fieldnode import start")


def test_mpremote_copies_what_build_has_put_into_files(
    port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WIFI_PASSWORD", "hunter2")
    Path("fleet.toml").write_text(template.FLEET_TOML.replace("# node_host", "node_host"))
    assert main(["build", "01", "--with-secrets"]) == 0
    mpremote(port, "cp", "-r", f"{tmp_path}/build/01/files/.", ":")
    script = (
        "import json\n"
        "from fieldnode import commands, version\n"
        "wifi = json.load(open('secrets.json'))['wifi_pass']\n"
        "print(version.__file__, json.load(open('/node.json'))['node'], wifi)"
    )
    assert mpremote(port, "exec", script).strip() == "fieldnode/version.mpy 01 hunter2"


class Manifest:
    """What manifest.py asks of MicroPython's makemanifest.py, noted."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.required: set[str] = set()
        source = (FIRMWARE / "manifest.py").read_text()
        known: dict[str, Any] = {
            "freeze": self.freeze,
            "require": self.required.add,
            "package": self.package,
            "module": self.module,
        }
        exec(compile(source, "manifest.py", "exec"), known)

    def freeze(self, folder: str, *files: str) -> None:
        assert folder == "$(PORT_DIR)/modules", "of MicroPython's own, only ports/esp32/modules"
        self.modules |= set(files)

    def package(self, name: str, base_path: str = ".") -> None:
        folder = (FIRMWARE / base_path / name).resolve()
        assert (folder / "__init__.py").is_file(), f"{folder} is no package"
        found = folder.rglob("*.py")
        self.modules |= {path.relative_to(folder.parent).as_posix() for path in found}

    def module(self, name: str) -> None:
        assert (FIRMWARE / name).is_file(), f"firmware/{name} does not exist"
        self.modules.add(name)


# Of micropython-lib: packages and the modules in them that a node may ask for.
PROVIDES = {
    "bundle-networking": {"mip", "ntptime", "requests", "ssl", "urequests", "webrepl"},
    "dht": {"dht"},
    "ds18x20": {"ds18x20"},
    "onewire": {"onewire"},
    "umqtt.simple": {"umqtt"},
}
# In C, in every ESP32 image.
BUILT_IN = {
    *("array", "binascii", "errno", "esp32", "gc", "hashlib", "io", "json", "machine", "math"),
    *("micropython", "network", "os", "random", "re", "select", "socket", "struct", "sys", "time"),
    *("_thread", "collections", "tls", "vfs"),
}


def test_the_manifest_freezes_what_a_node_needs_and_nothing_that_is_not_there() -> None:
    manifest = Manifest()
    assert manifest.required <= set(PROVIDES)
    needed = {name for name, _ in mpy.modules(*PACKAGES)} | {"main.py", "_boot.py"}
    # `flash` makes the file system anew, from _boot.py: in a frozen image alone.
    assert needed | {"fieldnode/flash.py"} <= manifest.modules
    have = BUILT_IN.union(*(PROVIDES[name] for name in manifest.required))
    have |= {name.partition("/")[0].removesuffix(".py") for name in manifest.modules}
    sources = [path for package in PACKAGES for path in package.rglob("*.py")]
    sources += [FIRMWARE / "main.py", FIRMWARE / "_boot.py"]
    for path in sources:
        host_only = path.name in ("jsonhost.py", "uplink.py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                tops = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                tops = {node.module.partition(".")[0]}
            else:
                continue
            assert host_only or tops <= have, f"{path.name} imports {tops - have}"
