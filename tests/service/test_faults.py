"""`fieldhand serve` while its surroundings fail: it goes on by itself and loses nothing."""

import contextlib
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
import sqlalchemy as sa
from mosquitto import Mosquitto
from postgres import Postgres
from service.running import Serve, Sse
from service.test_ingest_kill import NODES, Publisher, stored

from fieldhand.service.store import progress
from fieldhand.service.store.database import Database, Silent

WAIT_S = 30.0
# That serve requests: anyio's.
THREADS = 40
# FIELDHAND_CONNECTIONS=10000 takes a quarter of a minute.
MANY = int(os.environ.get("FIELDHAND_CONNECTIONS", "2000"))


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto(persistent=False, log_types="error") as running:
        yield running


@contextlib.contextmanager
def serve_with(
    folder, broker: Mosquitto, *arguments: str, within: Sequence[str] = (), **env: str
) -> Iterator[Serve]:
    env = {f"FIELDHAND_SERVICE_{name.upper()}": value for name, value in env.items()}
    to = ("--broker", f"mqtt://127.0.0.1:{broker.port}")
    serve = Serve(folder, *to, *arguments, env=env, within=within)
    try:
        serve.start()
        yield serve
    finally:
        serve.close()


def until(wanted, what: str = "") -> None:
    deadline = time.monotonic() + WAIT_S
    while not wanted():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def everything_is_stored(serve: Serve, publisher: Publisher) -> None:
    until(lambda: len(stored(serve)) >= len(publisher.sent), serve.log)
    found = stored(serve)
    assert set(found) == set(publisher.sent)
    assert len(found) == len(set(found))


def messages(serve: Serve) -> list[str]:
    """What the service logged; all of it is JSON."""
    return [json.loads(line)["message"] for line in serve.log.splitlines()]


def test_serve_on_postgresql_while_it_is_away(own_postgres: Postgres, broker, tmp_path):
    with serve_with(tmp_path, broker, "--database", own_postgres.url()) as serve:
        publisher = Publisher(broker.port)
        serve.until("/nodes", lambda page: len(page["nodes"]) == NODES)
        own_postgres.stop()
        until(lambda: serve.try_get("/readyz")[0] == 503)
        status, problem = serve.try_get("/nodes")
        assert status == 503 and "\n" not in problem["detail"]
        assert serve.get("/healthz")["status"] == "ok"
        own_postgres.start()
        until(lambda: serve.try_get("/readyz")[0] == 200)
        publisher.stop()
        everything_is_stored(serve, publisher)
        told = [text for text in messages(serve) if text.startswith("fieldhand-service: ")]
        assert len(told) == 2 and re.search(r"stores again after \d+ s$", told[1]), told
        assert serve.stop() == 0
        assert "Traceback" not in serve.log


def test_serve_on_a_postgresql_that_hangs(own_postgres: Postgres, broker, tmp_path):
    """It neither refuses nor answers: that is told, holds nothing else up, and goes on with it."""
    url = own_postgres.url()
    with serve_with(tmp_path, broker, "--database", url, database_silent_s="1") as serve:
        publisher = Publisher(broker.port)
        serve.until("/nodes", lambda page: len(page["nodes"]) == NODES)
        stream = Sse(serve.url, "/live?state=false")
        with own_postgres.paused():
            # More at once than there are threads, and they ask before anybody knows.
            asking = [background(serve.try_get, "/nodes") for _ in range(THREADS + 10)]
            until(lambda: serve.try_get("/readyz")[0] == 503)
            status, told = serve.try_get("/readyz")
            assert status == 503
            assert re.search(r"has not answered for \d+ s(; \d+ s behind)?$", told["reason"])
            assert serve.get("/healthz")["status"] == "ok"
            assert not stream.ended
        until(lambda: serve.try_get("/readyz")[0] == 200)
        until(lambda: all(one.done() for one in asking))
        assert {one.result()[0] for one in asking} <= {200, 503}
        publisher.stop()
        everything_is_stored(serve, publisher)
        stream.close()
        told = [text for text in messages(serve) if text.startswith("database ")]
        assert len(told) == 2, told
        assert re.search(r": has not answered for \d+ s; what comes in waits \(\d+ s", told[0])
        assert re.search(r": answers again after \d+ s$", told[1])
        assert not [text for text in messages(serve) if text.startswith("fieldhand-service: ")]
        assert serve.stop() == 0
        assert "Traceback" not in serve.log


def test_sigterm_while_postgresql_hangs(own_postgres: Postgres, broker, tmp_path):
    """It ends in its time, and what it could not store is stored by the next."""
    url = own_postgres.url()
    with serve_with(
        tmp_path, broker, "--database", url, database_silent_s="1", drain_s="1"
    ) as serve:
        publisher = Publisher(broker.port)
        serve.until("/nodes", lambda page: len(page["nodes"]) == NODES)
        with own_postgres.paused():
            until(lambda: serve.try_get("/readyz")[0] == 503)
            # Known to be silent, it is asked by nobody more.
            status, problem = serve.try_get("/nodes")
            assert status == 503 and "\n" not in problem["detail"]
            assert serve.stop() == 0
        serve.start()
        publisher.stop()
        everything_is_stored(serve, publisher)
        assert "Traceback" not in serve.log


