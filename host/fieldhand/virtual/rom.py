"""The ROM's download mode: esp32-mock-bootloader, on our flash, MAC and flash size.

The only module that knows its insides: 0.3 has a server of its own and no interface for a byte
stream. What it does not do as a chip: `--after soft-reset`, watchdog resets, encryption, efuses
but for the MAC and the C3's revision; RAM is not executed, the flasher stub is taken for esptool's.
"""

from __future__ import annotations

import queue
import struct
import threading
import zlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

from fieldhand import paths
from fieldhand.virtual.flash import Download, Flash

_VERSIONS = ("0.3.",)
_SLIP_END = b"\xc0"
_READ_REG = 0x0A
# What a download of more than a block of the flasher, 16 KiB, doubled by SLIP, cannot reach.
_MAX_FRAME = 64 * 1024
_STOP_TIMEOUT_S = 5.0


class DownloadMode:
    """A chip that waits for downloads, in a thread of its own until `close`.

    `feed` takes what comes from the host, `send` is called, in that thread, with the answers.
    Raises MissingPart without the package, or with a version that is not known to fit.
    """

    def __init__(self, chip: str, flash: Flash, mac: bytes, send: Callable[[bytes], None]) -> None:
        server = _server()
        self._connection = _Connection(_facts(chip, flash, mac), send)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=server.handle_client,
            args=(self._connection, self._stop, chip),
            kwargs={"exit_on_disconnect": True, "flash": _memory(flash)},
            name="fieldhand-rom",
            daemon=True,
        )
        self._thread.start()

    def feed(self, data: bytes) -> None:
        """Bytes from the host, in any pieces."""
        self._connection.feed(data)

    def close(self) -> None:
        """Power or reset: what has not been written to flash by now never will be."""
        self._stop.set()
        self._connection.cut()
        self._thread.join(_STOP_TIMEOUT_S)


class _Connection:
    """What `handle_client` takes for its socket: whole frames in, answers out."""

    def __init__(self, facts: dict[int, int], send: Callable[[bytes], None]) -> None:
        self._facts = facts
        self._send = send
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b""
        self._asked: int | None = None  # the register that is being read
        self._cut = False

    def feed(self, data: bytes) -> None:
        *frames, self._rest = (self._rest + data).split(_SLIP_END)
        if len(self._rest) > _MAX_FRAME:
            self._rest = b""
        for frame in frames:
            if frame:
                self._frames.put(_SLIP_END + frame + _SLIP_END)

    def cut(self) -> None:
        self._cut = True
        self._frames.put(b"")

    # -- what handle_client calls ----------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        frame = self._frames.get()
        if self._cut:
            return b""
        plain = frame[1:13]
        self._asked = None
        if plain[:2] == bytes((0, _READ_REG)):
            self._asked = struct.unpack("<I", _plain(frame)[8:12])[0]
        return frame

    def sendall(self, data: bytes) -> None:
        if self._cut:
            raise OSError("the chip was reset")
        self._send(self._corrected(data))

    def set_timeout(self, timeout: float) -> None:
        """Without effect: `cut` ends the wait."""

    def close(self) -> None:
        """Nothing to close."""

    def abort_empty_session(self) -> bool:
        return False

    def ignore_eof_for_disconnect(self) -> bool:
        return False

    def _corrected(self, data: bytes) -> bytes:
        """The answer with our MAC or flash size where the package has its own."""
        if self._asked is None:
            return data
        answer = _plain(data)
        value = struct.unpack_from("<I", answer, 4)[0]
        # The flash's id is read through a register that other commands use as well.
        ours = self._facts.get(_FLASH_ID if value == _flash_id() else self._asked)
        if ours is None or answer[1] != _READ_REG:
            return data
        encoded: bytes = _server().slip_encode(answer[:4] + struct.pack("<I", ours) + answer[8:])
        return encoded


_FLASH_ID = -1


def _facts(chip: str, flash: Flash, mac: bytes) -> dict[int, int]:
    """Values of registers, and under _FLASH_ID the JEDEC id: its third byte is log2 of the size."""
    from esp32_mock_bootloader import registers

    known: dict[int, int] = dict(registers._mac_registers(chip, tuple(mac)))
    known.update(_revision(chip))
    known[_FLASH_ID] = (_flash_id() & 0xFFFF) | (flash.size.bit_length() - 1) << 16
    return known


def _revision(chip: str) -> dict[int, int]:
    """The eFuse of an ESP32-C3 v0.4: official images refuse what is older than v0.3.

    Bits as in esptool's `ESP32C3ROM.get_minor_chip_version`.
    """
    if chip != "esp32c3":
        return {}
    from esptool.targets import ESP32C3ROM

    return {ESP32C3ROM.EFUSE_BLOCK1_ADDR + 4 * 3: 4 << 18}


def _flash_id() -> int:
    from esp32_mock_bootloader import protocol

    return int(protocol.MOCK_FLASH_ID)


def _plain(frame: bytes) -> bytes:
    """A SLIP frame decoded."""
    return frame.strip(_SLIP_END).replace(b"\xdb\xdc", _SLIP_END).replace(b"\xdb\xdd", b"\xdb")


def _memory(flash: Flash) -> Any:
    """Our flash as the package's `FlashImage`, which keeps it in memory."""
    server = _server()

    class Memory(server.FlashImage):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self.data = _Contents(flash)
            self._download: Download | None = None

        def begin_defl(self, payload: bytes) -> None:
            self._begin(payload, compressed=True)

        def begin_plain(self, payload: bytes) -> None:
            self._begin(payload, compressed=False)

        def _begin(self, payload: bytes, compressed: bool) -> None:
            size, _, _, offset = struct.unpack_from("<IIII", payload)
            # Of size 0: esptool leaves download mode so.
            self._download = Download(flash, offset, compressed=compressed) if size else None

        def write_plain_block(self, payload: bytes) -> None:
            size = struct.unpack_from("<I", payload)[0]
            if self._download is not None:
                try:
                    self._download.write(payload[16 : 16 + size])
                except zlib.error:
                    self._download = None  # esptool's MD5 of the region tells

        write_defl_block = write_plain_block

        def end_defl(self) -> None:
            self._download = None

    return Memory()


class _Contents:
    """A flash as the bytearray that the package reads by slices."""

    def __init__(self, flash: Flash) -> None:
        self._flash = flash

    def __len__(self) -> int:
        return self._flash.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(len(self))
        return self._flash.read(start, stop - start)

    def __setitem__(self, part: slice, data: bytes) -> None:
        self._flash.write(part.indices(len(self))[0], data)


def _server() -> Any:
    try:
        version = metadata.version("esp32-mock-bootloader")
        from esp32_mock_bootloader import server
    except ImportError:  # metadata's PackageNotFoundError is one
        raise paths.MissingPart(
            "no esp32-mock-bootloader: pip install 'fieldhand[virtual]'"
        ) from None
    if not version.startswith(_VERSIONS):
        raise paths.MissingPart(
            f"esp32-mock-bootloader {version} is not one of {', '.join(_VERSIONS)}x: "
            "pip install 'fieldhand[virtual]'"
        )
    return server
