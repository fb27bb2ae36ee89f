"""`fieldhand serve` as a process, and a plain HTTP client for it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

WAIT_S = 20.0


class Serve:
    """One process; `start` after `kill` goes on with the same folder, database and client id.

    `within`: the words of a command that becomes the one that follows them.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.within = within
        self.arguments = arguments
        self.env = env or {}
        self.url = ""
        self.told: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None
        self._log = folder / "serve.log"

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    *self.within,
                    sys.executable,
                    "-m",
                    "fieldhand.cli",
                    "serve",
                    "--port",
                    "0",
                    "--json",
                ]
                + list(self.arguments),
                cwd=self.folder,
                env={**os.environ, **self.env},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"fieldhand serve did not start:\n{self.log}"
        self.told = json.loads(line)
        self.url = self.told["url"]

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(WAIT_S)
        self._close()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(WAIT_S)
        self._close()
        return code

    def _close(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def get(self, path: str) -> Any:
        with urlopen(self.url + path, timeout=WAIT_S) as answer:
            return json.load(answer)

    def try_get(self, path: str) -> tuple[int, Any]:
        """The status and what came with it."""
        try:
            with urlopen(self.url + path, timeout=WAIT_S) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def until(self, path: str, wanted: Any, timeout: float = WAIT_S) -> Any:
        """The answer to `path` as soon as `wanted` of it is true."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.get(path)
            if wanted(found):
                return found
            assert time.monotonic() < deadline, f"{path} is still {found}\n{self.log}"
            time.sleep(0.05)

    def close(self) -> None:
        if self._process is not None:
            self.kill()


@contextmanager
def serving(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Serve]:
    serve = Serve(folder, *arguments, env=env)
    serve.start()
    try:
        yield serve
    finally:
        serve.close()


class Sse:
    """A Server-Sent Events client; `events` are (event, data)."""

    def __init__(self, url: str, path: str, headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self.events: list[tuple[str, Any]] = []
        self.ended = False
        self._changed = threading.Condition()
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=WAIT_S)
        self._connection.request("GET", path, headers=headers or {})
        self._socket = self._connection.sock
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.headers["Content-Type"].startswith("text/event-stream")
        assert self._answer.readline() == b": connected\n"
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        name = ""
        try:
            while line := self._answer.readline():
                key, _, value = line.decode().rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data" and name != "ping":
                    with self._changed:
                        self.events.append((name, json.loads(value)))
                        self._changed.notify_all()
        except (OSError, ValueError, AttributeError):
            pass
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, wanted: Any, timeout: float = WAIT_S) -> Any:
        """The data of the first event for which wanted(event, data) is true."""
        with self._changed:
            found: list[Any] = []

            def looked() -> bool:
                found[:] = [data for name, data in self.events if wanted(name, data)]
                return bool(found) or self.ended

            self._changed.wait_for(looked, timeout)
            assert found, f"not among {self.events}"
            return found[0]

    def wait_end(self, timeout: float = WAIT_S) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, timeout)

    def close(self) -> None:
        # Else closing waits for what the thread is reading.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()
