"""What is written where on a board, and whether it may be: all of it before anything is erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fieldhand.boards import Board
from fieldhand.building import build
from fieldhand.errors import FieldhandError
from fieldhand.esp import ImageError, image, littlefs, nvs, partitions
from fieldhand.esp.image import MicroPythonImage

# Of a node's namespace these are not taken over: a cable brings the first, and a new program has
# not crashed yet.
_BROUGHT = frozenset(("id", "wifi_ssid", "wifi_pass", "mqtt_user", "mqtt_pass"))
# Crashes of the old firmware, and credentials that were sent: what the cable brings wins.
_FORGOTTEN = frozenset(("crashes", "net", "net_trial"))


@dataclass(frozen=True)
class Chip:
    """What the board on the cable turned out to be. `flash_size` in bytes, None if unknown."""

    name: str
    title: str
    flash_size: int | None
    locked: str | None


@dataclass(frozen=True)
class Held:
    """What a board's NVS held for us: the node it was, None if none, and all values."""

    node: str | None
    values: Mapping[str, int | bytes]


@dataclass(frozen=True)
class Plan:
    """(offset, bytes) in the order of writing, and the NVS keys taken over."""

    segments: tuple[tuple[int, bytes], ...]
    kept: tuple[str, ...]

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.segments)


def check_image(data: bytes, name: str, board: Board) -> MicroPythonImage:
    """The image in `data`, from the file `name`, if it is one for `board`. Raises ImageError."""
    try:
        found = image.read(data)
        build.check_image(board, found)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    return found


def check_chip(chip: Chip, board: Board, node: str) -> None:
    """Raise FieldhandError unless the chip on the cable is what the node's board has."""
    if chip.name != board.chip:
        raise FieldhandError(
            f"the board there has an {chip.title}, and '{node}' is for {board.name} with an "
            f"{image.chip_title(board.chip)}: is it the right port? If so, set another board for "
            f"[node.{node}] in the fleet file"
        )
    if chip.locked:
        raise FieldhandError(
            f"{chip.locked} is burnt into this {chip.title}: it runs signed or encrypted programs "
            "only, and stays so; take another board"
        )
    if chip.flash_size is not None and chip.flash_size < board.flash_size:
        raise FieldhandError(
            f"its flash has {_mb(chip.flash_size)}, and {board.name} has {_mb(board.flash_size)}: "
            "the image does not fit; take another board, or an image and a board file for less"
        )


def held(partition: bytes) -> Held:
    """What the NVS partition of a board held for us."""
    values = {
        key: value.encode() if isinstance(value, str) else value
        for key, value in nvs.read(partition).get(build.NVS_NAMESPACE, {}).items()
    }
    name = values.get("id")
    return Held(name.decode("utf-8", "replace") if isinstance(name, bytes) else None, values)


def nvs_place(table: bytes) -> partitions.Partition | None:
    """Where a board has its NVS; None for a blank or foreign one.

    `table` is its flash from partitions.TABLE_OFFSET.
    """
    try:
        found = partitions.parse(table)
    except ImageError:
        return None
    return next((part for part in found if part.subtype == "nvs"), None)


def plan(
    data: bytes,
    found: MicroPythonImage,
    flash_size: int,
    vfs: bytes,
    secrets: Mapping[str, str],
    before: Held,
) -> Plan:
    """Everything a complete board needs. Raises ImageError for what does not fit.

    `vfs` is the file system made for the flash that the board's file names.

    The file system goes first and the bootloader last, so that a blank board whose flashing was
    cut off does not start at all, rather than as half a node.
    """
    needed = _header_flash_size(data)
    if needed > flash_size:
        raise ImageError(
            f"the image is made for {_mb(needed)} of flash, and the board has {_mb(flash_size)}: "
            f"take the variant FLASH_{flash_size >> 20}M from {image.DOWNLOADS}"
        )
    place = partitions.find(found.partitions, "nvs")
    if place is None:
        raise ImageError("the image's partition table has no NVS: not an image for a node")
    fs = found.file_system(flash_size)
    kept = {
        key: value
        for key, value in before.values.items()
        if before.node == secrets.get("id") and key not in _BROUGHT | _FORGOTTEN
    }
    brought = {key: value.encode() for key, value in secrets.items()}
    try:
        stored = nvs.write({build.NVS_NAMESPACE: {**kept, **brought}}, place.size)
    except ImageError:
        if not kept:
            raise
        kept = {key: value for key, value in kept.items() if key == "boot"}
        stored = nvs.write({build.NVS_NAMESPACE: {**kept, **brought}}, place.size)
    if fs.size != len(vfs):
        vfs = littlefs.write(littlefs.read(vfs), fs.size)
    segments = [(fs.offset, vfs)]
    segments += reversed(image.regions(data, found, stored))
    _no_overlap(segments, flash_size)
    return Plan(tuple(segments), tuple(sorted(kept)))


def _no_overlap(segments: Sequence[tuple[int, bytes]], flash_size: int) -> None:
    end = 0
    for offset, data in sorted(segments):
        if offset < end:
            raise ImageError(f"the image reaches into the file system at 0x{offset:x}")
        end = offset + len(data)
    if end > flash_size:
        raise ImageError(f"it ends at {end >> 10} kB, and the flash has {flash_size >> 10} kB")


def _header_flash_size(data: bytes) -> int:
    """Bytes; the bootloader refuses to start on a chip with less ("Firmware Image Format")."""
    return 1 << (20 + (data[3] >> 4))


def _mb(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} kB"
