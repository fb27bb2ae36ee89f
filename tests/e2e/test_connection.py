"""What a connection does with a message that the broker did not acknowledge."""

import time

import paho.mqtt.client as paho
import pytest
from mosquitto import Mosquitto

from fieldhand.connection import BrokerAddress, Connection
from fieldhand.errors import BrokerUnavailable, Unacknowledged
from fieldproto.messages import Packet

WAIT_S = 10.0


def kept(port: int) -> set[str]:
    """The topics under stale/ that the broker keeps, once it has told them all."""
    found: set[str] = set()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda c, *_: c.subscribe([("stale/#", 1)])
    client.on_message = lambda c, u, message: found.add(message.topic)
    client.connect("127.0.0.1", port)
    client.loop_start()
    deadline = time.monotonic() + WAIT_S
    while "stale/last" not in found and time.monotonic() < deadline:
        time.sleep(0.02)
    client.disconnect()
    client.loop_stop()
    return found


def test_what_was_not_acknowledged_is_not_sent_again(own_mosquitto: Mosquitto) -> None:
    connection = Connection(BrokerAddress(port=own_mosquitto.port), {}, lambda message: None)
    connection.connect(WAIT_S)
    try:
        own_mosquitto.pause()
        with pytest.raises(Unacknowledged, match="did not acknowledge"):
            connection.publish(Packet("stale/a", b"x", 1, True), timeout=0.2)
        own_mosquitto.kill()  # it never read the message
        deadline = time.monotonic() + WAIT_S
        while connection.up and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(BrokerUnavailable, match="not connected") as caught:
            connection.publish(Packet("stale/b", b"x", 1, True))
        assert not isinstance(caught.value, Unacknowledged)
        own_mosquitto.start()
        while not connection.up and time.monotonic() < deadline:
            time.sleep(0.02)
        # Behind whatever was sent again, as packets keep their order.
        connection.publish(Packet("stale/last", b"x", 1, True))
        assert kept(own_mosquitto.port) == {"stale/last"}
    finally:
        connection.close()
