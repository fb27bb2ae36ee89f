"""Readings a second from MQTT into the database, beside what else could be done with them.

    python tools/bench_service.py [--messages 20000] [--database URL] [--json]
    python tools/bench_service.py --flat HOURS | --connections N | --outage SECONDS

Three measurements, one after the other, on SQLite and, where Debian's is installed, PostgreSQL:
what comes through, memory with 10,000 nodes, and the time to hundreds of live clients
(bench_live.py). The second line's options measure something else instead: bench_memory.py,
bench_crowd.py and bench_outage.py say what.

Mosquitto holds a backlog of QoS 1 readings for a persistent session; measured is what it takes to
empty it, with one thread doing the work: (a) paho receiving, acknowledging and discarding,
(s) the service: decoded, validated, committed, acknowledged; and, without any MQTT, (b) the same
rows in the same batches by SQLAlchemy's plain executemany and, on PostgreSQL, by COPY. Beside the
clock's time stands that of the thread's processor: "a second of one core", which a busy machine
does not change much.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bench_crowd
import bench_live
import bench_memory
import bench_outage
import paho.mqtt.client as paho
import sqlalchemy as sa
from mosquitto import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from postgres import Postgres, folder_of_programs
from pydantic_core import to_json
from service_load import pool_values

from fieldhand import dialects
from fieldhand.connection import BrokerAddress
from fieldhand.service.ingest.workers import Worker
from fieldhand.service.ingest.writer import NodeTable, Writer
from fieldhand.service.live.hub import Hub
from fieldhand.service.settings import load as load_settings
from fieldhand.service.store import readings, schema
from fieldhand.service.store.database import Database

NODES = 100
FLAT_NODES = 1_000
MANY_NODES = 10_000
# What the housekeeping takes belongs to the memory; it runs every minute.
HOUSEKEEPING_S = 150.0
DEADLINE_S = 300.0
# Mosquitto sends 20 unacknowledged messages by default, which is what a batch can be then.
UNLIMITED = ("max_inflight_messages 0",)


def payloads(count: int) -> list[Any]:
    """Readings of DESE pools, encoded."""
    dialect = dialects.load("dese", {"org": "00000000-0000-4000-8000-000000000001"})
    start = int(time.time()) - count // NODES
    made = []
    for number in range(count):
        values = pool_values(number, start + number // NODES)
        ext = {"boot": "1-abcd", "seq": number // NODES + 1, "ms": number * 10, "q": "synced"}
        made.append(dialect.encode("reading", f"pool-{number % NODES:03}", values, ext))
    return made


def subscribe(broker: Mosquitto, client_id: str) -> None:
    """A session that waits for messages while its client is away."""
    client = _client(client_id)
    done = threading.Event()

    def on_connect(*_: Any) -> None:
        client.subscribe("devices/#", 1)

    def on_subscribe(*_: Any) -> None:
        done.set()

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.connect(broker.host, broker.port)
    client.loop_start()
    assert done.wait(10)
    client.disconnect()
    client.loop_stop()


def publish(broker: Mosquitto, packets: list[Any]) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.max_queued_messages_set(0)
    client.connect(broker.host, broker.port)
    client.loop_start()
    for packet in packets:
        info = client.publish(packet.topic, packet.payload, 1)
    info.wait_for_publish(DEADLINE_S)
    client.disconnect()
    client.loop_stop()


Rows = list[dict[str, Any]]


class Spent(NamedTuple):
    """Seconds by the clock, and of one core."""

    wall: float
    core: float


def discard(broker: Mosquitto, client_id: str, count: int) -> Spent:
    """(a): from CONNECT until paho has had them all, in one thread."""
    client = _client(client_id)
    seen = 0

    def on_message(*_: Any) -> None:
        nonlocal seen
        seen += 1

    client.on_message = on_message
    started, core = time.perf_counter(), time.thread_time()
    client.connect(broker.host, broker.port)
    while seen < count:
        client.loop(1.0)
    spent = Spent(time.perf_counter() - started, time.thread_time() - core)
    client.disconnect()
    return spent


def serve(broker: Mosquitto, client_id: str, count: int, database: Database) -> tuple[Spent, float]:
    """(s): and rows in a batch, of a worker as the service runs it."""
    settings = load_settings({"client_id": client_id, "node_rate": 0}, environment={})
    table = NodeTable(database, settings.max_nodes)
    writer = Writer(database, settings, table, Hub(), ())
    worker = Worker(BrokerAddress(broker.host, broker.port), client_id, settings, writer)
    core = 0.0

    def run() -> None:
        nonlocal core
        worker.run()
        core = time.thread_time()

    thread = threading.Thread(target=run)
    started = time.perf_counter()
    thread.start()
    _until(lambda: writer.counts["reading"] >= count)
    wall = time.perf_counter() - started
    worker.ask_to_stop()
    thread.join(10)
    with database.reading() as connection:
        stored = readings.count(connection)
    assert stored == count, f"{stored} of {count} are stored: {writer.counts}"
    return Spent(wall, core), count / writer.counts["batches"]


def stored(database: Database) -> Rows:
    """The rows that are there."""
    columns = [column for column in schema.reading.columns if column.name != "id"]
    with database.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(*columns))]


def executemany(connection: sa.Connection, rows: Rows) -> None:
    connection.execute(schema.reading.insert(), rows)


def copy(connection: sa.Connection, rows: Rows) -> None:
    """PostgreSQL's COPY, in its text format."""
    driver: Any = connection.connection.driver_connection
    names = ", ".join(f'"{name}"' for name in rows[0])
    with driver.cursor() as cursor, cursor.copy(f"COPY reading ({names}) FROM STDIN") as sink:
        for row in rows:
            sink.write_row([_as_text(value) for value in row.values()])


