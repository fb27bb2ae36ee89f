"""What can be wrong with a node's file system: the doctor names it and says what to do."""

from pathlib import Path

from e2e.doctor.ward import Ward, assert_fails

from fieldhand import scripts
from fieldhand.doctor import Finding

FAKES = Path(__file__).parents[2] / "fakes"
# A board's file system of 16 blocks in the memory of the simulated node: tests/fakes/flash.py.
RAM_DISK = f"""
import os, sys, vfs
sys.path.append({str(FAKES)!r})
from flash import Flash
_ram = Flash(16).format()
vfs.mount(vfs.VfsLfs2(_ram), "/ram")
os.chdir("/ram")
"""


def test_damaged_files_are_named(pool):
    pool.write("settings.json", '{"values": ')
    (pool.node.flash / "old.mpy").write_bytes(b"M\x05\x00\x1f")
    try:
        words = ("settings.json is no JSON", "old.mpy is compiled for mpy format 5")
        assert_fails(pool.finding("file system"), *words, "fieldhand deploy")
    finally:
        (pool.node.flash / "settings.json").unlink()
        (pool.node.flash / "old.mpy").unlink()


def on_ram_disk(pool: Ward, more: str) -> Finding:
    """The file system check on a littlefs of 64 KiB, prepared by `more`."""
    code = RAM_DISK + more + scripts.source("system", {"root": "/ram"})
    result = scripts.parse("system", pool.executor.exec(code, 20))
    from fieldhand.doctor import system

    return {f.check: f for f in system.judge(result, "0.1.0")}["file system"]


def test_a_littlefs_with_room_is_fine(pool):
    finding = on_ram_disk(pool, "with open('a', 'w') as f: f.write('x')\n")
    assert finding.state == "ok" and "of 66 kB, 1 files" in finding.text


def test_a_full_littlefs(pool):
    finding = on_ram_disk(pool, "with open('a', 'w') as f: f.write('x' * 40000)\n")
    assert_fails(finding, "outbox_bytes")


def test_a_damaged_littlefs(pool):
    more = "os.mkdir('d')\nwith open('d/a', 'w') as f: f.write('x' * 9)\n"
    more += "for i in range(8192, 65536): _ram.data[i] = 90\n"
    assert_fails(on_ram_disk(pool, more), "damaged", "fieldhand flash")
