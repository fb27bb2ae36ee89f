"""A node's build on disk: the images, what esptool is to do with them, and the files by themselves.

build/greenhouse/
    boot.bin          bootloader and partition table      } of the MicroPython image,
    micropython.bin   MicroPython                         } where there is one
    nvs.bin           identity and secrets; nobody else can read it
    vfs.bin           file system: firmware and node.json
    flash_args        for `esptool @flash_args`
    files/            what is in vfs.bin, for `mpremote cp`
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from fieldhand import boards
from fieldhand.boards import Board
from fieldhand.building import build, heapestimate
from fieldhand.building.build import Images
from fieldhand.building.heapestimate import Estimate
from fieldhand.building.imagestore import Stored
from fieldhand.errors import FieldhandError
from fieldhand.esp import ImageError, littlefs, nvs
from fieldhand.esp import image as esp_image
from fieldhand.esp.image import MicroPythonImage
from fieldhand.fleetfile import FleetFile, NodeConfig, node_json
from fieldhand.provisioning import gitguard

ARGUMENTS = "flash_args"
FILES = "files"
SECRETS = "secrets.json"  # the node moves it into NVS, see firmware/fieldnode/identity.py
_PRIVATE = 0o600
_IMAGE_PARTS = ("boot.bin", "micropython.bin")


@dataclass(frozen=True)
class Region:
    """A file of the folder and the address in flash it is for."""

    offset: int
    name: str
    size: int


@dataclass(frozen=True)
class Usage:
    """Of a partition: bytes in use, and bytes there are."""

    name: str
    used: int
    size: int


@dataclass(frozen=True)
class Built:
    """A folder that was written. `command` is the one call of esptool that writes the board.

    `image` is the file's name, None where there was none. `heap` is None where the image has the
    firmware frozen in. `warnings` are lines for a person.
    """

    folder: Path
    board: Board
    image: str | None
    regions: list[Region]
    usage: list[Usage]
    heap: Estimate | None
    warnings: list[str]

    @property
    def command(self) -> list[str]:
        pairs = [
            word for r in self.regions for word in (f"0x{r.offset:x}", str(self.folder / r.name))
        ]
        return ["esptool", "--chip", self.board.chip, "write-flash", *pairs]


def make(
    file: FleetFile,
    node: NodeConfig,
    folder: Path,
    *,
    image: Stored | None = None,
    flash_size: int | None = None,
    source: bool = False,
    with_secrets: bool = False,
) -> Built:
    """Build all of the flash of a node's board into `folder`.

    With `image` it is for a bare board, without it for one that has MicroPython. `flash_size` in
    bytes is the board's where nobody says another. With `with_secrets` they are in the folder
    `files` as well. Raises ConfigError, ImageError, FieldhandError, of which MissingPart.
    """
    board = boards.load(node.board)
    found = None
    try:
        if image is not None:
            found = esp_image.read(image.data)
        images = build.images(file, node, image=found, flash_size=flash_size, source=source)
    except ImageError as error:
        raise ImageError(f"{image.name if image else board.name}: {error}") from error
    regions = write(
        folder,
        board.chip,
        images,
        image=None if found is None or image is None else (found, image.data),
        secrets=build.secrets(file, node) if with_secrets else None,
    )
    usage = [
        Usage("nvs", nvs.used(images.nvs), images.nvs_place.size),
        Usage("vfs", littlefs.used(images.vfs), images.vfs_place.size),
    ]
    if found is not None:
        usage.insert(0, Usage("program", found.program_size, found.program.size))
    settings = node_json(file, node)
    warnings = build.warnings(node)
    heap = None
    if found is None or not build.is_frozen(found):
        # The S3's image can use PSRAM too, but whether a board has any nobody knows.
        psram = found is not None and found.variant == "SPIRAM"
        heap = heapestimate.estimate(settings, board.chip, psram=psram)
        warnings += heapestimate.warnings(heap, board.chip, tls="tls" in settings["broker"])
    return Built(folder, board, image.name if image else None, regions, usage, heap, warnings)


def write(
    folder: Path,
    chip: str,
    images: Images,
    *,
    image: tuple[MicroPythonImage, bytes] | None = None,
    secrets: dict[str, str] | None = None,
) -> list[Region]:
    """Write a build, in place of an earlier one; returns what belongs where, by address.

    With `image` (see `image.read`) it is all of a bare board, without it what a board with
    MicroPython lacks. With `secrets` they are in the folder `files` as well, which a node copied
    by mpremote needs. Raises FieldhandError: git sees the folder, or it cannot be written.
    """
    contents = {
        "nvs.bin": (images.nvs_place.offset, images.nvs),
        "vfs.bin": (images.vfs_place.offset, images.vfs),
    }
    if image is not None:
        (start, boot), _, (rest, program) = esp_image.regions(image[1], image[0], images.nvs)
        contents["boot.bin"], contents["micropython.bin"] = (start, boot), (rest, program)
    regions = sorted(
        (Region(offset, name, len(data)) for name, (offset, data) in contents.items()),
        key=lambda region: region.offset,
    )
    gitguard.refuse_if_seen(folder / "nvs.bin")
    if secrets is not None:
        gitguard.refuse_if_seen(folder / FILES / SECRETS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _IMAGE_PARTS:
            (folder / name).unlink(missing_ok=True)
        for name, (_, data) in contents.items():
            _put(folder / name, data, private=name == "nvs.bin")
        lines = [f"--chip {chip} write-flash", *(f"0x{r.offset:x} {r.name}" for r in regions)]
        _put(folder / ARGUMENTS, "\n".join([*lines, ""]).encode())
        _write_files(folder / FILES, images.files, secrets)
    except OSError as error:
        raise FieldhandError(f"{error.filename or folder}: {error.strerror or error}") from error
    return regions


def _write_files(folder: Path, files: dict[str, bytes], secrets: dict[str, str] | None) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / "node.json").is_file():
            raise FieldhandError(f"{folder} is not of a build: give another folder with --output")
        shutil.rmtree(folder)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _put(folder / name, data)
    if secrets is not None:
        text = json.dumps(secrets, ensure_ascii=False)
        _put(folder / SECRETS, text.encode() + b"\n", private=True)


def _put(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write; `private` for nobody else to read, not even for a moment."""
    if private:
        path.unlink(missing_ok=True)
    mode = _PRIVATE if private else 0o666
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