def insert(
    database: Database, rows: Rows, batch: int, way: Callable[[sa.Connection, Rows], None]
) -> Spent:
    """(b): the rows once more, into an empty table."""
    with database.writing() as connection:
        connection.execute(schema.reading.delete())
    started, core = time.perf_counter(), time.thread_time()
    for first in range(0, len(rows), batch):
        with database.writing() as connection:
            way(connection, rows[first : first + batch])
    spent = Spent(time.perf_counter() - started, time.thread_time() - core)
    with database.reading() as connection:
        assert readings.count(connection) == len(rows)
    return spent


def measure(url: str, count: int) -> dict[str, Any]:
    packets = payloads(count)
    database = Database(url)
    database.open()
    with Mosquitto(persistent=False, extra=UNLIMITED, log_types="error") as broker:
        for client_id in ("discard", "service"):
            subscribe(broker, client_id)
        publish(broker, packets)
        a = discard(broker, "discard", count)
        s, batch = serve(broker, "service", count, database)
    rows, size = stored(database), load_settings(environment={}).batch_rows
    b = {"executemany_per_s": _rates(count, insert(database, rows, size, executemany))}
    if not database.sqlite:
        b["copy_per_s"] = _rates(count, insert(database, rows, size, copy))
    database.close()
    return {
        "database": database.url.get_backend_name(),
        "messages": count,
        "paho_discards_per_s": _rates(count, a),
        "service_per_s": _rates(count, s),
        **b,
        "of_paho": {"wall": round(a.wall / s.wall, 2), "core": round(a.core / s.core, 2)},
        "rows_a_batch": round(batch),
    }


def _as_text(value: Any) -> Any:
    return to_json(value).decode() if isinstance(value, dict) else value


def _rates(count: int, spent: Spent) -> dict[str, int]:
    return {"wall": round(count / spent.wall), "core": round(count / spent.core)}


def _client(client_id: str) -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit("the service did not get through")
        time.sleep(0.01)


def show(found: dict[str, Any]) -> None:
    print(f"{found['database']}, {found['messages']} readings", end="")
    print(f", {found['rows_a_batch']} in a commit")
    for name in [name for name in found if name.endswith("_per_s")]:
        rates = found[name]
        print(f"  {name:20} {rates['wall']:8,}   on one core {rates['core']:8,}")
    share = found["of_paho"]
    print(f"  {'service / paho':20} {share['wall']:8.0%}   on one core {share['core']:8.0%}")


@contextlib.contextmanager
def databases(urls: list[str]) -> Iterator[list[str]]:
    """URLs of empty ones: SQLite's in a temporary folder, and those given or PostgreSQL's own."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if not urls and folder_of_programs() is not None:
            server = stack.enter_context(contextlib.closing(Postgres()))
            server.start()
            urls = [server.url()]
        yield [f"sqlite:///{Path(folder, 'bench.db')}", *urls]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--database", action="append", help="URL of an empty one; may be repeated")
    parser.add_argument("--nodes", type=int, help="whose memory is measured")
    parser.add_argument("--rate", type=float, default=1_000, help="of theirs: readings a second")
    parser.add_argument("--clients", type=int, default=500, help="live ones, of each kind")
    parser.add_argument("--json", action="store_true")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--flat", type=float, metavar="HOURS", help="memory under a steady load")
    instead.add_argument("--connections", type=int, metavar="N", help="live clients at once")
    instead.add_argument("--outage", type=float, metavar="SECONDS", help="PostgreSQL stops")
    arguments = parser.parse_args()

    def tell(show: Callable[[Any], None], found: Any) -> None:
        if arguments.json:
            print(json.dumps(found))
        else:
            show(found)
        sys.stdout.flush()

    if arguments.flat:
        nodes = arguments.nodes or FLAT_NODES
        found = bench_memory.measure(arguments.flat, nodes, arguments.rate)
        tell(bench_memory.show, found)
    elif arguments.connections:
        tell(bench_crowd.show, bench_crowd.measure(arguments.connections))
    elif arguments.outage:
        tell(bench_outage.show, bench_outage.measure(arguments.outage))
    else:
        with databases(arguments.database or []) as urls:
            for url in urls:
                tell(show, measure(url, arguments.messages))
        nodes = arguments.nodes or MANY_NODES
        seconds = max(HOUSEKEEPING_S, 3 * nodes / arguments.rate)
        found = bench_memory.measure(seconds / 3600, nodes, arguments.rate)
        tell(bench_memory.show, found)
        tell(bench_live.show, bench_live.run(arguments.clients))
    return 0


if __name__ == "__main__":
    sys.exit(main())
