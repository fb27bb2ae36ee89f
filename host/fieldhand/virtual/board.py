"""A virtual board: the state machine of a DevKit with an ESP32 on a USB cable."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from fieldhand.errors import FieldhandError
from fieldhand.sim.console import Console
from fieldhand.sim.protocol import Reset
from fieldhand.sim.supervisor import Supervisor
from fieldhand.virtual import bootrom, rfc2217, runtime
from fieldhand.virtual.flash import Flash
from fieldhand.virtual.lines import ResetLines
from fieldhand.virtual.pty import SYNC, PtyPort
from fieldhand.virtual.uart import Port, Uart

T = TypeVar("T")

STATES = ("unplugged", "held", "download", "boot loop", "running", "repl", "sleeping")
DEFAULT_FLASH_SIZE = 4 << 20
_LOOP_S = 0.5  # a round of a boot loop; on the chip 0.3 to 1
_OUI = bytes.fromhex("240ac4")  # Espressif's


class VirtualBoard:
    """An ESP32 (`chip`: "esp32", "esp32s3", "esp32c3") with `flash_size` bytes of flash.

    `flash` is the file with its contents, made when missing, kept; without it a temporary one.
    `port` is the number of the network port, 0: any. All methods are thread-safe. Raises
    FieldhandError, of which MissingPart.
    """

    def __init__(
        self,
        chip: str = "esp32",
        flash_size: int = DEFAULT_FLASH_SIZE,
        flash: str | Path | None = None,
        *,
        port: int = 0,
        mac: bytes | None = None,
    ) -> None:
        self.chip = chip
        self.console = Console()
        self.state = "unplugged"
        self._facts = bootrom.chip(chip)
        self._temporary = tempfile.mkdtemp(prefix="fieldhand-virtual-")
        file = Path(flash) if flash is not None else Path(self._temporary, "flash.bin")
        self.mac = mac or _OUI + hashlib.sha256(str(file.absolute()).encode()).digest()[:3]
        try:
            self.flash = Flash(file, flash_size)
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        self._supervisor = Supervisor()
        self._loop = self._supervisor.loop
        self._uart = Uart(self._received, self._set_lines, self._port_closed)
        self._lines = ResetLines(self._loop, self._hold, self._released)
        self._rom: Any = None
        self._server: asyncio.Server | None = None
        self._pty: PtyPort | None = None
        self._number = port
        self._note: Path | None = None
        self._later: asyncio.TimerHandle | None = None
        try:
            self.plug()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<VirtualBoard {self.chip} {self.port} {self.state}>"

    # -- the cable and the buttons ---------------------------------------------------------------

    @property
    def port(self) -> str:
        """The port with reset lines, for esptool, mpremote and pyserial."""
        return f"rfc2217://127.0.0.1:{self._number}"

    @property
    def pty(self) -> str | None:
        """The port without reset lines; None while unplugged, another one after."""
        return None if self._pty is None else self._pty.path

    def plug(self) -> None:
        """Plug the cable in: both ports are there, and the power."""
        if self._server is not None:
            return

        async def listen() -> None:
            try:
                self._server, self._number = await rfc2217.listen(self._uart, self._number)
            except OSError as error:
                raise FieldhandError(f"port {self._number}: {error.strerror}") from None
            self._pty = PtyPort(self._loop, self._uart)
            self._uart.ports.append(self._pty)
            self._note = runtime.register(
                self.port,
                {
                    "pty": self._pty.path,
                    "chip": self.chip,
                    "flash": str(self.flash.path.absolute()),
                    "flash_size": self.flash.size,
                },
            )
            self._start(Reset.POWER_ON)

        self._supervisor.run_coroutine(listen())

    def unplug(self) -> None:
        """Pull the cable: the ports are gone for whoever has them open, and the power."""

        def pull() -> None:
            if self._server is None:
                return
            self._server.close()
            self._server = None
            self._uart.cut()
            self._pty = None
            if self._note is not None:
                self._note.unlink(missing_ok=True)
            self._lines.set(dtr=False, rts=False)
            self._stop()
            self.state = "unplugged"

        self._do(pull)

    def power_cut(self) -> None:
        """The power fails for a moment, the ports stay (a hub, or a board with its own supply)."""
        self._do(lambda: self._start(Reset.POWER_ON) if self._server else None)

    def press_reset(self) -> None:
        """The EN button."""
        self._do(lambda: self._start(Reset.POWER_ON) if self._server else None)

    def hold_boot(self, pressed: bool = True) -> None:
        """Press the BOOT button, and keep it pressed, or let go of it."""

        def press() -> None:
            self._lines.boot_pressed = pressed

        self._do(press)

    def close(self) -> None:
        """Off for good; a temporary flash is gone."""
        if self._supervisor.closed:
            return
        try:
            self.unplug()
            self._do(self._stop)
            self._do(self._lines.close)
        finally:
            self._supervisor.close()
            self.flash.close()
            shutil.rmtree(self._temporary, ignore_errors=True)

    # -- waiting ---------------------------------------------------------------------------------

    def wait_console(self, text: str, timeout: float = 10.0, since: int = 0) -> str:
        """The first line with `text`, see `Console.wait`; raises TimeoutError."""
        return self.console.wait(text, timeout, since)

    def wait(self, condition: Callable[[], bool], timeout: float, what: str = "") -> None:
        """Poll `condition` every 10 ms; raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self!r}: no {what or condition} in {timeout:g} s")
            time.sleep(0.01)

    def wait_state(self, state: str, timeout: float = 10.0) -> None:
        """Wait until `state` is one of STATES; raises TimeoutError."""
        if state not in STATES:
            raise ValueError(f"state '{state}' is not one of {', '.join(STATES)}")
        self.wait(lambda: self.state == state, timeout, f"state {state}")

    # -- in the event loop -----------------------------------------------------------------------

    def _do(self, call: Callable[[], T]) -> T:
        return self._supervisor.run(call)

    def _say(self, data: bytes) -> None:
        self.console.feed(data)
        self._uart.send(data)

    def _received(self, port: Port, data: bytes) -> None:
        if port is self._pty and self.state != "download":
            start = data.find(SYNC)
            if start >= 0:
                self._start(Reset.POWER_ON, download=True)
                data = data[start:]
        if self._rom is not None:
            self._rom.feed(data)

    def _set_lines(self, dtr: bool | None, rts: bool | None) -> None:
        if self._server is not None:
            self._lines.set(dtr=dtr, rts=rts)

    def _port_closed(self, port: Port) -> None:
        if port is not self._pty:
            self._lines.set(dtr=False, rts=False)
        elif self.state == "download":
            self._start(Reset.POWER_ON)

    def _hold(self) -> None:
        self._stop()
        self.state = "held"

    def _released(self, download: bool) -> None:
        if self._server is not None:
            self._start(Reset.POWER_ON, download=download)

    def _stop(self) -> None:
        """What the chip does, ends."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._rom is not None:
            rom, self._rom = self._rom, None
            rom.close()

    def _start(self, cause: Reset, *, download: bool = False) -> None:
        """The chip begins anew, in download mode or from flash."""
        self._stop()
        download = download or (cause is Reset.POWER_ON and not self._lines.io0)
        self._say(bootrom.greeting(self._facts, cause, download=download).encode())
        if download:
            from fieldhand.virtual.rom import DownloadMode

            self._rom = DownloadMode(self.chip, self.flash, self.mac, self._answer)
            self.state = "download"
            return
        try:
            booted = bootrom.boot(self._facts, self.flash)
        except bootrom.BootFailure as failure:
            self._boot_loop(failure.text)
            return
        self._say(booted.text.encode())
        self.state = "running"

    def _boot_loop(self, text: str) -> None:
        """Every round says the same: only a download can change the flash."""
        self.state = "boot loop"
        self._say(text.encode())

        def again() -> None:
            self._say(bootrom.greeting(self._facts, None).encode())
            self._boot_loop(text)

        self._later = self._loop.call_later(_LOOP_S, again)

    def _answer(self, data: bytes) -> None:
        """Of download mode, in its thread."""
        rom = self._rom

        def send() -> None:
            if rom is self._rom:  # not of before a reset
                self._uart.send(data)

        self._loop.call_soon_threadsafe(send)
