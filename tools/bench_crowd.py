"""Thousands of live clients at once: what each costs, and whether the service goes on.

    python tools/bench_service.py --connections 10000

Each is a Server-Sent Events stream that waits for alerts, while readings come in. Then one alert
goes to all of them, and one client more than `live_clients` is refused with 503.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import paho.mqtt.client as paho
from mosquitto import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from service_load import BROKER_LINES, WAIT_S, Load, Served, kept, memory, serving

PATH = "/live?kind=alert&state=false"
# So many connections are being made at a time.
AT_ONCE = 100
ALL_S = 120.0
NODES = 100
RATE = 100.0
IDLE_S = 30.0
# Asked so often a second while all wait.
ASKED = 5
# The DESE document's own.
ALERT = {
    "severity": "warning",
    "message": "pH level below threshold",
    "sensor": "ph",
    "value": 6.8,
    "threshold": 7.0,
    "timestamp": "2025-01-27T10:00:00Z",
}


class Client(asyncio.Protocol):
    """One stream; `answered` is its status line, `alerted` set with the first alert."""

    def __init__(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[bytes] = loop.create_future()
        self.alerted: asyncio.Future[float] = loop.create_future()
        self._request = request
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(data.split(b"\r\n", 1)[0])
        data = self._rest + data
        if b"event: alert" in data and not self.alerted.done():
            self.alerted.set_result(time.time())
        self._rest = data[-16:]

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.answered, self.alerted):
            if not future.done():
                future.set_exception(error or ConnectionError("the service ended the stream"))
                future.exception()


def crowd(url: str, count: int, pipe: Any) -> None:
    """In a process of its own: connect, say so, and say when each had the alert."""
    raise_limit(count)
    parts = urlsplit(url)
    request = f"GET {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()

    async def connect(gate: asyncio.Semaphore) -> Client:
        async with gate:
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: Client(request), parts.hostname or "", parts.port or 0
            )
            answer = await client.answered
            if b" 200 " not in answer:
                raise SystemExit(f"a client of {count} was answered {answer!r}")
            return client

    async def run() -> None:
        gate = asyncio.Semaphore(AT_ONCE)
        made = await asyncio.gather(*(connect(gate) for _ in range(count)))
        pipe.send("connected")
        found = await asyncio.gather(*(one.alerted for one in made), return_exceptions=True)
        pipe.send([at for at in found if isinstance(at, float)])
        await asyncio.to_thread(pipe.recv)

    asyncio.run(run())


def raise_limit(count: int) -> None:
    """So many open files, or SystemExit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = count + 256
    if hard != resource.RLIM_INFINITY and hard < need:
        raise SystemExit(f"{count} clients need {need} open files; the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


@contextmanager
def connected(served: Served, count: int) -> Iterator[Any]:
    """The pipe to a process with so many streams, all answered."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=crowd, args=(served.url, count, there), daemon=True
    )
    process.start()
    try:
        if not here.poll(ALL_S) or here.recv() != "connected":
            raise SystemExit(f"{count} clients did not connect within {ALL_S:g} s")
        yield here
        here.send("end")
        process.join(WAIT_S)
    finally:
        process.terminate()


def status_of(url: str, timeout: float = WAIT_S) -> int:
    try:
        with urlopen(url, timeout=timeout) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def alert(broker: Mosquitto) -> float:
    """Publishes one of a pool; when."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect(broker.host, broker.port)
    client.loop_start()
    at = time.time()
    topic = "devices/00000000-0000-4000-8000-000000000001/pool-00001/alert"
    client.publish(topic, json.dumps(ALERT), 1).wait_for_publish(WAIT_S)
    client.disconnect()
    client.loop_stop()
    return at


def measure(count: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(persistent=False, extra=BROKER_LINES, log_types="error") as broker,
        serving(folder, broker, live_clients=count, max_connections=count + 100) as served,
    ):
        load = Load(broker, NODES, RATE)
        time.sleep(5)
        before = memory(served.pid)
        started = time.monotonic()
        with connected(served, count) as pipe:
            connecting = time.monotonic() - started
            after = memory(served.pid)
            took = list(_asked(served, IDLE_S))
            idle = memory(served.pid)
            refused = status_of(served.url + PATH)
            published = alert(broker)
            seen = sorted(pipe.recv()) if pipe.poll(ALL_S) else []
        load.stop()
        result = kept(load, served.database)
        ready = status_of(served.url + "/readyz")
    late = [1000 * (at - published) for at in seen]
    return {
        "clients": count,
        "connecting_s": round(connecting, 1),
        "mb_before": round(before.total, 1),
        "mb_with": round(after.total, 1),
        f"mb_after_{IDLE_S:g}_s": round(idle.total, 1),
        "kb_a_client": round((idle.total - before.total) * 1024 / count, 1),
        "readings_per_s": RATE,
        **result._asdict(),
        "healthz_ms": {"median": took[len(took) // 2], "worst": took[-1]},
        "one_more_is_answered": refused,
        "alert_reached": len(late),
        "alert_ms": {
            "first": round(late[0]),
            "median": round(late[len(late) // 2]),
            "last": round(late[-1]),
        }
        if late
        else None,
        "readyz_after": ready,
    }


def _asked(served: Served, seconds: float) -> list[float]:
    """Milliseconds /healthz took, in order of size."""
    took = []
    for _ in itertools.repeat(None, int(seconds * ASKED)):
        started = time.monotonic()
        served.get("/healthz")
        took.append(round(1000 * (time.monotonic() - started), 1))
        time.sleep(1 / ASKED)
    return sorted(took)


def show(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {one:,}" for key, one in value.items())
        print(f"  {name.replace('_', ' '):22} {value}")
