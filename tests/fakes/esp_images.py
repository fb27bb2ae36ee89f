"""MicroPython images for tests: headers, checksums and tables of the real ones, no code inside."""

import hashlib

from esptool.bin_image import LoadFirmwareImage

from fieldhand.esp import image, layouts

MB = 1 << 20


def made(chip="esp32", version="1.24.0", variant="", flash_mb=4, name=None, partitions=None):
    """A full image. `flash_mb` is what its header says, `name` the build inside from 1.25 on."""
    table = partitions or layouts.official(variant, version, max(flash_mb, 4) * MB)
    build = name or {"esp32": "ESP32_GENERIC"}.get(chip, f"ESP32_GENERIC_{chip[5:].upper()}")
    build += f"-{variant}" if variant else ""
    text = f"MicroPython v{version} on 2024-10-25; module with ESP32\0\0{build}\0".encode()
    descriptor = image.app_descriptor(f"v{version}")
    app = image.program(chip, descriptor + text.ljust(4096, b"\0"), in_flash=True)
    boot = image.program(chip, bytes(1024), in_flash=False)
    return with_flash_size(image.pack(chip, boot, table, app), chip, flash_mb)


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
