"""`make bench-return`: 1,000 nodes come back to a broker that was killed.

First in virtual time, with a broker that takes a limited number of connections a second. Then for
real: so many MQTT clients over TCP, in one process, against Mosquitto, which is killed and started
again. They wait as the node does, subscribe, say that they are there and drain a backlog with the
node's window. Figures go to the screen, build/return.json and build/return-*.svg.
"""

import argparse
import asyncio
import json
import random
import resource
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import returning
from mosquitto import Mosquitto
from returning import Return, peak

ROOT = Path(__file__).resolve().parents[1]
PAYLOAD = b'{"temperatureC": 24.3, "_fh": {"boot": "12-a1b2", "seq": 123456}}'.ljust(250)
CONNECT_S = 10.0  # as TCP_MS, CONNACK_MS and PUBACK_MS of the node
PUBACK_S = 20.0
KEEPALIVE_S = 600  # longer than all of this takes: these clients never ping
ALL_BACK_S = 300.0  # over the longest wait twice


class Lost(Exception):
    """The connection is gone."""


class Wire(asyncio.Protocol):
    """As much MQTT 3.1.1 as a node speaks when it comes back."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.heard: asyncio.Queue[int] = asyncio.Queue()
        self.on_puback: Callable[[int], None] = lambda pid: None
        self.on_publish: Callable[[], None] = lambda: None
        self.lost = asyncio.get_running_loop().create_future()
        self._bytes = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        self.heard.put_nowait(0)

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        at = 0
        while True:
            size, shift, body = 0, 0, at + 1
            while body < len(self._bytes):
                size |= (self._bytes[body] & 127) << shift
                shift += 7
                body += 1
                if not self._bytes[body - 1] & 128:
                    break
            else:
                break
            if body + size > len(self._bytes):
                break
            self._packet(self._bytes[at], memoryview(self._bytes)[body : body + size].tobytes())
            at = body + size
        del self._bytes[:at]

    def _packet(self, op: int, body: bytes) -> None:
        if op == 0x40:
            self.on_puback(body[0] << 8 | body[1])
        elif op & 0xF0 == 0x30:
            self.on_publish()
            if op & 6:
                at = 2 + (body[0] << 8 | body[1])
                self.transport.write(b"\x40\x02" + body[at : at + 2])
        else:
            self.heard.put_nowait(op)

    async def wait(self, op: int) -> None:
        got = await asyncio.wait_for(self.heard.get(), CONNECT_S)
        if got != op:
            raise Lost

    async def connect(self, name: str) -> None:
        body = field(b"MQTT") + struct.pack("!BBH", 4, 2, KEEPALIVE_S) + field(name.encode())
        self.transport.write(packet(0x10, body))
        await self.wait(0x20)

    async def subscribe(self, topic: str) -> None:
        self.transport.write(packet(0x82, b"\x00\x01" + field(topic.encode()) + b"\x01"))
        await self.wait(0x90)

    def publish(self, topic: str, pid: int, payload: bytes, retain: bool = False) -> None:
        body = field(topic.encode()) + struct.pack("!H", pid) + payload
        self.transport.write(packet(0x32 | retain, body))


def field(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def packet(op: int, body: bytes) -> bytes:
    size, head = len(body), bytearray([op])
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes(head) + bytes([size]) + body


class Crowd:
    """So many nodes on one broker; times are seconds after `start`."""

    def __init__(
        self, port: int, nodes: int, policy: returning.Policy, backlog: int, window: int, seed: int
    ) -> None:
        self.port = port
        self.backlog = backlog
        self.window = window
        self.start = time.monotonic()
        self.attempts: list[float] = []
        self.back: list[float] = []
        self.drained: list[float] = []
        self.acknowledged: list[float] = []  # how long each PUBACK took
        self.lost_while_draining = 0
        self.all_up = asyncio.Event()
        self._up = 0
        self._nodes = nodes
        chance = random.Random(seed)
        self._waits = [policy(chance) for _ in range(nodes)]

    def now(self) -> float:
        return time.monotonic() - self.start

    def start_drain(self) -> None:
        if self.backlog:
            self.start = time.monotonic()

    async def run(self) -> None:
        await asyncio.gather(*(self._node(index) for index in range(self._nodes)))

    async def _node(self, index: int) -> None:
        # The first time they come one after the other: that is not what is measured.
        await asyncio.sleep(index / 500)
        while True:
            wire, up = None, False
            try:
                self.attempts.append(self.now())
                wire = await self._connect(index)
                self._up, up = self._up + 1, True
                self.back.append(self.now())
                if self._up == self._nodes:
                    self.start_drain()
                    self.all_up.set()
                if self.backlog:
                    await self.all_up.wait()
                    await self._drain(index, wire)
                await wire.lost
            except (OSError, Lost, TimeoutError):
                pass
            if wire is not None:
                wire.transport.abort()
            self._up -= up
            await asyncio.sleep(next(self._waits[index]))

    async def _connect(self, index: int) -> Wire:
        loop = asyncio.get_running_loop()
        made = loop.create_connection(Wire, "127.0.0.1", self.port)
        _, wire = await asyncio.wait_for(made, CONNECT_S)
        try:
            await wire.connect(f"node-{index}")
            await wire.subscribe(f"devices/{index}/command")
            wire.publish(f"devices/{index}/status", 1, b'{"status": "online"}', retain=True)
        except BaseException:
            wire.transport.abort()
            raise
        return wire

    async def _drain(self, index: int, wire: Wire) -> None:
        """The backlog, at most `window` publishes without their PUBACK."""
        sent: dict[int, float] = {}
        room = asyncio.Event()

        def acknowledged(pid: int) -> None:
            if pid in sent:
                self.acknowledged.append(time.monotonic() - sent.pop(pid))
            room.set()

        wire.on_puback = acknowledged
        wire.lost.add_done_callback(lambda _: room.set())
        topic = f"devices/{index}/data"
        for number in range(self.backlog):
            while len(sent) >= self.window:
                await self._room(wire, room)
            pid = 2 + number % 65000
            sent[pid] = time.monotonic()
            wire.publish(topic, pid, PAYLOAD)
        while sent:
            await self._room(wire, room)
        self.drained.append(self.now())

    async def _room(self, wire: Wire, room: asyncio.Event) -> None:
        room.clear()
        try:
            await asyncio.wait_for(room.wait(), PUBACK_S)
        except TimeoutError:
            self.lost_while_draining += 1
            raise
        if wire.lost.done():
            self.lost_while_draining += 1
            raise Lost


async def outage(
    broker: Mosquitto, nodes: int, policy: returning.Policy, away_s: float, seed: int
) -> Return:
    """Kill the broker under all nodes, and see them come back; times count from the kill."""
    crowd = Crowd(broker.port, nodes, policy, backlog=0, window=1, seed=seed)
    running = asyncio.create_task(crowd.run())
    try:
        await asyncio.wait_for(crowd.all_up.wait(), ALL_BACK_S)
        crowd.all_up.clear()
        crowd.attempts, crowd.back = [], []
        crowd.start = time.monotonic()
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(away_s - crowd.now())
        await asyncio.to_thread(broker.start)
        await asyncio.wait_for(crowd.all_up.wait(), ALL_BACK_S)
    finally:
        await _end(running)
    return Return(sorted(crowd.attempts), sorted(crowd.back))


async def drain(broker: Mosquitto, nodes: int, backlog: int, window: int) -> dict[str, float]:
    """All nodes drain at once; a host listens."""
    crowd = Crowd(broker.port, nodes, returning.full_jitter, backlog, window, seed=1)
    loop = asyncio.get_running_loop()
    _, host = await loop.create_connection(Wire, "127.0.0.1", broker.port)
    await host.connect("host")
    await host.subscribe("devices/+/data")
    came = 0

    def count() -> None:
        nonlocal came
        came += 1

    host.on_publish = count
    running = asyncio.create_task(crowd.run())
    try:
        deadline = time.monotonic() + ALL_BACK_S
        while (len(crowd.drained) < nodes or came < nodes * backlog) and not running.done():
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        seconds = crowd.now()
        memory = _peak_memory(broker)
    finally:
        await _end(running)
        host.transport.abort()
    took = sorted(crowd.acknowledged)
    return {
        "nodes": nodes,
        "backlog": backlog,
        "window": window,
        "per_second": nodes * backlog / seconds,
        "puback_median_s": statistics.median(took),
        "puback_worst_s": took[-1],
        "lost_connections": crowd.lost_while_draining,
        "arrived": came,
        "broker_peak_mb": memory,
    }


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.1)


@contextmanager
def _mosquitto(*extra: str) -> Iterator[Mosquitto]:
    """Below the ports that the system gives to clients: with a thousand of them knocking on a
    closed port, one would be given that very port and be connected with itself."""
    broker = Mosquitto(persistent=False, extra=extra, log_types="error")
    for port in range(21883, 30000):
        with socket.socket() as probe:
            if probe.connect_ex((broker.host, port)):
                broker.port = port
                break
    with broker:
        yield broker


def _peak_memory(broker: Mosquitto) -> float:
    assert broker.pid is not None
    for line in Path(f"/proc/{broker.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _figures(run: Return, away_s: float) -> dict[str, float]:
    return {
        "peak_attempts_per_second": peak(run.attempts, away_s),
        "peak_connections_per_second": peak(run.back),
        "failed_attempts": run.failed(away_s),
        "all_back_s": run.back[-1] - away_s,
    }


def _table(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}")
    print(f"{'':26}{'attempts/s':>12}{'connections/s':>15}{'in vain':>10}{'all back, s':>13}")
    for name, row in rows.items():
        print(
            f"{name:26}{row['peak_attempts_per_second']:12,.0f}"
            f"{row['peak_connections_per_second']:15,.0f}{row['failed_attempts']:10,.0f}"
            f"{row['all_back_s']:13,.1f}"
        )


def simulated(nodes: int, away_s: float, limit: int, folder: Path) -> dict[str, Any]:
    runs = {
        name: returning.simulate(policy, nodes, away_s, limit)
        for name, policy in returning.POLICIES.items()
    }
    rows = {name: _figures(run, away_s) for name, run in runs.items()}
    _table(f"virtual time: {nodes} nodes, away {away_s:g} s, {limit} let in a second", rows)
    title = f"{nodes} nodes, a broker away for {away_s:g} s that lets {limit} in a second"
    _draw(folder / "return-simulated.svg", title, away_s, runs, away_s + 300)
    return rows


def measured(nodes: int, away_s: float, folder: Path) -> dict[str, Any]:
    runs = {}
    for name, policy in returning.POLICIES.items():
        with _mosquitto() as broker:
            runs[name] = asyncio.run(outage(broker, nodes, policy, away_s, seed=1))
    rows = {name: _figures(run, away_s) for name, run in runs.items()}
    _table(f"Mosquitto: {nodes} TCP clients, killed, started after {away_s:g} s", rows)
    until = max(run.back[-1] for run in runs.values())
    title = f"{nodes} MQTT clients, Mosquitto killed at 0 and started after {away_s:g} s"
    _draw(folder / "return-mosquitto.svg", title, away_s, runs, until)
    return rows


def drained(nodes: int, backlog: int) -> dict[str, Any]:
    print(f"\nMosquitto: {nodes} nodes drain {backlog} readings of {len(PAYLOAD)} B each, at once")
    print(
        f"{'window':>8}{'per second':>12}{'PUBACK median s':>17}{'worst s':>9}{'lost':>6}"
        f"{'arrived':>10}{'broker MB':>11}"
    )
    rows = {}
    for window in (1, 16, backlog + 1):
        with _mosquitto("max_inflight_messages 0") as broker:
            row = asyncio.run(drain(broker, nodes, backlog, window))
        rows[str(window)] = row
        print(
            f"{window:8}{row['per_second']:12,.0f}{row['puback_median_s']:17.2f}"
            f"{row['puback_worst_s']:9.2f}{row['lost_connections']:6.0f}{row['arrived']:10,.0f}"
            f"{row['broker_peak_mb']:11.1f}"
        )
    return rows


def _draw(path: Path, title: str, away_s: float, runs: dict[str, Return], until: float) -> None:
    path.write_text(returning.plot(title, away_s, runs, until), "utf-8")
    print(f"drawn: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--away", type=float, default=15.0, help="seconds the broker is away")
    parser.add_argument("--limit", type=int, default=50, help="connections a second, simulated")
    parser.add_argument("--backlog", type=int, default=30, help="readings a node drains")
    parser.add_argument("--folder", type=Path, default=ROOT / "build")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = options.nodes * 2 + 100
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(need, hard), hard))
    options.folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "simulated": simulated(options.nodes, 60.0, options.limit, options.folder),
        "mosquitto": measured(options.nodes, options.away, options.folder),
        "drain": drained(options.nodes, options.backlog),
    }
    path = options.folder / "return.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
