"""From a reading to a live client: median and 99th percentile with hundreds of clients.

    python tools/bench_live.py [--clients 500] [--seconds 20] [--rate 2] [--json]

Mosquitto, `fieldhand serve` and the clients are processes of their own on this machine. Measured is
the time from just before a reading is published to its bytes at a client, for every reading at
every client: broker, validation, commit and fan-out included. First Server-Sent Events alone, then
WebSockets, then as many of both at the same time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from mosquitto import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion

# The goal, for the 99th percentile.
GOAL_MS = 200.0
WARM_UP = 5
CONNECT_S = 60.0
SETTLE_S = 2.0
PATH = "/live?kind=reading&state=false"
# What numbers the readings of this measurement: the device's uptime, which passes through.
_uptimes = itertools.count(1)
_NUMBER = re.compile(rb'"uptime":\s?(\d+)[,}]')


class Client(asyncio.Protocol):
    """Reads a stream as raw bytes: what is measured is the service, not a parser."""

    def __init__(self, request: bytes, seen: list[tuple[int, float]]) -> None:
        self.answered = asyncio.get_running_loop().create_future()
        self._request = request
        self._seen = seen
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if not self.answered.done():
            self.answered.set_result(data.split(b"\r\n", 1)[0])
        data = self._rest + data
        end = 0
        for match in _NUMBER.finditer(data):
            self._seen.append((int(match[1]), now))
            end = match.end()
        self._rest = data[max(end, len(data) - 64) :]


def request_of(kind: str, host: str) -> bytes:
    head = f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\n"
    if kind == "websocket":
        head += (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
    return (head + "\r\n").encode()


def clients(url: str, counts: Mapping[str, int], pipe: Any) -> None:
    """In a process of its own: connect, say so, read until told to end, hand over what came."""

    async def run() -> dict[str, list[tuple[int, float]]]:
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        seen: dict[str, list[tuple[int, float]]] = {kind: [] for kind in counts}
        for kind, count in counts.items():
            made = [
                await loop.create_connection(
                    lambda kind=kind: Client(  # type: ignore[misc]
                        request_of(kind, parts.netloc), seen[kind]
                    ),
                    parts.hostname or "",
                    parts.port or 0,
                )
                for _ in range(count)
            ]
            wanted = b"101" if kind == "websocket" else b"200"
            for _, client in made:
                answer = await asyncio.wait_for(client.answered, CONNECT_S)
                assert wanted in answer, answer
        pipe.send("connected")
        await asyncio.to_thread(pipe.recv)
        return seen

    pipe.send(asyncio.run(run()))


@contextmanager
def serving(folder: str, broker: Mosquitto) -> Iterator[str]:
    """The URL of `fieldhand serve` with an empty SQLite database in `folder`."""
    command = [sys.executable, "-m", "fieldhand.cli", "serve", "--json", "--port", "0"]
    command += ["--broker", f"mqtt://{broker.host}:{broker.port}"]
    with (Path(folder) / "serve.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(CONNECT_S)


def measure(
    url: str, client: paho.Client, counts: Mapping[str, int], seconds: float, rate: float
) -> dict[str, Any]:
    """Kind -> latencies in ms of every reading at every client, and how many never came."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=clients, args=(url, dict(counts), there)
    )
    process.start()
    assert here.poll(CONNECT_S + 30) and here.recv() == "connected"
    sent: dict[int, float] = {}
    for _ in range(WARM_UP + int(seconds * rate)):
        uptime = next(_uptimes)
        payload = {"temperatureC": 24.3, "humidityPct": 56.0, "ts": 1704825600, "uptime": uptime}
        sent[uptime] = time.time()
        client.publish("devices/bench/data", json.dumps(payload), 1)
        time.sleep(1 / rate)
    time.sleep(SETTLE_S)
    here.send("end")
    assert here.poll(CONNECT_S)
    seen = here.recv()
    process.join()
    counted = sorted(sent)[WARM_UP:]
    found = {}
    for kind, count in counts.items():
        times = [(at - sent[n]) * 1000 for n, at in seen[kind] if n in sent and n >= counted[0]]
        found[kind] = {
            "clients": count,
            "readings": len(counted),
            "missing": len(counted) * count - len(times),
            "median_ms": round(statistics.median(times), 1),
            "p99_ms": round(statistics.quantiles(times, n=100)[98], 1),
            "worst_ms": round(max(times), 1),
        }
    return found


def run(clients: int, seconds: float = 20.0, rate: float = 2.0) -> dict[str, Any]:
    """What is measured at the same time -> kind -> its figures."""
    found: dict[str, Any] = {"readings_per_s": rate}
    with tempfile.TemporaryDirectory() as folder, Mosquitto() as broker:
        with serving(folder, broker) as url:
            client = paho.Client(CallbackAPIVersion.VERSION2)
            connected = threading.Event()
            client.on_connect = lambda *_: connected.set()
            client.connect(broker.host, broker.port)
            client.loop_start()
            assert connected.wait(CONNECT_S)
            for kinds in (("sse",), ("websocket",), ("sse", "websocket")):
                counts = dict.fromkeys(kinds, clients)
                found["+".join(kinds)] = measure(url, client, counts, seconds, rate)
            client.disconnect()
            client.loop_stop()
    return found


def show(found: dict[str, Any]) -> None:
    rate = found["readings_per_s"]
    print(f"reading to client, {rate:g} readings a second; goal: 99th < {GOAL_MS:g} ms")
    for name, result in found.items():
        if name == "readings_per_s":
            continue
        for kind, r in result.items():
            print(
                f"{name:15} {kind:9} x {r['clients']}: median {r['median_ms']:6.1f} ms, 99th "
                f"{r['p99_ms']:6.1f} ms, worst {r['worst_ms']:6.1f} ms, missing {r['missing']}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description="Latency from a reading to live clients.")
    parser.add_argument("--clients", type=int, default=500, help="of each kind")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=2.0, help="readings a second")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options.clients, options.seconds, options.rate)
    if options.json:
        json.dump(found, sys.stdout)
        print()
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
