"""The partition tables of MicroPython's official images, for when there is no image to read.

From `ports/esp32/partitions-*.csv` and `boards/*/sdkconfig*` of MicroPython 1.24 to 1.28: the file
system has the same place in all of them. 1.26 took it out of the tables and makes it at its start.
"""

from __future__ import annotations

from fieldhand.esp import ImageError
from fieldhand.esp.partitions import Partition

_LISTED_UNTIL = (1, 25)
_MB = 1 << 20

_PLAIN = (
    Partition("nvs", "data", "nvs", 0x9000, 0x6000),
    Partition("phy_init", "data", "phy", 0xF000, 0x1000),
    Partition("factory", "app", "factory", 0x10000, 0x1F0000),
)
_OTA = (
    Partition("nvs", "data", "nvs", 0x9000, 0x4000),
    Partition("otadata", "data", "ota", 0xD000, 0x2000),
    Partition("phy_init", "data", "phy", 0xF000, 0x1000),
    Partition("ota_0", "app", "ota_0", 0x10000, 0x180000),
    Partition("ota_1", "app", "ota_1", 0x190000, 0x180000),
)


def official(variant: str, version: str, flash_size: int) -> tuple[Partition, ...]:
    """The table in the official image of a variant ("", "OTA", "SPIRAM"), `version` "1.24.0".

    `flash_size` (bytes) is what the image is made for. Raises ImageError for other layouts.
    """
    if variant == "OTA" and flash_size != 4 * _MB:
        raise ImageError(
            "the OTA layout of MicroPython's image is for 4 MB of flash: name the image"
        )
    if variant == "D2WD" or flash_size < 4 * _MB:
        raise ImageError("MicroPython's image for 2 MB of flash has little room: name the image")
    fixed = _OTA if variant == "OTA" else _PLAIN
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) > _LISTED_UNTIL:
        return fixed
    return (*fixed, Partition("vfs", "data", "fat", fixed[-1].end, flash_size - fixed[-1].end))
