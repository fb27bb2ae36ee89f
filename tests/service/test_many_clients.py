"""As many live clients as `live_clients` lets in, and one more."""

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from e2e.nodes import backend
from service.running import WAIT_S, Serve, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fieldhand.service.api import streams

CLIENTS = 300
PATH = "/live?kind=reading&state=false"
# The PlantNanny document's.
PLANT = {
    "temperatureC": 24.3,
    "humidityPct": 56.0,
    "luminosityPct": 75.5,
    "ts": 1704825600,
    "uptime": 123456,
}


def stream(serve: Serve) -> socket.socket:
    parts = urlsplit(serve.url)
    made = socket.create_connection((parts.hostname, parts.port), timeout=WAIT_S)
    made.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    return made


def read_until(client: socket.socket, wanted: bytes) -> bytes:
    """What comes up to `wanted`, which has to come."""
    got = b""
    while wanted not in got:
        data = client.recv(4096)
        assert data, got
        got += data
    return got


def test_as_many_as_may_hear_all_and_one_more_is_told_503(tmp_path):
    limit = {"FIELDHAND_SERVICE_LIVE_CLIENTS": str(CLIENTS)}
    with serving(tmp_path, "--broker-port", "0", env=limit) as serve, ExitStack() as stack:
        clients = [stack.enter_context(stream(serve)) for _ in range(CLIENTS)]
        for client in clients:
            assert read_until(client, b": connected\n").startswith(b"HTTP/1.1 200 ")

        status, problem = serve.try_get(PATH)
        assert (status, problem["status"]) == (503, 503)
        assert str(CLIENTS) in problem["detail"]
        with connect(serve.url.replace("http", "ws", 1) + PATH, open_timeout=WAIT_S) as more:
            with pytest.raises(ConnectionClosed):
                more.recv(timeout=WAIT_S)
            assert more.close_code == streams.TRY_AGAIN

        with backend(serve.told["broker"]["port"]) as mqtt:
            mqtt.publish("devices/n/data", PLANT)
            for client in clients:
                assert b'"plantnanny:n"' in read_until(client, b"1704825600")

            # Who leaves makes room.
            clients[0].close()
            deadline = time.monotonic() + WAIT_S
            while True:
                with stream(serve) as late:
                    if read_until(late, b"\r\n").startswith(b"HTTP/1.1 200 "):
                        break
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert serve.stop() == 0
