"""Fetch umqtt.simple, which the ESP32 images have frozen in and the unix MicroPython has not.

    build/umqtt/umqtt/simple.py            the pinned sdist, its hash verified
    build/umqtt-upstream/umqtt/simple.py   upstream's current one, where mip reaches it

The sdist has no setup.py, so pip refuses it; `unearth` downloads without building.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "micropython-umqtt.simple"
VERSION = "1.3.4"
SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
MODULE = "umqtt/simple.py"
DOWNLOAD_TIMEOUT_S = 120
MIP_TIMEOUT_S = 20


class FetchError(Exception):
    """Says in one line what could not be fetched and why."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch umqtt.simple into build/.")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="default: %(default)s")
    parser.add_argument("--no-upstream", action="store_true", help="the pinned version only")
    options = parser.parse_args()
    try:
        print(pinned(options.build / "umqtt"))
    except FetchError as exc:
        print(f"get_umqtt: {exc}", file=sys.stderr)
        return 1
    if not options.no_upstream:
        print(upstream(options.build / "umqtt-upstream"))
    return 0


def pinned(target: Path) -> str:
    """Put the pinned version under `target` unless it is there; say which.

    Raises FetchError when it cannot be downloaded or is not the file we know.
    """
    stamp = target / SHA256
    if stamp.exists() and (target / MODULE).exists():
        return f"umqtt.simple {VERSION} is in {target}"
    with tempfile.TemporaryDirectory() as scratch:
        archive = download(Path(scratch))
        verify(archive)
        unpack(archive, target)
    stamp.touch()
    return f"umqtt.simple {VERSION} fetched to {target}"


def download(folder: Path) -> Path:
    """Let unearth put the sdist into `folder`."""
    command = [sys.executable, "-m", "unearth", f"{NAME}=={VERSION}", "--no-binary"]
    index = package_index()
    if index:
        command += ["--index-url", index]
    command += ["--download", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise FetchError(f"{NAME} {VERSION}: no answer in {DOWNLOAD_TIMEOUT_S} s") from None
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or len(archives) != 1:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing downloaded"]
        raise FetchError(f"cannot download {NAME} {VERSION}: {said[-1]}")
    return archives[0]


def package_index() -> str:
    """The index pip is set up to use, which unearth does not read; empty for the default."""
    if "PIP_INDEX_URL" in os.environ:
        return os.environ["PIP_INDEX_URL"]
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def verify(archive: Path) -> None:
    """Raises FetchError unless `archive` is byte for byte what we tested."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise FetchError(f"{archive.name}: sha256 is {found}, expected {SHA256}")


def unpack(archive: Path, target: Path) -> None:
    """Extract the one module of `archive` to its place under `target`."""
    with tarfile.open(archive) as tar:
        source = tar.extractfile(f"{NAME}-{VERSION}/{MODULE}")
        if source is None:
            raise FetchError(f"{archive.name}: holds no {MODULE}")
        text = source.read()
    shutil.rmtree(target, ignore_errors=True)
    (target / MODULE).parent.mkdir(parents=True)
    (target / MODULE).write_bytes(text)


def upstream(target: Path) -> str:
    """Install upstream's current umqtt.simple with mip where it is reachable; say how it went."""
    if (target / MODULE).exists():
        return f"umqtt.simple upstream is in {target}"
    interpreter = micropython()
    if interpreter is None:
        return "umqtt.simple upstream: not fetched, no micropython command"
    script = f"import mip; mip.install('umqtt.simple', target={str(target)!r}, mpy=False)"
    try:
        subprocess.run([interpreter, "-c", script], capture_output=True, timeout=MIP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    if (target / MODULE).exists():
        return f"umqtt.simple upstream fetched to {target}"
    shutil.rmtree(target, ignore_errors=True)
    return "umqtt.simple upstream: not reachable by mip, tests run on the pinned one only"


def micropython() -> str | None:
    """Path of the unix MicroPython command: beside this Python, else on PATH."""
    beside = Path(sys.executable).with_name("micropython")
    return str(beside) if beside.exists() else shutil.which("micropython")


if __name__ == "__main__":
    sys.exit(main())
