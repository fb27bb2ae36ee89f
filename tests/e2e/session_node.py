"""MicroPython side of test_session_mosquitto.py: what one link does against a real broker.

`session_node.py ROLE PORT JSON`: prints one line per event.
"""

import json
import random
import sys
import time

from fieldnode.backoff import Backoff
from fieldnode.link import Link
from fieldnode.session import Session

role, port, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
prefix = options["prefix"]


class Owner:
    """Says what it hears."""

    def __init__(self):
        self.acks = 0
        self.quit = False
        self.link = None

    def on_up(self):
        print("up", int(self.link.session.session_present))

    def on_ack(self, pid):
        self.acks += 1

    def on_message(self, topic, payload, retained, dup):
        if role == "echo":
            self.link.publish(prefix + "/out", payload, False, 1)
        else:
            print("message", payload.decode(), int(retained), int(dup))
        self.quit = self.quit or payload in (b"quit", b"restart")

    def on_oversize(self, topic, size):
        print("oversize", topic, size)


def context(ca):
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.verify_mode = ssl.CERT_REQUIRED
    with open(ca, "rb") as file:
        made.load_verify_locations(cadata=file.read())
    return made


def make_session():
    tls = context(options["ca"]) if "ca" in options else None
    session = Session(
        prefix,
        options.get("host", "localhost"),
        port,
        options.get("user"),
        options.get("password"),
        options.get("keepalive", 60),
        tls,
    )
    session.set_last_will(prefix + "/will", "gone", True, 1)
    return session


owner = Owner()
link = Link(
    time,
    None,
    make_session,
    Backoff(random.getrandbits, 50, 200),
    ((prefix + "/in", 1),),
    owner,
    options.get("clean", True),
)
owner.link = link
sent = 0
told = ""
while not owner.quit:
    link.wait(min(link.step(), 200))
    if link.failure != told:
        told = link.failure
        print("failure", told)
        if role == "fail":
            break
    if role == "burst":
        while sent < options["count"] and link.publish(prefix + "/out", str(sent), False, 1):
            sent += 1
        if owner.acks == options["count"]:
            break
if role == "crash":
    print("crashed")
    sys.exit()
if role == "restart":
    # As a node that restarts upon the command: no word to the broker.
    link.close()
else:
    link.disconnect()
print("end")
