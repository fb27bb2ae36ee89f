"""Virtual boards for tests: a flash put together in memory, as esptool would have written it."""

from collections.abc import Mapping
from pathlib import Path

from fieldhand.building import build
from fieldhand.esp import image, littlefs, nvs, partitions
from fieldhand.fleetfile import FleetFile
from fieldhand.virtual import VirtualBoard
from fieldhand.virtual.image import standin_image

MB = 1 << 20
# Loopback as well; a fleet file's 127.0.0.1 is refused, since no board on a cable could reach it.
HOST = "127.0.0.2"


def contents(
    chip: str = "esp32",
    files: Mapping[str, bytes] | None = None,
    values: Mapping[str, Mapping[str, int | bytes]] | None = None,
    data: bytes | None = None,
    size: int = 4 * MB,
) -> bytes:
    """All of a flash: MicroPython's image (`data`, else a stand-in), `files`, `values` in NVS."""
    data = data or standin_image(chip)
    facts = image.read(data)
    flash = bytearray(b"\xff" * size)
    flash[facts.offset : facts.offset + len(data)] = data
    if files is not None:
        place = facts.file_system(size)
        flash[place.offset : place.end] = littlefs.write(files, place.size)
    if values is not None:
        found = partitions.find(facts.partitions, "nvs")
        assert found is not None
        flash[found.offset : found.end] = nvs.write(values, found.size)
    return bytes(flash)


def flashed(
    folder: Path,
    files: Mapping[str, bytes] | None = None,
    *,
    chip: str = "esp32",
    values: Mapping[str, Mapping[str, int | bytes]] | None = None,
    **options: object,
) -> VirtualBoard:
    """A board with `files` in its file system, switched on; `options` are VirtualBoard's."""
    file = folder / "flash.bin"
    file.write_bytes(contents(chip, files, values))
    return VirtualBoard(chip, 4 * MB, file, **options)  # type: ignore[arg-type]


def start_node(board: VirtualBoard, file: FleetFile, node: str) -> None:
    """Make a node of `board`, as `fieldhand flash` leaves one; what that does has its own tests."""
    micropython = standin_image(board.chip)
    facts = image.read(micropython)
    made = build.images(file, file.nodes[node], image=facts)
    for at, data in image.regions(micropython, facts, made.nvs):
        board.flash.write(at, data)
    board.flash.write(made.vfs_place.offset, made.vfs)
    board.press_reset()