def test_an_answer_of_postgresql_is_waited_for_so_long_and_no_longer(own_postgres: Postgres):
    database = Database(own_postgres.url(), silence_s=0.5)
    database.open()
    with database.reading() as connection:
        # A second in all, and a word in between.
        slow = "SELECT repeat('x', 100000), pg_sleep(0.2) FROM generate_series(1, 5)"
        assert len(connection.execute(sa.text(slow)).all()) == 5
    with contextlib.ExitStack() as stack:
        with pytest.raises(Silent, match=r"has not answered for 0\.[5-9] s"):
            with database.writing() as connection:
                progress.put(connection, database, "test", 1.0)
                stack.enter_context(own_postgres.paused())
                progress.get(connection, "test")
    with database.reading() as connection:
        assert progress.get(connection, "test") is None
    # Who waits may be told to wait no longer; what is opened again is as new.
    patient = Database(own_postgres.url())
    with contextlib.ExitStack() as stack:
        with pytest.raises(Silent), patient.reading() as connection:
            stack.enter_context(own_postgres.paused())
            asked = background(connection.execute, sa.text("SELECT 1"))
            patient.give_up()
            asked.result(WAIT_S)
    patient.open()
    with patient.reading() as connection:
        connection.execute(sa.text("SELECT pg_sleep(0.2)"))
    database.close()
    patient.close()


def background(call, *arguments) -> Future:
    """What a call returns, in time."""
    done: Future = Future()

    def run() -> None:
        try:
            done.set_result(call(*arguments))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


def test_a_broker_that_is_killed_under_load(own_mosquitto: Mosquitto, tmp_path):
    with serve_with(tmp_path, own_mosquitto) as serve:
        publisher = Publisher(own_mosquitto.port)
        until(lambda: len(publisher.sent) > 100)
        own_mosquitto.kill()
        until(lambda: serve.try_get("/readyz")[0] == 503)
        own_mosquitto.start()
        until(lambda: serve.try_get("/readyz")[0] == 200)
        publisher.stop()
        everything_is_stored(serve, publisher)
        told = [text for text in messages(serve) if text.startswith("fieldhand-service: ")]
        assert len(told) == 2 and told[0].endswith("trying again"), told
        assert re.search(r": connected again after \d+ s$", told[1])
        assert serve.stop() == 0
        assert "Traceback" not in serve.log


# A file system of its own for one process and its children; the words after it are the command.
SMALL = 'mount -t tmpfs -o size=24m none "$1" && shift && exec "$@"'


@pytest.fixture
def small_disk(tmp_path) -> Iterator[list[str]]:
    folder = tmp_path / "disk"
    folder.mkdir()
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL, "sh"]
    within.append(str(folder))
    if shutil.which("unshare") is None or subprocess.run([*within, "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount a file system of his own")
    yield within


class Ballast:
    """Fills the disk of a process, as others on the machine do, and clears it."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._path = Path(f"/proc/{pid}/root{folder}/ballast")

    def fill(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            for size in (65_536, 512):
                with pytest.raises(OSError, match="No space left"):
                    while True:
                        file.write(b"x" * size)

    def clear(self) -> None:
        self._path.unlink()


def test_a_full_disk(broker, tmp_path, small_disk):
    database = f"sqlite:///{tmp_path}/disk/service.db"
    with serve_with(tmp_path, broker, "--database", database, within=small_disk) as serve:
        publisher = Publisher(broker.port)
        serve.until("/nodes", lambda page: len(page["nodes"]) == NODES)
        ballast = Ballast(serve.pid, tmp_path / "disk")
        for _ in range(2):
            ballast.fill()
            until(lambda: serve.try_get("/readyz")[0] == 503, serve.log)
            status, told = serve.try_get("/readyz")
            assert status == 503 and "disk is full" in told["reason"]
            # What is there can be read, and what comes in waits at the broker.
            before = len(stored(serve))
            assert before < len(publisher.sent)
            assert serve.get("/healthz")["status"] == "ok"
            ballast.clear()
            until(lambda: serve.try_get("/readyz")[0] == 200, serve.log)
        publisher.stop()
        everything_is_stored(serve, publisher)
        told = [text for text in messages(serve) if text.startswith("fieldhand-service: ")]
        assert len(told) == 4 and "disk is full; trying again" in told[0], told
        assert re.search(r": stores again after \d+ s$", told[1])
        assert serve.stop() == 0
        assert "Traceback" not in serve.log


@contextlib.contextmanager
def connections(url: str, count: int) -> Iterator[list[socket.socket]]:
    """So many that ask nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = min(hard, count + 500) if hard != resource.RLIM_INFINITY else count + 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    host, _, port = url.removeprefix("http://").partition(":")
    open_ones: list[socket.socket] = []
    try:
        for _ in range(count):
            open_ones.append(socket.create_connection((host, int(port)), timeout=WAIT_S))
        yield open_ones
    finally:
        for one in open_ones:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thousands_of_connections_that_ask_nothing(broker, tmp_path):
    with serve_with(tmp_path, broker) as serve:
        publisher = Publisher(broker.port)
        with connections(serve.url, MANY):
            assert serve.get("/healthz")["status"] == "ok"
            assert serve.get("/readyz")["status"] == "ok"
            publisher.stop()
            everything_is_stored(serve, publisher)
        assert serve.stop() == 0


def test_connections_beyond_the_limit_are_refused_and_the_idle_ended(broker, tmp_path):
    with serve_with(tmp_path, broker, max_connections="100", request_s="2") as serve:
        publisher = Publisher(broker.port)
        with connections(serve.url, 150) as idle:
            idle[0].sendall(b"GET /heal")  # and nothing after it
            refused = [one for one in idle[100:] if one.recv(20).startswith(b"HTTP/1.1 503")]
            assert len(refused) == 50
            # After request_s the others are ended, and there is room again.
            assert idle[0].recv(1) == b"" and idle[99].recv(1) == b""
            assert serve.get("/healthz")["status"] == "ok"
        publisher.stop()
        everything_is_stored(serve, publisher)
        told = [text for text in messages(serve) if re.search(r"connections are", text)]
        assert told == [
            "100 connections are open, more are refused",
            "connections are taken again; 50 were refused so far",
        ]
