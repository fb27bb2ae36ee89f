"""Debian's mosquitto as a child process on a free loopback port, for tests and the bench."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 10.0
POLL_S = 0.02
# Between finding a free port and mosquitto binding it, another process can take it.
PORT_TRIES = 5


class MosquittoError(Exception):
    """Mosquitto did not start; the text carries its log."""


def executable() -> str | None:
    """Path of the broker; Debian puts it in /usr/sbin, which a user's PATH lacks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Mosquitto:
    """One broker process; `start()` after `stop()` or `kill()` comes back on the same port.

    `persistent` saves on every change, so that a killed broker keeps what it acknowledged;
    that costs throughput, so a broker that is never restarted goes without. `extra` holds
    further lines of mosquitto.conf, `log_types` what it logs. Each start raises MosquittoError
    when it fails.
    """

    host = "127.0.0.1"

    def __init__(
        self, persistent: bool = True, extra: tuple[str, ...] = (), log_types: str = "all"
    ) -> None:
        self.persistent = persistent
        self.extra = extra
        self.log_types = log_types
        self.port = 0
        self._folder = tempfile.TemporaryDirectory(prefix="mosquitto-")
        self._log = Path(self._folder.name, "mosquitto.log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Mosquitto":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def log(self) -> str:
        """What the broker has logged since it was made, over all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it and return once it accepts connections; no effect while it runs."""
        if self.running:
            return
        if self.port:
            self._launch()
            return
        for left in reversed(range(PORT_TRIES)):
            self.port = _free_port()
            try:
                return self._launch()
            except MosquittoError:
                if not left:
                    raise

    def stop(self) -> None:
        """End it in good order: clients see the connection close, state is saved."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers, until `resume()`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it if it runs and remove its files."""
        self.kill()
        self._folder.cleanup()

    def _launch(self) -> None:
        command = executable()
        if command is None:
            raise MosquittoError("mosquitto is not installed: apt-get install mosquitto")
        config = Path(self._folder.name, "mosquitto.conf")
        config.write_text(self._config())
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [command, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_DEADLINE_S
        while self.running and time.monotonic() < deadline:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
            except OSError:
                time.sleep(POLL_S)
                continue
            # Without this look, a stranger on the port would pass for our broker.
            time.sleep(POLL_S)
            if self.running:
                return
        self.kill()
        raise MosquittoError(f"mosquitto did not start on port {self.port}:\n{self.log}")

    def _config(self) -> str:
        lines = [
            f"listener {self.port} {self.host}",
            "allow_anonymous true",
            # The default of 1000 drops acknowledged messages of a slow subscriber.
            "max_queued_messages 0",
            "set_tcp_nodelay true",
            "log_dest stderr",
            f"log_type {self.log_types}",
        ]
        if self.persistent:
            lines += [
                "persistence true",
                f"persistence_location {self._folder.name}/",
                "autosave_on_changes true",
                "autosave_interval 1",
            ]
        if os.geteuid() == 0:
            # Else it drops to its own user, who cannot enter our temporary folder.
            lines.append("user root")
        return "\n".join([*lines, *self.extra, ""])

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(how)
            # A paused process takes no SIGTERM until it goes on.
            self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((Mosquitto.host, 0))
        port: int = probe.getsockname()[1]
        return port
