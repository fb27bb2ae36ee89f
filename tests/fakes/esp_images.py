"""Images for tests that the stand-in of MicroPython's does not make: other sizes, other headers."""

import hashlib

from esptool.bin_image import LoadFirmwareImage

from fieldhand.esp import image, layouts
from fieldhand.virtual.image import standin_image

MB = 1 << 20


def made(chip="esp32", version="1.24.0", variant="", flash_mb=4, partitions=None):
    """A full image. `flash_mb` is what its header says."""
    table = partitions or layouts.official(variant, version, max(flash_mb, 4) * MB)
    return with_flash_size(standin_image(chip, version, variant, table), chip, flash_mb)


def app_image(chip="esp32", version="1.24.0"):
    """The program alone, as an .app-bin."""
    text = f"MicroPython v{version} on 2024-10-25".encode()
    data = image.app_descriptor(f"v{version}") + text.ljust(4096, b"\0")
    return image.program(chip, data, in_flash=True)


def with_flash_size(data, chip, megabytes):
    """The same image for another size of flash."""
    return with_header(data, chip, 3, bytes([data[3] & 0x0F | (megabytes.bit_length() - 1) << 4]))


def with_header(data, chip, at, change):
    """The same image with other bytes in its header, which is part of the appended SHA-256."""
    head = bytearray(data)
    head[at : at + len(change)] = change
    length = LoadFirmwareImage(chip, bytes(data)).data_length
    head[length : length + 32] = hashlib.sha256(head[:length]).digest()
    return bytes(head)
