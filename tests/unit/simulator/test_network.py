"""Wi-Fi, sockets and a broker that goes away: what MicroPython 1.24's ports/esp32 does."""

import socket
import threading
import time

import pytest
from unit.simulator.programs import CONNECT, SOCKET, output, raised, start


def test_wifi_states(sim):
    lines = output(
        sim,
        "import network, time\nw = network.WLAN(network.STA_IF)\n"
        + raised("w.connect('field', 'secret99')")
        + "print(w.active(), w.active(True), w.status(), w.isconnected(), w.ifconfig()[0])\n"
        + raised("w.status('rssi')")
        + "w.connect('field', 'secret99')\nprint(w.status())"
        + raised("w.connect('field', 'secret99')")
        + """
while not w.isconnected():
    time.sleep_ms(5)
print(w.status(), w.ifconfig()[0], w.status("rssi") < -20, len(w.config("mac")), w.config("ssid"))
"""
        + raised("w.connect('field', 'secret99')")
        + "w.disconnect()\nprint(w.status(), w.isconnected())\nw.connect('nowhere', 'x')\n"
        + "time.sleep_ms(100)\nprint(w.status() == network.STAT_NO_AP_FOUND)\n"
        + "w.disconnect()\nw.connect('field', 'wrong')\ntime.sleep_ms(100)\n"
        + "print(w.status() == network.STAT_WRONG_PASSWORD, w.scan()[0][0])\n"
        + "w.active(False)\nprint(w.status())\n"
        + raised("w.config('nonsense')")
        + raised("network.WLAN(7)"),
    )
    assert lines == [
        "OSError('Wifi Not Started',)",
        "False True 1000 False 0.0.0.0",
        "OSError('Wifi Not Connected',)",
        "1001",
        "OSError('Wifi Internal Error',)",
        "1010 127.0.0.1 True 6 field",
        "OSError('Wifi Internal Error',)",
        "1000 False",
        "True",
        "True b'field'",
        "1000",
        "ValueError('unknown config param',)",
        "ValueError('invalid WLAN interface identifier',)",
    ]


def test_wifi_comes_back_by_itself(sim):
    node = start(
        sim,
        CONNECT
        + """
while True:
    print("status", wlan.status(), wlan.isconnected())
    time.sleep_ms(10)
""",
    )
    node.wait_console("status 1010 True")
    for fault, seen in (
        ("lost", "status 201 False"),
        ("ok", "status 1010 True"),
        ("wrong_password", "status 202 False"),
        ("no_ap", "status 201 False"),
        ("zombie", "status 1010 True"),
    ):
        mark = node.console.mark()
        node.faults.wifi(fault)
        node.wait_console(seen, since=mark)
    with pytest.raises(ValueError, match="lost"):
        node.faults.wifi("gone")


class Echo:
    """A server that notes what comes and sends it back."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.got = b""
        self.accepted: list[socket.socket] = []
        self.ended: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.accepted.append(peer)
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        try:
            while data := peer.recv(1000):
                self.got += data
                peer.sendall(data)
            self.ended.append("closed")
        except OSError:
            self.ended.append("reset")

    def close(self) -> None:
        self.socket.close()
        for peer in self.accepted:
            peer.close()


@pytest.fixture
def echo(sim):
    server = Echo()
    sim.broker = server.address
    yield server
    server.close()


SENDER = (
    SOCKET
    + """
s.settimeout(0.2)
number = 0
while True:
    number += 1
    s.write("<%d>" % number)
    try:
        print("got", s.recv(100), wlan.isconnected())
    except OSError as e:
        print("error", e.errno, wlan.isconnected())
    time.sleep_ms(20)
"""
)


@pytest.mark.parametrize(
    ("cut", "heal", "connected"),
    [
        (lambda f: f.wifi("lost"), lambda f: f.wifi("ok"), "False"),
        (lambda f: f.wifi("zombie"), lambda f: f.wifi("ok"), "True"),
        (lambda f: f.broker("blackhole"), lambda f: f.broker("ok"), "True"),
    ],
)
def test_a_cut_link_passes_nothing_and_loses_nothing(sim, echo, cut, heal, connected):
    node = start(sim, SENDER)
    node.wait_console("got b'<1>' True")
    cut(node.faults)
    node.wait_console(f"error 11 {connected}")
    before = echo.got
    node.wait_console(f"error 11 {connected}", since=node.console.mark())
    assert echo.got == before and not echo.ended
    heal(node.faults)
    node.wait_console("got", since=node.console.mark())
    numbers = [int(part) for part in echo.got.decode().strip("<>").split("><")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_broker_that_resets(sim, echo):
    node = start(sim, SENDER)
    node.wait_console("got b'<1>' True")
    node.faults.broker("reset")
    node.wait_state("repl")
    # ECONNRESET, or EPIPE, which MicroPython has no name for.
    assert node.console.lines()[-1] in ("OSError: [Errno 104] ECONNRESET", "OSError: 32")


def test_power_cut_leaves_the_broker_waiting_and_stop_does_not(sim, echo):
    node = start(sim, SENDER)
    node.wait_console("got")
    node.power_cut()
    time.sleep(0.3)
    assert not echo.ended
    mark = node.console.mark()
    node.power_on()
    node.wait_console("got", since=mark)
    assert not echo.ended and len(echo.accepted) == 2
    node.stop()
    node.wait(lambda: len(echo.ended) == 1, 3, "end of the connection")


def test_closing_reaches_the_broker(sim, echo):
    start(sim, SOCKET + "s.write('bye')\ns.close()\n")
    deadline = time.monotonic() + 5
    while not echo.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert echo.ended and echo.got == b"bye"


def test_without_a_broker_connecting_fails(sim):
    with socket.create_server(("127.0.0.1", 0)) as server:
        sim.broker = server.getsockname()
    lines = output(sim, SOCKET + "s.settimeout(2)\n" + raised("print(s.recv(1))"))
    assert "OSError(104,)" in lines[-1] or lines[-2:] == ["b''", "nothing"]
