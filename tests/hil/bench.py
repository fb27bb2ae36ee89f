"""A board, its cable, the broker it reports to, and the commands a user would type.

PORT      the board's serial port; `virtual` makes a board for the run
BOARD     its file in boards/ (default: esp32-devkitc)
IMAGE     MicroPython for it (default: what `fieldhand flash` finds or fetches)
WIFI_SSID, WIFI_PASSWORD   what a real board connects to
HOST      this machine's address as the board sees it (default: found out)
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fieldhand import Fleet, boards
from fieldhand.broker import Broker
from fieldhand.device.serial import Device
from fieldhand.records import Event, Reading, Status
from fieldhand.sim.radio import Wire
from fieldhand.sim.supervisor import Supervisor

NODE = "bench"
WAIT_S = 60.0  # for what a node does within seconds; Wi-Fi may be slow to come up
COMMAND_TIMEOUT_S = 300
RUN_LIMIT_S = 10

_FLEET = """\
[broker]
host = "127.0.0.1"
port = {port}
node_host = "{host}"
keepalive = "10s"

[wifi]
ssid = "{ssid}"
password = "${{WIFI_PASSWORD}}"

[node.{node}]
dialect = "plantnanny"
board = "{board}"
interval = "1s"
status_interval = "5s"
sensors = [{sensors}]
actuators = [{{ name = "pump", pin = {relay}, max_run_s = {limit} }}]
"""


class Bench:
    """The board is flashed when the bench is entered; `fleet` hears it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.board = boards.load(os.environ.get("BOARD") or "esp32-devkitc")
        assert self.board.hil is not None, f"{self.board.name} has no [hil] wiring"
        self.hil = self.board.hil
        self.port = os.environ["PORT"]
        self.virtual: Any = None
        self.image: Path | None = Path(os.environ["IMAGE"]) if os.environ.get("IMAGE") else None
        self._stack = ExitStack()

    def __enter__(self) -> "Bench":
        try:
            self._set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _set_up(self) -> None:
        if self.port == "virtual":
            from fieldhand.virtual import VirtualBoard
            from fieldhand.virtual.image import standin_image

            self.virtual = self._stack.enter_context(
                VirtualBoard(flash=self.folder / "flash.bin", chip=self.board.chip)
            )
            self.port = self.virtual.port
            if self.image is None:
                self.image = self.folder / "micropython.bin"
                self.image.write_bytes(standin_image(self.board.chip))
            self.jumpers()
        self.broker = self._stack.enter_context(Broker())
        self._supervisor = self._stack.enter_context(Supervisor())
        self._wire = Wire(lambda: (self.broker.host, self.broker.port))
        self._stack.callback(lambda: self._supervisor.run(self._wire.close))
        self.host = os.environ.get("HOST") or _own_address()
        # The same port, so that one fleet file serves both sides.
        self._supervisor.run_coroutine(self._wire.open(self.host, self.broker.port))
        (self.folder / "fleet.toml").write_text(self._fleet_file(), "utf-8")
        (self.folder / ".env").write_text(
            f"WIFI_PASSWORD={os.environ.get('WIFI_PASSWORD', 'open sesame')}\n", "utf-8"
        )
        image = ["--image", str(self.image)] if self.image else []
        self.fleet = self._stack.enter_context(Fleet(self.folder / "fleet.toml"))
        self.reading(lambda: self.run("flash", NODE, "--port", self.port, "--yes", *image))

    def jumpers(self) -> None:
        """What a person does with wires on a real board."""
        self.virtual.wire(self.hil.relay_output, self.hil.relay_input)
        self.virtual.wire(self.hil.analog_output, self.hil.analog_input)

    def _fleet_file(self) -> str:
        sensors = [
            f'{{ type = "pulse", quantity = "flow_rate", pin = {self.hil.relay_input}, '
            "pulses_per_litre = 1 }",
            '{ type = "rssi" }',
        ]
        return _FLEET.format(
            port=self.broker.port,
            host=self.host,
            ssid=os.environ.get("WIFI_SSID", "bench"),
            node=NODE,
            board=self.board.name,
            relay=self.hil.relay_output,
            sensors=", ".join(sensors),
            limit=RUN_LIMIT_S,
        )

    # -- what a user does ------------------------------------------------------------------------

    def run(self, *arguments: str, exit_code: int = 0) -> str:
        """`fieldhand ...` in the bench's folder; what it printed. Fails on another exit code."""
        done = self._run(*arguments)
        assert done.returncode == exit_code, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "fieldhand.cli", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    def device(self) -> Device:
        """The cable, its REPL; the node is stopped until `reset`."""
        return Device(self.port)

    def reset(self) -> None:
        """Pull the chip's EN line, as a power cut does: nothing of the program runs any more."""
        with self.device() as device:
            device.reset()

    # -- what is heard ---------------------------------------------------------------------------

    def heard(
        self, wanted: Callable[[Event], object], act: Callable[[], object] | None = None
    ) -> Any:
        """The first event after `act` that is wanted."""
        with self.fleet.events(NODE) as events:
            if act is not None:
                act()
            deadline = time.monotonic() + WAIT_S
            while (left := deadline - time.monotonic()) > 0:
                event = events.get(left)
                if event is not None and wanted(event):
                    return event
        raise AssertionError(f"nothing wanted was heard of the node in {WAIT_S:g} s")

    def reading(self, act: Callable[[], object] | None = None) -> Any:
        """The next live reading."""
        return self.heard(lambda event: isinstance(event, Reading), act)

    def outage(self, seconds: float) -> None:
        """The broker is out of the board's reach for as long; no virtual time reaches the board."""
        self._supervisor.run(lambda: self._way(refusing=True))
        time.sleep(seconds)
        self._supervisor.run(lambda: self._way(refusing=False))

    def _way(self, refusing: bool) -> None:
        self._wire.set(deaf=False, refusing=refusing)
        if refusing:
            self._wire.drop()

    def complete(self) -> dict[str, Any]:
        """What `fieldhand gaps` says once nothing is missing; the record is a second behind."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found: dict[str, Any] = json.loads(self._run("gaps", NODE, "--json").stdout)
            if found["complete"] and not found["waiting"]:
                return found
            assert time.monotonic() < deadline, json.dumps(found)
            time.sleep(0.5)

    def facts(self) -> dict[str, str]:
        """For the report's head."""
        status = self.heard(lambda event: isinstance(event, Status) and "firmware" in event.values)
        return {
            "board": self.board.title,
            "port": "virtual" if self.virtual else self.port,
            "chip": self.board.chip,
            "firmware": str(status.values["firmware"]),
        }


def _own_address() -> str:
    """The address of this machine on the network it reaches others by; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: nobody's
        except OSError:
            return "127.0.0.2"  # no network: a virtual board reaches that
        return str(probe.getsockname()[0])
