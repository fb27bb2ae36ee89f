"""The image of MicroPython that is written to an ESP32: bootloader, partition table, program.

Formats: esptool's documentation, "Firmware Image Format"; ESP-IDF Programming Guide, "App Image
Format". A full image begins with the bootloader, which each chip wants at its own address, and
goes on as flash does; an app image (".app-bin") is the program alone.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fieldhand import paths
from fieldhand.esp import ImageError
from fieldhand.esp import partitions as table
from fieldhand.esp.partitions import Partition

__all__ = [
    "DOWNLOADS",
    "ImageError",
    "MicroPythonImage",
    "app_descriptor",
    "chip_title",
    "pack",
    "program",
    "read",
    "regions",
]

DOWNLOADS = "https://micropython.org/download/?mcu=esp32"

_MAGIC = 0xE9
_CHIP_ID = 12  # in the header of 24 bytes
_DIGEST = 32  # bytes of the SHA-256 that ESP-IDF appends by default, as MicroPython has it
_DESCRIPTOR = 32  # of an app: after its header and that of its first segment
_DESCRIPTOR_MAGIC = 0xABCD5432
_VERSION = re.compile(rb"MicroPython (v?(\d+\.\d+\.\d+)[-\w.]*) on \d{4}-\d\d-\d\d")
_BUILD = re.compile(rb"(?<![0-9A-Za-z_])(ESP32_GENERIC(?:_[A-Z0-9]+)?(?:-[A-Z0-9_]+)?)\0")
_MODULE = re.compile(rb"[\w/]+\.py(?=\0)")
_ELSEWHERE = {
    b"\x7fELF": "an .elf file, for a debugger",
    b"UF2\n": "a .uf2 file, for a board that shows as a disk",
    b"PK\x03\x04": "a .zip file",
    b"\x1f\x8b": "a .gz file",
    b"<": "a web page, not the file it links to",
}


@dataclass(frozen=True)
class MicroPythonImage:
    """A full image of MicroPython. Addresses and sizes in bytes.

    `offset` is the address in flash that the file is written to. `version` is "1.24.0" (or
    "1.25.0" of "1.25.0-preview..."); `build` names board and variant as `sys.implementation._build`
    does, from 1.25 on, for the official builds. `variant` is "" for the plain one, "OTA",
    "SPIRAM" and so on. `frozen` are the modules inside ("umqtt/simple.py"), and a few file names
    that are only spoken of. `segments` are (load address, size) of the program.
    """

    chip: str
    offset: int
    version: str
    build: str | None
    variant: str
    psram: bool
    frozen: frozenset[str]
    partitions: tuple[Partition, ...]
    segments: tuple[tuple[int, int], ...]
    program_size: int
    size: int

    @property
    def program(self) -> Partition:
        """Where the program is, or the first of two."""
        return next(part for part in self.partitions if part.kind == "app")

    def check_chip(self, chip: str) -> None:
        """Raises ImageError where the image is for another chip than `chip` (esptool's name)."""
        if chip != self.chip:
            raise ImageError(
                f"the image is for {chip_title(self.chip)}, and the board has {chip_title(chip)}: "
                f"take one for {chip_title(chip)} from {DOWNLOADS}"
            )

    def file_system(self, flash_size: int) -> Partition:
        """See `partitions.file_system`."""
        return table.file_system(self.partitions, flash_size)


def read(data: bytes) -> MicroPythonImage:
    """What the file `data` is. Raises ImageError for all but an undamaged, full MicroPython image.

    Checksum and SHA-256 of bootloader and program are verified, and the table's MD5.
    """
    chip, offset = _chip(data)
    _verified("the bootloader", chip, data[: table.TABLE_OFFSET - offset])
    try:
        partitions = table.parse(data[table.TABLE_OFFSET - offset :])
    except ImageError as error:
        raise ImageError(f"{error}: get the file again") from None
    app = next((part for part in partitions if part.kind == "app"), None)
    if app is None:
        raise ImageError("the partition table has no place for a program")
    content = data[app.offset - offset :]
    loaded = _verified("the program", chip, content)
    length = loaded.data_length + _DIGEST
    if length > app.size:
        raise ImageError(
            f"the program has {length} bytes, and its partition '{app.name}' {app.size}: "
            "an image of another variant"
        )
    content = content[:length]
    version = _VERSION.search(content)
    if version is None:
        raise ImageError(f"an image for {chip}, but no MicroPython: get one from {DOWNLOADS}")
    build = _BUILD.search(content)
    psram = b"esp_psram\0" in content
    name = build[1].decode() if build else None
    if name is not None and "-" in name:
        variant = name.partition("-")[2]
    elif app.subtype.startswith("ota_"):
        variant = "OTA"
    else:
        # PSRAM has an image of its own only on the ESP32; before 1.25 it does not say its name.
        variant = "SPIRAM" if psram and chip == "esp32" else ""
    return MicroPythonImage(
        chip=chip,
        offset=offset,
        version=version[2].decode(),
        build=name,
        variant=variant,
        psram=psram,
        frozen=frozenset(name.decode() for name in _MODULE.findall(content)),
        partitions=partitions,
        segments=tuple((segment.addr, len(segment.data)) for segment in loaded.segments),
        program_size=length,
        size=len(data),
    )


def regions(data: bytes, image: MicroPythonImage, nvs: bytes) -> list[tuple[int, bytes]]:
    """(address, bytes) to write for the image `data` with `nvs` in the place it has for it.

    The file covers NVS with 0xFF, and esptool refuses files that overlap. What else is between
    the partitions is written as it is in the file, so that no OTA data of before stays. Raises
    ImageError where the image has no NVS, or one of another size.
    """
    place = table.find(image.partitions, "nvs")
    if place is None or place.size != len(nvs):
        size = "none" if place is None else f"{place.size} bytes"
        raise ImageError(f"the image has another NVS than the one built: {size}, not {len(nvs)}")
    before, after = data[: place.offset - image.offset], data[place.end - image.offset :]
    return [(image.offset, before), (place.offset, nvs), (place.end, after)]


def chip_title(chip: str) -> str:
    """ "ESP32-S3" for "esp32s3"; the name itself for one that esptool does not know."""
    rom = _library()[0].get(chip)
    return chip if rom is None else str(rom.CHIP_NAME)


def program(chip: str, data: bytes, *, in_flash: bool) -> bytes:
    """An image as esptool makes it with `data` as its only content, checksum and SHA-256 appended.

    `in_flash`: an app, whose data is mapped from flash; else a bootloader, loaded into RAM.
    """
    from esptool.bin_image import ImageSegment

    kind, rom = _image_class(chip), _rom(chip)
    made = kind()
    made.flash_size_freq = 0x20  # 4 MB, 40 MHz
    made.flash_mode = 2  # DIO
    ram = next(low for low, _, name in rom.MEMORY_MAP if name == "DRAM")
    # A page of flash is mapped as it lies: after the header of the image and of the segment.
    address = rom.DROM_MAP_START + _DESCRIPTOR if in_flash else ram
    made.entrypoint = address
    segment = ImageSegment(address, data)
    segment.name = ""
    made.segments = [segment]
    packed: bytes = made.save(None)
    return packed


def app_descriptor(version: str = "", project: str = "micropython", idf: str = "v5.2.2") -> bytes:
    """The first 256 bytes of an app's data (`esp_app_desc_t`), without date and ELF's SHA-256."""
    texts = [text.encode().ljust(32, b"\0") for text in (version, project, idf)]
    head = struct.pack("<II8x", _DESCRIPTOR_MAGIC, 0) + texts[0] + texts[1] + bytes(32) + texts[2]
    return head.ljust(256, b"\0")


def pack(chip: str, bootloader: bytes, partitions: Sequence[Partition], app: bytes) -> bytes:
    """A full image, from two of `program` and a table, as MicroPython's makeimg.py joins them."""
    offset: int = _rom(chip).BOOTLOADER_FLASH_OFFSET
    first = next(part for part in partitions if part.kind == "app")
    image = bootloader.ljust(table.TABLE_OFFSET - offset, b"\xff") + table.pack(partitions)
    return image.ljust(first.offset - offset, b"\xff") + app


def _chip(data: bytes) -> tuple[str, int]:
    """(esptool's name of the chip, address of the bootloader) of what seems a full image."""
    if not data:
        raise ImageError("the file is empty")
    for begin, what in _ELSEWHERE.items():
        if data.lstrip()[: len(begin)] == begin:
            raise ImageError(f"this is {what}: take the .bin file from {DOWNLOADS}")
    if data[0] != _MAGIC:
        if data[0x1000:0x1001] == bytes([_MAGIC]) and not data[:0x1000].strip(b"\xff"):
            raise ImageError(
                "this is a copy of flash from its beginning, and an image for an ESP32 begins "
                "with the bootloader at 0x1000: leave out the first 4096 bytes"
            )
        raise ImageError(f"this is no image for an ESP32: take a .bin file from {DOWNLOADS}")
    if len(data) <= _DESCRIPTOR + 4:
        raise ImageError("the file is cut off after a few bytes: get it again")
    if struct.unpack_from("<I", data, _DESCRIPTOR)[0] == _DESCRIPTOR_MAGIC:
        raise ImageError(
            "this is an app image (.app-bin), for an update over the air, without bootloader and "
            f"partition table: take the full .bin from {DOWNLOADS}"
        )
    number = struct.unpack_from("<H", data, _CHIP_ID)[0]
    chips = _chips()
    if number not in chips:
        raise ImageError(
            f"this is an image for an unknown chip, number {number}: no ESP32, or damaged"
        )
    chip = chips[number]
    offset: int = _rom(chip).BOOTLOADER_FLASH_OFFSET
    if len(data) <= table.TABLE_OFFSET - offset:
        raise ImageError(
            "the file ends before the partition table: it is cut off, or a bootloader alone"
        )
    return chip, offset


def _verified(what: str, chip: str, data: bytes) -> Any:
    """esptool's image object of what `data` begins with. Raises ImageError where it is damaged."""
    from esptool import FatalError

    bad = f"{what} in the image is cut off or damaged: get the file again"
    if not data:
        raise ImageError(f"the image ends before {what}: it is cut off; get the file again")
    try:
        loaded = _image_class(chip)(io.BytesIO(data))
    except (FatalError, struct.error, TypeError, RuntimeError) as error:
        raise ImageError(bad) from error  # TypeError: esptool's ord() of a byte that is not there
    if loaded.checksum != loaded.calculate_checksum():
        raise ImageError(f"{bad} (wrong checksum)")
    if not loaded.append_digest or loaded.stored_digest != loaded.calc_digest:
        raise ImageError(f"{bad} (wrong SHA-256)")
    return loaded


def _library() -> tuple[dict[str, Any], Any]:
    try:
        from esptool import bin_image, targets
    except ImportError:
        raise paths.MissingPart("no esptool: pip install 'fieldhand[board]'") from None
    return targets.CHIP_DEFS, bin_image


def _chips() -> dict[int, str]:
    """esptool's name of each chip by the number that is in its images."""
    found = {getattr(rom, "IMAGE_CHIP_ID", None): name for name, rom in _library()[0].items()}
    return {number: name for number, name in found.items() if isinstance(number, int)}


def _rom(chip: str) -> Any:
    rom = _library()[0].get(chip)
    if rom is None:
        raise ImageError(f"unknown chip '{chip}'")
    return rom


def _image_class(chip: str) -> Any:
    return _rom(chip).BOOTLOADER_IMAGE
