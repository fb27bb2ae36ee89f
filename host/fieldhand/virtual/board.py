"""A virtual board: the state machine of a DevKit with an ESP32 on a USB cable."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from fieldhand.errors import FieldhandError
from fieldhand.esp import ImageError, littlefs, nvs, partitions
from fieldhand.esp.partitions import Partition
from fieldhand.sim.board import CHIPS, Board, Hooks, Store
from fieldhand.sim.console import Console
from fieldhand.sim.protocol import ChipError, Reset
from fieldhand.sim.radio import Station, check_fault
from fieldhand.sim.supervisor import Supervisor
from fieldhand.sim.wiring import Wiring, derive
from fieldhand.sim.world import World
from fieldhand.virtual import bootrom, rfc2217, runtime
from fieldhand.virtual.flash import Flash
from fieldhand.virtual.lines import ResetLines
from fieldhand.virtual.pty import SYNC, PtyPort
from fieldhand.virtual.runner import Runner
from fieldhand.virtual.uart import Port, Uart

T = TypeVar("T")

STATES = ("unplugged", "held", "download", "boot loop", "running", "repl", "sleeping")
# Bytes, of the DevKits in boards/.
FLASH_SIZES = {"esp32": 4 << 20, "esp32s3": 8 << 20, "esp32c3": 4 << 20}
DEFAULT_HEAP = "448k"  # objects take twice the room they take on the chip
_REPL, _PROGRAMS = 1, 2  # stages of MicroPython
_LOOP_S = 0.5  # a round of a boot loop; on the chip 0.3 to 1
_OUI = bytes.fromhex("240ac4")  # Espressif's


class Pins(Mapping[int, int]):
    """Levels of the pins as a voltmeter would see them."""

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board

    def __getitem__(self, number: int) -> int:
        self._board._check_pin(number)
        return self._board._hardware.pins[number].level()

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self._board._hardware.pins)


class VirtualBoard:
    """An ESP32 (`chip`: "esp32", "esp32s3", "esp32c3") with `flash_size` bytes of flash (None: as
    its DevKit has).

    `flash` is the file with its contents, made when missing, kept; without it a temporary one.
    `port` is the number of the network port, 0: any. All methods are thread-safe. Raises
    FieldhandError, of which MissingPart.
    """

    def __init__(
        self,
        chip: str = "esp32",
        flash_size: int | None = None,
        flash: str | Path | None = None,
        *,
        port: int = 0,
        mac: bytes | None = None,
        world: World | None = None,
        wiring: Wiring | None = None,
        heap: str = DEFAULT_HEAP,
        wifi_delay: float = 0.05,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.chip = chip
        self.heap = heap
        self.world = world or World()
        self.console = Console()
        self.state = "unplugged"
        self._facts = bootrom.chip(chip)
        self._temporary = tempfile.mkdtemp(prefix="fieldhand-virtual-")
        file = Path(flash) if flash is not None else Path(self._temporary, "flash.bin")
        self.mac = mac or _OUI + hashlib.sha256(str(file.absolute()).encode()).digest()[:3]
        try:
            self.flash = Flash(file, flash_size or FLASH_SIZES[chip])
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        self._supervisor = Supervisor()
        self._loop = self._supervisor.loop
        self._uart = Uart(self._received, self._set_lines, self._port_closed)
        self._lines = ResetLines(self._loop, self._hold, self._released)
        self._rom: Any = None
        self._booted: bootrom.Booted | None = None
        self._wiring = wiring  # None: what the node.json in the flash says
        self._config: Any = None
        self._reset = ""  # the last one, as the ROM calls it
        self._wall_clock = wall_clock
        self._ntp = True
        self._station = Station(self._loop, wifi_delay, lambda: None)
        self._hardware = Board(
            self._loop,
            self.mac,
            wiring or Wiring(),
            self.world,
            self._station,
            Hooks(
                lambda number: self._runner.interrupt(number),
                self._chip_resets,
                self._stage,
                self._ntp_time,
                self._nvs_changed,
            ),
            chip,
        )
        self._runner = Runner(
            self._supervisor, self._hardware, self.console, self._say, self._program_ended
        )
        self.pins = Pins(self)
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

    def __exit__(self, *error: object) -> None:
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
                reason = os.strerror(error.errno or 0)
                raise FieldhandError(f"port {self._number}: {reason}") from None
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
            self._hardware.reset(Reset.POWER_ON)
            self.state = "unplugged"

        self._do(pull)

    def power_cut(self) -> None:
        """The power fails for a moment, the ports stay (a hub, or a board with its own supply)."""
        self._do(lambda: self._start(Reset.POWER_ON) if self._server else None)

    def brown_out(self) -> None:
        """The voltage breaks down under load, and comes back."""

        def fail() -> None:
            if self._server is not None and self.state in ("running", "repl"):
                self._say(b"\r\nBrownout detector was triggered\r\n\r\n")
                self._start(Reset.POWER_ON, brown_out=True)

        self._do(fail)

    def press_reset(self) -> None:
        """The EN button."""
        self._do(lambda: self._start(Reset.POWER_ON) if self._server else None)

    def hold_boot(self, pressed: bool = True) -> None:
        """Press the BOOT button, and keep it pressed, or let go of it."""

        def press() -> None:
            self._lines.boot_pressed = pressed

        self._do(press)

    # -- the hardware around it ------------------------------------------------------------------

    def set_pin(self, number: int, level: int | None) -> None:
        """Drive a pin from outside, None: let go of it."""
        self._check_pin(number)
        self._do(lambda: self._hardware.set_pin(number, level))

    def wire(self, output: int, input: int | None) -> None:
        """A jumper from an output to an input; a DAC or PWM output (with a low-pass filter) gives
        an ADC its voltage. None: take it off."""
        for number in (output, input):
            if number is not None:
                self._check_pin(number)
        self._do(lambda: self._hardware.jumper(output, input))

    @property
    def wiring(self) -> Wiring:
        """What hangs on the pins."""
        return self._hardware.wiring

    def access_point(self, ssid: str | None, password: str | None = None) -> None:
        """The one in range; None: any that the node asks for, as at first."""

        def set_up() -> None:
            self._station.ssid = ssid
            self._station.password = password

        self._do(set_up)

    def wifi_fault(self, fault: str) -> None:
        """As `fieldhand.sim.Faults.wifi`; connections to the broker are not cut by it."""
        check_fault("wifi", fault, ("ok", "lost", "wrong_password", "no_ap"))
        self._do(lambda: self._station.set_fault(fault))

    def ntp(self, works: bool) -> None:
        """Whether the time server answers."""
        self._ntp = works

    # -- the flash, looked at from outside -------------------------------------------------------

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The table in the flash, with the file system's where MicroPython makes it; else ()."""
        table = self.flash.read(partitions.TABLE_OFFSET, partitions.TABLE_SIZE)
        try:
            found = partitions.parse(table)
            files = partitions.file_system(found, self.flash.size)
        except ImageError:
            return ()
        return found if files in found else (*found, files)

    def files(self) -> dict[str, bytes]:
        """The files in the flash by path ("lib/x.mpy"). Raises ImageError where there are none."""
        return littlefs.read(self._partition("vfs"))

    @property
    def nvs(self) -> dict[str, dict[str, nvs.Value]]:
        """NVS in the flash: namespace to key to value."""
        return nvs.read(self._partition("nvs"))

    def _partition(self, name: str) -> bytes:
        part = partitions.find(self.partitions, name)
        if part is None:
            raise ImageError(f"{self.flash.path}: no partition '{name}' in this flash")
        return self.flash.read(part.offset, part.size)

    def close(self) -> None:
        """Off for good; a temporary flash is gone."""
        if self._supervisor.closed:
            return
        try:
            self.unplug()
            self._do(self._lines.close)
            self._do(self._hardware.close)
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
        elif self.state in ("running", "repl"):
            self._runner.feed(data)

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
        self._runner.kill()

    def _start(self, cause: Reset, *, download: bool = False, brown_out: bool = False) -> None:
        """The chip begins anew, in download mode or from flash."""
        self._stop()
        self._hardware.reset(cause)
        download = download or (cause is Reset.POWER_ON and not self._lines.io0)
        self._reset = bootrom.reset_text(self._facts, cause, brown_out=brown_out)
        self._say(bootrom.greeting(self._facts, self._reset, download=download).encode())
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
        self._booted = booted
        self._load_nvs()
        self._run(raw=False)

    def _run(self, *, raw: bool) -> None:
        """MicroPython, after a reset or a soft one."""
        if self._booted is None:
            return
        self._rewire()
        self.state = "running"
        self._runner.start(
            self.flash.path,
            self.partitions,
            self._booted.app.name,
            self.heap,
            release=self._booted.release,
            cause=int(self._reset.split()[0], 16),
            raw=raw,
        )

    def _load_nvs(self) -> None:
        stored = Store()
        try:
            for space, values in self.nvs.items():
                for key, value in values.items():
                    stored[space][key] = value.encode() if isinstance(value, str) else value
        except ImageError:
            pass  # a table without NVS
        self._hardware.nvs = stored

    def _nvs_changed(self) -> None:
        part = partitions.find(self.partitions, "nvs")
        if part is None:
            return
        try:
            data = nvs.write(self._hardware.nvs, part.size)
        except ImageError:
            self._load_nvs()
            raise ChipError(-0x1105, "ESP_ERR_NVS_NOT_ENOUGH_SPACE") from None
        self.flash.write(part.offset, data)

    def _rewire(self) -> None:
        """Hang on the pins what the node.json in the flash says."""
        if self._wiring is not None:
            return
        try:
            config = json.loads(self.files()["node.json"])
        except (ImageError, KeyError, ValueError):
            config = None
        if config == self._config:
            return
        self._config = config
        given = config if isinstance(config, Mapping) else {}
        _, _, pins = CHIPS[self.chip]
        self._hardware.rewire(
            derive(given, lambda name: self.world.read(name) or 0.0, time.monotonic, pins)
        )

    def _stage(self, stage: int) -> None:
        """What MicroPython has come to, see standins/_board.py."""
        if stage == _PROGRAMS:
            self._runner.programs()
        elif stage == _REPL:
            self._runner.repl()
            self.state = "repl"
        else:
            self._start(Reset.HARD, download=True)

    def _program_ended(self, code: int) -> None:
        """By Ctrl-D, sys.exit() or machine.soft_reset(); or it crashed."""
        if code < 0 and code != -signal.SIGINT:
            self._say(f"virtual board: MicroPython ended by signal {-code}\r\n".encode())
            self._start(Reset.HARD)
        else:
            self._chip_resets(Reset.SOFT, None)

    def _chip_resets(self, cause: Reset, sleep_s: float | None) -> None:
        """By itself; `sleep_s` is that of a deep sleep, None: for ever."""
        if cause is Reset.SOFT:
            raw = self._runner.raw
            self._runner.kill()
            self._hardware.reset(cause)
            self._say(b"MPY: soft reboot\r\n")
            self._run(raw=raw)
        elif cause is Reset.DEEPSLEEP:
            self._stop()
            self._hardware.reset(cause)
            self.state = "sleeping"
            if sleep_s is not None:
                self._later = self._loop.call_later(sleep_s, self._start, cause)
        else:
            self._start(cause)

    def _ntp_time(self) -> float | None:
        return self._wall_clock() if self._ntp and self._station.passing else None

    def _check_pin(self, number: int) -> None:
        if not 0 <= number < len(self._hardware.pins):
            raise ValueError(f"pin {number} is not one of 0 to {len(self._hardware.pins) - 1}")

    def _boot_loop(self, text: str) -> None:
        """Every round says the same: only a download can change the flash."""
        self.state = "boot loop"
        self._say(text.encode())

        def again() -> None:
            reset = bootrom.reset_text(self._facts, None)
            self._say(bootrom.greeting(self._facts, reset).encode())
            self._boot_loop(text)

        self._later = self._loop.call_later(_LOOP_S, again)

    def _answer(self, data: bytes) -> None:
        """Of download mode, in its thread."""
        rom = self._rom

        def send() -> None:
            if rom is self._rom:  # not of before a reset
                self._uart.send(data)

        self._loop.call_soon_threadsafe(send)
