"""The file system, against MicroPython's own `VfsLfs2`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fieldhand import paths
from fieldhand.esp import ImageError, littlefs

SIZE = 1 << 20
FILES = {
    "main.py": b"print('hello')\n",
    "empty": b"",
    "node.json": json.dumps({"node": "gewächshaus"}).encode(),
    "fieldnode/sensors/base.mpy": bytes(range(256)) * 100,
    "fieldnode/node.mpy": b"M\x06\x00\x1f" * 1100,
    "one block": b"x" * 4096,
}

# A block device as `esp32.Partition` is one, in memory.
ON_MICROPYTHON = """
import json, os, sys, vfs

class Flash:
    def __init__(self, data):
        self.data = data
    def readblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        buffer[:] = self.data[at : at + len(buffer)]
    def writeblocks(self, block, buffer, offset=None):
        at = block * 4096 + (offset or 0)
        self.data[at : at + len(buffer)] = buffer
    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // 4096
        if op == 5:
            return 4096
        if op == 6:
            self.data[arg * 4096 : (arg + 1) * 4096] = b"\\xff" * 4096
            return 0

def tree(folder):
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        if kind == 0x4000:
            yield from tree(path)
        else:
            yield path

with open(sys.argv[1], "rb") as file:
    flash = Flash(bytearray(file.read()))
"""


def micropython(script: str, image: Path) -> str:
    done = subprocess.run(
        [paths.micropython(), "-X", "heapsize=16m", "-c", ON_MICROPYTHON + script, str(image)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_micropython_mounts_it_reads_it_and_writes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "vfs.bin"
    path.write_bytes(littlefs.write(FILES, SIZE))
    script = """
vfs.mount(flash, "/flash")  # as _boot.py does: no format, no size told
sizes = {}
for name in tree("/flash"):
    with open(name, "rb") as file:
        sizes[name] = sum(file.read())
print(json.dumps(sizes))
with open("/flash/fieldnode/new", "wb") as file:
    file.write(b"n" * 5000)
os.remove("/flash/main.py")
vfs.umount("/flash")
with open(sys.argv[1], "wb") as file:
    file.write(flash.data)
"""
    sums = json.loads(micropython(script, path))
    assert sums == {f"/flash/{name}": sum(data) for name, data in FILES.items()}
    left = {name: data for name, data in FILES.items() if name != "main.py"}
    assert littlefs.read(path.read_bytes()) == left | {"fieldnode/new": b"n" * 5000}


def test_what_micropython_formats_is_read(tmp_path: Path) -> None:
    path = tmp_path / "vfs.bin"
    path.write_bytes(b"\xff" * SIZE)
    script = """
vfs.VfsLfs2.mkfs(flash)  # as inisetup.py does
vfs.mount(flash, "/flash")
with open("/flash/boot.py", "w") as file:
    file.write("# first")
vfs.umount("/flash")
with open(sys.argv[1], "wb") as file:
    file.write(flash.data)
"""
    micropython(script, path)
    assert littlefs.read(path.read_bytes()) == {"boot.py": b"# first"}


def test_the_same_files_are_the_same_bytes() -> None:
    image = littlefs.write(FILES, SIZE)
    turned = {name: FILES[name] for name in reversed(FILES)}
    assert littlefs.write(turned, SIZE) == image
    assert littlefs.write(FILES | {"empty": b"."}, SIZE) != image


def test_what_is_used_is_counted_in_blocks() -> None:
    # Two blocks of metadata, as many for a folder; 100 blocks of data and littlefs' pointers.
    before = littlefs.used(littlefs.write({}, SIZE))
    after = littlefs.used(littlefs.write({"lib/a": bytes(100 * 4096)}, SIZE))
    assert before == 2 * 4096 and 104 * 4096 <= after <= 106 * 4096


@pytest.mark.parametrize("size", [0, 4096, 10_000])
def test_a_size_that_is_none_is_said(size: int) -> None:
    with pytest.raises(ImageError, match="whole blocks of 4096, from 2"):
        littlefs.write({}, size)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ImageError, match=r"need about 104 kB, and the file system has 64 kB"):
        littlefs.write({"a": bytes(100_000), "b": b"x"}, 1 << 16)


@pytest.mark.parametrize("image", [b"\xff" * SIZE, bytes(SIZE)])
def test_what_is_no_file_system_is_said(image: bytes) -> None:
    for look in (littlefs.read, littlefs.used):
        with pytest.raises(ImageError, match="file system cannot be read"):
            look(image)


def test_one_of_another_size_is_not_taken_for_good() -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        littlefs.read(littlefs.write(FILES, SIZE)[: SIZE // 2])


def test_without_littlefs_it_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "littlefs", None)
    for attempt in (lambda: littlefs.write({}, SIZE), lambda: littlefs.read(bytes(SIZE))):
        with pytest.raises(paths.MissingPart, match=r"pip install 'fieldhand\[board\]'"):
            attempt()
