"""Debian's PostgreSQL as a child process on a free loopback port, for tests and the bench."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_DEADLINE_S = 30.0
# It refuses to run as root.
USER = "postgres"


def folder_of_programs() -> Path | None:
    """Where initdb and postgres are; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    where = shutil.which("initdb")
    return Path(where).resolve().parent if where else None


class Postgres:
    """One server with an empty database; `start` after `stop` or `kill` goes on with its files."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        programs = folder_of_programs()
        assert programs is not None
        self._programs = programs
        self._folder = tempfile.TemporaryDirectory(prefix="postgres-")
        self._data = Path(self._folder.name, "data")
        self._log = Path(self._folder.name, "log")
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self._folder.name, USER)
        self._run("initdb", "-D", str(self._data), "-U", USER, "--auth=trust", "--no-sync")
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            self.port = probe.getsockname()[1]

    def url(self, database: str = USER) -> str:
        return f"postgresql+psycopg://{USER}@{self.host}:{self.port}/{database}"

    def start(self) -> None:
        command = [
            *(str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)),
            *("-c", f"listen_addresses={self.host}", "-c", "unix_socket_directories="),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user())
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(host=self.host, port=self.port, user=USER, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def make_database(self, name: str) -> str:
        """An empty database; its URL."""
        import psycopg

        with psycopg.connect(
            host=self.host, port=self.port, user=USER, autocommit=True
        ) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def stop(self) -> None:
        """End every session at once; what was committed is kept."""
        self._end(signal.SIGINT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """All its processes stand still, as on a machine that swaps or a disk that hangs."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        pids = [self._process.pid, *map(int, children.read_text().split())]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        self._end(signal.SIGQUIT)
        self._folder.cleanup()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_DEADLINE_S)
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            **self._as_user(),
        )
        assert done.returncode == 0, done.stderr

    def _as_user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {"cwd": self._folder.name}
        return {"user": USER, "group": USER, "extra_groups": [], "cwd": self._folder.name}
