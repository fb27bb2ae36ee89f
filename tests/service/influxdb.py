"""Debian's InfluxDB 1.6 as a child process on free loopback ports."""

import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

START_DEADLINE_S = 30.0

CONFIG = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
"""


def executable() -> str | None:
    return shutil.which("influxd")


class InfluxDB:
    """One server; `start` after `stop` goes on with its files, on the same port."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="influxdb-")
        self._log = Path(self._folder.name, "log")
        self._config = Path(self._folder.name, "influxdb.conf")
        self._process: subprocess.Popen[bytes] | None = None
        self.port, rpc = _free_ports(2)
        self._config.write_text(CONFIG.format(rpc=rpc, http=self.port, folder=self._folder.name))

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(executable()), "-config", str(self._config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/ping", timeout=2) as answer:
                return bool(answer.status == 204)
        except (URLError, OSError):
            return False

    def query(self, statement: str, database: str = "") -> list[dict[str, Any]]:
        """The series of an InfluxQL statement."""
        words = {"q": statement, "db": database, "epoch": "ms"}
        try:
            # POST, as CREATE wants it.
            with urlopen(f"{self.url}/query", urlencode(words).encode(), timeout=10) as answer:
                result = json.load(answer)["results"][0]
        except HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        assert "error" not in result, result
        return list(result.get("series", []))

    def rows(self, measurement: str, database: str) -> list[dict[str, Any]]:
        """All points of a measurement, a dict each."""
        found = []
        for series in self.query(f'SELECT * FROM "{measurement}"', database):
            found += [dict(zip(series["columns"], row, strict=True)) for row in series["values"]]
        return found

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(START_DEADLINE_S)
            self._process = None

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
