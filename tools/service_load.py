"""For the benches of the host service: `fieldhand serve` as a process, and a steady load on it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import sqlalchemy as sa
from mosquitto import Mosquitto

from fieldhand import dialects
from fieldhand.service.store import readings, schema
from fieldhand.service.store.database import Database, StoreError

WAIT_S = 60.0
# What was accepted counts as lost when nothing more has been stored for so long.
DRAIN_S = 300.0
# The publisher looks at the clock so often, and then sends what is due.
TICK_S = 0.05
# A commit may take 500 messages; Mosquitto sends 20 unacknowledged ones by default.
BROKER_LINES = ("max_inflight_messages 0",)
STORED = re.compile(r'^fieldhand_stored_total\{kind="reading"\} (\S+)', re.MULTILINE)
CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04load"
PUBACK = 0x40


def pool_values(number: int, at: int) -> dict[str, Any]:
    """A reading of a DESE pool at Unix time `at`: six quantities, the longest of the documents."""
    return {
        "ph": 7.2 + number % 10 / 10,
        "orp": 650 + number % 50,
        "chlorine": 1.5,
        "water_temperature": 24.5,
        "tds": 800,
        "battery_level": 80,
        "firmware": "1.0.0",
        "time": at,
    }


class Memory(NamedTuple):
    """Resident memory of a process in MB; `own` is what it shares with no file."""

    total: float
    own: float


def memory(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    kb = [int(found[name].split()[0]) for name in ("VmRSS", "RssAnon")]
    return Memory(*(one / 1024 for one in kb))


class Served(NamedTuple):
    url: str
    pid: int
    database: str

    def get(self, path: str) -> Any:
        with urlopen(self.url + path, timeout=WAIT_S) as answer:
            return json.load(answer)

    def stored(self) -> int:
        """Readings that have been stored since it started."""
        with urlopen(f"{self.url}/metrics", timeout=WAIT_S) as answer:
            found = STORED.search(answer.read().decode())
        return int(float(found[1])) if found else 0


@contextlib.contextmanager
def serving(
    folder: str, broker: Mosquitto, database: str = "", **settings: object
) -> Iterator[Served]:
    """`fieldhand serve` with an empty database: SQLite in `folder`, or the one of the URL."""
    url = database or f"sqlite:///{folder}/service.db"
    command = [sys.executable, "-m", "fieldhand.cli", "serve", "--json", "--port", "0"]
    command += ["--broker", f"mqtt://{broker.host}:{broker.port}", "--database", url]
    told = {f"FIELDHAND_SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
    log = Path(folder, "serve.log")
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **told},
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"fieldhand serve did not start:\n{log.read_text()}")
        yield Served(json.loads(line)["url"], process.pid, url)
    finally:
        process.terminate()
        process.wait(WAIT_S)


class Load:
    """Readings at QoS 1, `rate` a second, of `nodes` nodes in turn, from a thread of its own.

    Encoding takes a core at some 5,000 a second. A broker that does not read holds it up; nothing
    is dropped here. `accepted` counts the broker's acknowledgements: what must be stored.
    """

    def __init__(self, broker: Mosquitto, nodes: int, rate: float) -> None:
        self.nodes = nodes
        self.sent = 0
        self.accepted = 0
        self.error: Exception | None = None
        self._rate = rate
        self._dialect = dialects.load("dese", {"org": "00000000-0000-4000-8000-000000000001"})
        self._buffer = b""
        self._socket = socket.create_connection((broker.host, broker.port), timeout=WAIT_S)
        self._socket.sendall(CONNECT)
        if self._socket.recv(4) != b"\x20\x02\x00\x00":
            raise SystemExit("the broker does not take the load's connection")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait until the broker has acknowledged it all."""
        self._stop.set()
        self._thread.join(DRAIN_S)
        self._socket.close()
        if self.error is not None:
            raise SystemExit(f"the load broke off: {self.error}")

    def _run(self) -> None:
        try:
            started = time.monotonic()
            while not self._stop.wait(TICK_S):
                due = int((time.monotonic() - started) * self._rate)
                # No more than a broker that stood still for a moment takes at once.
                due = min(due, self.sent + 5_000)
                self._socket.sendall(b"".join(map(self._packet, range(self.sent, due))))
                self.sent = due
                self._listen(0.0)
            deadline = time.monotonic() + DRAIN_S
            while self.accepted < self.sent and time.monotonic() < deadline:
                self._listen(1.0)
        except (OSError, ValueError) as error:
            self.error = error

    def _listen(self, timeout: float) -> None:
        self._socket.settimeout(timeout)
        with contextlib.suppress(BlockingIOError, TimeoutError):
            data = self._socket.recv(65_536)
            if not data:
                raise OSError("the broker closed the connection")
            self._buffer += data
        self._socket.settimeout(WAIT_S)
        whole = len(self._buffer) // 4 * 4
        if any(kind != PUBACK for kind in self._buffer[:whole:4]):
            raise ValueError("the broker sent something else than PUBACK")
        self.accepted += whole // 4
        self._buffer = self._buffer[whole:]

    def _packet(self, number: int) -> bytes:
        values = pool_values(number, int(time.time()))
        seq = number // self.nodes + 1
        ext = {"boot": "1-abcd", "seq": seq, "ms": seq * 1000, "q": "synced"}
        made = self._dialect.encode("reading", f"pool-{number % self.nodes:05}", values, ext)
        topic: bytes = made.topic.encode()
        payload: bytes = made.payload
        mid = number % 65_535 + 1
        body = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + payload
        length = bytes((len(body) & 0x7F | 0x80, len(body) >> 7))
        assert 128 <= len(body) < 16_384
        return b"\x32" + length + body


class Kept(NamedTuple):
    """What became of what the broker accepted."""

    stored: int
    lost: int
    doubled: int


def kept(load: Load, url: str) -> Kept:
    """Compares the database with the load, node by node, once it has come to rest."""
    database = Database(url)
    deadline = time.monotonic() + DRAIN_S
    try:
        before = -1
        while time.monotonic() < deadline and (there := rows(database)) < load.accepted:
            if there > before:
                before, deadline = there, time.monotonic() + DRAIN_S
            time.sleep(1.0)
        column = schema.reading.c
        query = sa.select(sa.func.count(), sa.func.count(column.seq.distinct()))
        query = query.group_by(column.node_id)
        with database.reading() as connection:
            found = connection.execute(query).all()
    finally:
        database.close()
    stored = sum(one for one, _ in found)
    distinct = sum(one for _, one in found)
    return Kept(stored, load.accepted - distinct, stored - distinct)


def rows(database: Database) -> int:
    """Readings that are stored; a database that is away has none."""
    with contextlib.suppress(StoreError), database.reading() as connection:
        return readings.count(connection)
    return 0
