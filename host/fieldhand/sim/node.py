"""One simulated node: its process, and the handles to its hardware for whoever watches."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fieldhand.building import nodefile

from .. import paths
from .board import CHIPS, Board, Hooks
from .console import Console
from .protocol import Reset
from .radio import BROKER_FAULTS, WIFI_FAULTS, Station, Wire, check_fault
from .wiring import Wiring, derive
from .world import World

if TYPE_CHECKING:
    from .simulator import Simulator

T = TypeVar("T")

STATES = ("off", "running", "repl", "resetting", "sleeping")
_FAILURES = (None, "dead", "crc")
_RELAY_FAULTS = ("ok", "stuck", "dead")
_READ_SIZE = 65536
_MAX_BURST = 3


class Pins(Mapping[int, int]):
    """Levels of the pins as a voltmeter would see them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getitem__(self, number: int) -> int:
        if not 0 <= number < len(self):
            raise KeyError(number)
        return self._node.board.pins[number].level()

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self._node.board.pins)


class Faults:
    """What goes wrong with a node; every fault stays until it is taken back."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ntp = True
        self._broker = "ok"

    def wifi(self, fault: str) -> None:
        """Set the link: "lost" (access point gone), "zombie" (up, and nothing passes), "ok";
        "wrong_password", "no_ap": reconnecting fails so. Raises ValueError."""
        check_fault("wifi", fault, WIFI_FAULTS)
        self._node._do(lambda: self._node.station.set_fault(fault))

    def broker(self, fault: str) -> None:
        """Set the broker: "blackhole" swallows all, "reset" resets connections, "hangup" closes
        them after CONNECT, "refuse" refuses them as not authorised, "garbage" sends 200 kB that
        are not MQTT, "fragments" one byte at a time both ways; "ok". Raises ValueError.
        """
        self._broker = check_fault("broker", fault, BROKER_FAULTS)
        self._node._do(self._node._link_changed)

    def ntp(self, works: bool) -> None:
        """Whether the time server answers."""
        self._ntp = bool(works)

    def sensor(self, key: str | int, fail: bool = True, mode: str = "dead") -> None:
        """Let a sensor fail, or work again with `fail=False`.

        `key`: its pin, I2C address, kind ("dht", "ezo", "bme280", "ds18b20", "analog", "pulse")
        or quantity. `mode`: "dead" or "crc" (1-Wire and DHT: damaged bytes). Raises KeyError
        when nothing is meant by `key`, ValueError for an unknown mode.
        """
        if mode not in _FAILURES:
            raise ValueError(f"sensor fault mode '{mode}' is not dead or crc")
        found = self._node.wiring.find(key)
        if not found:
            raise KeyError(f"node {self._node.name}: no sensor '{key}'")
        for device in found:
            device.failed = mode if fail else None

    def relay(self, name: str, fault: str) -> None:
        """Let the relay of an actuator be "stuck" (welded: always on), "dead" (never on) or "ok".

        Raises KeyError when no actuator is called `name`, ValueError for an unknown fault.
        """
        check_fault("relay", fault, _RELAY_FAULTS)
        node = self._node
        found = [pin for pin, output in node.wiring.outputs.items() if output.name == name]
        if not found:
            raise KeyError(f"node {node.name}: no actuator '{name}'")
        for pin in found:
            failed = None if fault == "ok" else fault
            node._do(partial(node.board.fail_output, pin, failed))

    def clear(self) -> None:
        """All well again."""
        for output in self._node.wiring.outputs.values():
            self.relay(output.name, "ok")
        self.wifi("ok")
        self.broker("ok")
        self.ntp(True)
        for device in self._node.wiring.all():
            device.failed = None


class Node:
    """A node of the simulator; made by `Simulator.add`. All methods are thread-safe.

    `world`, `wiring`, `console`, `faults`, `flash` (its directory), `config` (node.json as the
    node sees it) and `name` are there from the start; `pins[n]` is a level; `nvs[namespace][key]`
    what is committed, int or bytes.
    """

    def __init__(
        self,
        sim: Simulator,
        config: Mapping[str, Any],
        *,
        flash: Path,
        world: World,
        wiring: Wiring | None,
        heap: str,
        files: Mapping[str, str | bytes],
        nvs: Mapping[str, Mapping[str, int | bytes | str]],
        mac: bytes | None,
        ticks_start: int | None,
        chip: str = "esp32",
    ) -> None:
        self.config = copy.deepcopy(dict(config))
        self.mac = mac or _mac(str(config.get("node")), sim.count)
        self.name = str(config.get("node") or "esp32-" + self.mac.hex())
        self.world = world
        self.flash = flash
        self.console = Console()
        self.restart_count = 0
        self.state = "off"
        self.faults = Faults(self)
        self.pins = Pins(self)
        self.heap = heap
        self._sim = sim
        self._loop = sim.loop
        self._changed = threading.Condition()
        self._ticks_start = ticks_start
        self._own = "main.py" in files  # a program that may name what our firmware does not
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd: int | None = None
        self._out: int | None = None
        self._token = ""
        self.irq: asyncio.Transport | None = None
        self._boot: asyncio.TimerHandle | None = None
        self._pulsing: asyncio.TimerHandle | None = None
        self._pulsed_at = 0.0

        self.station = Station(sim.loop, sim.wifi_delay, self._link_changed)
        wifi = config.get("wifi")
        if not isinstance(wifi, dict):
            wifi = {}
        self.station.ssid = wifi.get("ssid")
        self.station.password = wifi.get("password") if self.station.ssid is not None else None
        self.wire = Wire(lambda: sim.broker)
        self.wiring = wiring or derive(
            config, lambda quantity: world.read(quantity) or 0.0, time.monotonic, CHIPS[chip][2]
        )
        self.board = Board(
            sim.loop,
            self.mac,
            self.wiring,
            world,
            self.station,
            Hooks(self._interrupt, self._restart, self._entered_repl, self._ntp_time),
            chip,
        )
        for namespace, values in nvs.items():
            for key, value in values.items():
                stored = value.encode() if isinstance(value, str) else value
                self.board.nvs[namespace][key] = stored
        self._await(self.wire.open())
        if isinstance(self.config.get("broker"), dict):
            self.config["broker"].update(host="127.0.0.1", port=self.wire.port)
        self._install(files)

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.state}>"

    # -- what a test or the CLI calls ------------------------------------------------------------

    @property
    def nvs(self) -> MutableMapping[str, dict[str, int | bytes]]:
        """Committed NVS: `node.nvs["fieldhand"]["id"] = b"plant-1"`."""
        return self.board.nvs

    @property
    def pid(self) -> int | None:
        """Of the MicroPython process, None when there is none."""
        process = self._process
        return process.pid if process else None

    @property
    def running(self) -> bool:
        """Whether the firmware runs: not off, not at the REPL, not between two boots."""
        return self.state == "running"

    def start(self) -> None:
        """Power on; nothing happens when it is on already."""
        self._do(self._power_on)

    power_on = start

    def stop(self) -> None:
        """Switch off and close its connections, so that the broker knows at once."""
        self._do(lambda: self._power_off(quietly=False))

    def power_cut(self) -> None:
        """Take the power away: the broker learns it from its keepalive only."""
        self._do(lambda: self._power_off(quietly=True))

    def press_reset(self) -> None:
        """The EN button: on the ESP32 the same as power-on."""
        self._do(lambda: self._restart(Reset.POWER_ON, None))

    def set_pin(self, number: int, level: int | None) -> None:
        """Drive pin `number` from outside, None: let go of it."""
        if not 0 <= number < len(self.pins):
            raise ValueError(f"pin {number} is not one of 0 to {len(self.pins) - 1}")
        self._do(lambda: self.board.set_pin(number, level))

    def pulse(self, number: int, count: int = 1) -> None:
        """`count` short pulses on an input."""

        def give() -> None:
            for _ in range(count):
                self.board.edge(number)

        self._do(give)

    def pwm(self, number: int) -> tuple[int, int] | None:
        """(Hz, duty of 65536) of a PWM pin."""
        return self.board.pins[number].pwm

    def wait_console(self, text: str, timeout: float = 10.0, since: int = 0) -> str:
        """The first console line with `text`; raises TimeoutError with the last lines."""
        return self.console.wait(text, timeout, since)

    def wait_state(self, state: str, timeout: float = 10.0) -> None:
        """Wait until `state` is one of STATES; raises TimeoutError."""
        if state not in STATES:
            raise ValueError(f"state '{state}' is not one of {', '.join(STATES)}")
        self.wait(lambda: self.state == state, timeout, f"state {state}, is {self.state}")

    def wait(self, condition: Callable[[], bool], timeout: float, what: str = "") -> None:
        """Poll `condition` every 10 ms; raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"node {self.name}: no {what or condition} in {timeout:g} s")
            time.sleep(0.01)

    def wait_pin(self, number: int, level: int, timeout: float = 10.0) -> None:
        """Wait until the pin has this level; raises TimeoutError."""
        self.wait(lambda: self.pins[number] == level, timeout, f"{level} on pin {number}")

    def close(self) -> None:
        """Off for good."""
        self._do(self._close)

    # -- in the event loop -----------------------------------------------------------------------

    def _do(self, call: Callable[[], T]) -> T:
        return self._sim.run(call)

    def _await(self, coroutine: Any) -> Any:
        return self._sim.run_coroutine(coroutine)

    def _install(self, files: Mapping[str, str | bytes]) -> None:
        """The flash as the host leaves it: boot.py, main.py, node.json, then `files`."""
        self.flash.mkdir(parents=True, exist_ok=True)
        content: dict[str, str | bytes] = {}
        if "main.py" not in files:
            source = paths.firmware()
            for name in ("boot.py", "main.py"):
                if (source / name).is_file():
                    content[name] = (source / name).read_bytes()
        for package in self._sim.packages:
            link = self.flash / package.name
            if not link.exists():
                link.symlink_to(os.path.relpath(package, self.flash), target_is_directory=True)
        try:
            content["node.json"] = nodefile.text(self.config)
        except ValueError:  # a test's, of what a node makes of it
            content["node.json"] = json.dumps(self.config, indent=1)
        content.update(files)
        for name, data in content.items():
            place = self.flash / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data.encode() if isinstance(data, str) else data)

    def _power_on(self) -> None:
        if self.state != "off":
            return
        self.board.reset(Reset.POWER_ON)
        self._spawn()

    def _power_off(self, quietly: bool) -> None:
        self._cancel_boot()
        self._end(quietly)
        self.wire.drop()
        self.board.reset(Reset.POWER_ON)
        self.state = "off"

    def _restart(self, cause: Reset, sleep_s: float | None) -> None:
        """The chip resets itself; `sleep_s` is that of a deep sleep."""
        if self.state == "off":
            return
        self._cancel_boot()
        self._end(quietly=cause is not Reset.SOFT)
        self.board.reset(cause)
        self.restart_count += 1
        delay: float | None = self._sim.boot_delay
        self.state = "resetting"
        if cause is Reset.DEEPSLEEP:
            self.state = "sleeping"
            delay = sleep_s
        if delay is not None:
            self._boot = self._loop.call_later(delay, self._spawn)

    def _entered_repl(self, _stage: int) -> None:
        self._read_console()  # what was printed until now is there for who sees the state
        self.state = "repl"

    def _cancel_boot(self) -> None:
        if self._boot:
            self._boot.cancel()
            self._boot = None

    def _spawn(self) -> None:
        self._boot = None
        self._token = os.urandom(8).hex()
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "MICROPYPATH": self._sim.micropypath,
            "FIELDHAND_SIM": f"{self._sim.port}:{self._token}",
        }
        if self._own:
            env["FIELDHAND_OWN"] = "1"
        if self._ticks_start is not None:
            env["FIELDHAND_TICKS"] = str(self._ticks_start)
        self._sim.expect(self._token, self)
        out, child_out = os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    str(self._sim.micropython),
                    "-X",
                    f"heapsize={self.heap}",
                    "-c",
                    "import micropython; micropython.opt_level(3); import _sim; _sim.boot()",
                ],
                cwd=self.flash,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=child_out,
                stderr=child_out,
                # Ctrl-C in the user's terminal is not for the nodes.
                start_new_session=True,
            )
        except BaseException:
            os.close(out)
            raise
        finally:
            os.close(child_out)
        self._out = out
        os.set_blocking(out, False)
        self._loop.add_reader(out, self._read_console)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._died)
        self.state = "running"
        self._link_changed()
        if self.wiring.pulses:
            self._pulsed_at = self._loop.time()
            self._pulsing = self._loop.call_later(self._sim.pulse_tick, self._pulse)

    def _end(self, quietly: bool) -> None:
        """Kill the process, if any, and reap it."""
        if quietly:
            self.wire.vanish()
        process = self._process
        if process is None:
            return
        process.kill()
        process.wait()
        self._reaped()

    def _died(self) -> None:
        """The process ended and nobody asked it to."""
        process = self._process
        if process is None:
            return
        code = process.wait()
        self._reaped()
        if self.state in ("running", "repl"):
            self.console.feed(f"simulator: the MicroPython process ended with {code}\n".encode())
            self._restart(Reset.HARD, None)

    def _reaped(self) -> None:
        self._process = None
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._read_console()
        if self._out is not None:
            self._loop.remove_reader(self._out)
            os.close(self._out)
            self._out = None
        self.console.end_line()
        if self._pulsing:
            self._pulsing.cancel()
            self._pulsing = None
        self._sim.forget(self._token)
        self.irq = None

    def _read_console(self) -> None:
        while self._out is not None:
            try:
                data = os.read(self._out, _READ_SIZE)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(self._out)
                return
            self.console.feed(data)

    def _interrupt(self, number: int) -> None:
        if self.irq is not None and not self.irq.is_closing():
            self.irq.write(bytes((number,)))

    def _pulse(self) -> None:
        now = self._loop.time()
        passed, self._pulsed_at = now - self._pulsed_at, now
        delay = self._sim.pulse_tick
        for pin, source in self.wiring.pulses.items():
            if source.failed:
                continue
            hz = self.board.pulse_rate(source)
            # The chip's queue holds 8 interrupts: no bursts that a real contact does not give.
            delay = min(delay, max(_MAX_BURST / hz, 0.001)) if hz > 0 else delay
            source.owed += hz * passed
            while source.owed >= 1:
                source.owed -= 1
                self.board.edge(pin)
        self._pulsing = self._loop.call_later(delay, self._pulse)

    def _link_changed(self) -> None:
        station = self.station
        broker = self.faults._broker
        self.wire.set(
            # Out of reach, what is under way waits and may go on later: TCP retransmits.
            deaf=not station.passing or broker == "blackhole",
            refusing=not station.connected or broker == "reset",
        )
        self.wire.misbehave(broker)
        if broker == "reset":
            self.wire.drop()

    def _ntp_time(self) -> float | None:
        if not self.faults._ntp or not self.station.passing:
            return None
        return self._sim.wall_clock()

    def _close(self) -> None:
        self._cancel_boot()
        self._end(quietly=False)
        self.state = "off"
        self.wire.close()
        self.board.close()


def _mac(name: str, number: int) -> bytes:
    """A locally administered address, the same for the same node in every run."""
    return b"\x02" + hashlib.sha256(f"{name}/{number}".encode()).digest()[:5]
