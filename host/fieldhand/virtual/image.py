"""An image of MicroPython without MicroPython: for tests, CI and trying out.

Layout, headers, checksums, SHA-256s and partition table are those of the official image of the
same name, so esptool and `fieldhand flash` take it for one, and a virtual board boots it as it
boots the official one. In place of the chip's code are the texts by which one knows it; a real
board would not start with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from fieldhand.errors import FieldhandError
from fieldhand.esp import image, layouts
from fieldhand.esp.partitions import Partition

# What the board files pin.
VERSIONS = {"esp32": "1.24.0", "esp32s3": "1.28.0", "esp32c3": "1.28.0"}
_BOARDS = {
    "esp32": "ESP32_GENERIC",
    "esp32s3": "ESP32_GENERIC_S3",
    "esp32c3": "ESP32_GENERIC_C3",
}
_MACHINES = {
    "esp32": "Generic ESP32 module with ESP32",
    "esp32s3": "Generic ESP32S3 module with ESP32S3",
    "esp32c3": "ESP32C3 module with ESP32C3",
}
_SAYS_ITS_BUILD = (1, 25)
_FLASH_SIZE = 4 << 20
# Modules in the official images that nodes import, and that a virtual board has as well.
_FROZEN = ("dht", "ds18x20", "ntptime", "onewire", "ssl", "umqtt/simple")


def standin_image(
    chip: str = "esp32",
    version: str | None = None,
    variant: str = "",
    partitions: Sequence[Partition] | None = None,
) -> bytes:
    """What the file ESP32_GENERIC...-`version`.bin looks like from outside.

    `chip` is esptool's name, `variant` "" or "OTA"; `partitions` are the official ones for 4 MB
    unless given. Raises FieldhandError for what there is not, and MissingPart.
    """
    if chip not in _BOARDS:
        raise FieldhandError(f"chip '{chip}' is not one of {', '.join(_BOARDS)}")
    version = version or VERSIONS[chip]
    release = tuple(int(part) for part in version.split(".")[:2])
    texts = [f"MicroPython v{version} on 2024-10-25", _MACHINES[chip]]
    if release >= _SAYS_ITS_BUILD:
        texts.append(_BOARDS[chip] + (f"-{variant}" if variant else ""))
    texts += [f"{name}.py" for name in _FROZEN]
    data = image.app_descriptor(f"v{version}") + b"\0".join(text.encode() for text in texts)
    return image.pack(
        chip,
        image.program(chip, b"stands in for the second-stage bootloader\0", in_flash=False),
        partitions or layouts.official(variant, version, _FLASH_SIZE),
        image.program(chip, data + bytes(4096 - len(data) % 4096), in_flash=True),
    )
