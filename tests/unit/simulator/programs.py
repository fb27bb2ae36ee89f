"""Small programs that a simulated node runs in the place of the firmware's main.py."""

import textwrap

from fieldhand.sim import Node, Simulator

CONFIG = {
    "node": "n1",
    "wifi": {"ssid": "field", "password": "secret99"},
    "broker": {"host": "10.0.0.2", "port": 1883},
}
CONNECT = """
import network, time
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.connect("field", "secret99")
while not wlan.isconnected():
    time.sleep_ms(5)
"""
SOCKET = (
    CONNECT
    + """
import json, socket
broker = json.load(open("node.json"))["broker"]
s = socket.socket()
s.connect(socket.getaddrinfo(broker["host"], broker["port"])[0][-1])
"""
)


def start(sim: Simulator, program: str, config: dict | None = None, **options) -> Node:
    node = sim.add(
        {**CONFIG, **(config or {})}, files={"main.py": textwrap.dedent(program)}, **options
    )
    node.start()
    return node


def output(sim: Simulator, program: str, config: dict | None = None, **options) -> list[str]:
    """What the program prints until it ends."""
    node = start(sim, program, config, **options)
    node.wait_state("repl")
    return node.console.lines()


def raised(statement: str) -> str:
    """A program that prints what `statement` raises."""
    return (
        "\ntry:\n    " + statement + "\n    print('nothing')\n"
        "except Exception as e:\n    print(repr(e))\n"
    )
