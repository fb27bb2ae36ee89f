"""The broker process the other tests stand on does what they rely on."""

import socket
import threading

import pytest
from mosquitto import Mosquitto, MosquittoError
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

DEADLINE_S = 10.0


def publish(broker: Mosquitto, topic: str, payload: bytes) -> None:
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.publish(topic, payload, qos=1, retain=True).wait_for_publish(DEADLINE_S)
    client.disconnect()
    client.loop_stop()


def retained(broker: Mosquitto, topic: str) -> bytes | None:
    """What the broker holds retained at `topic`."""
    heard: list[bytes] = []
    done = threading.Event()

    def on_message(client: Client, userdata: object, message: MQTTMessage) -> None:
        heard.append(message.payload)
        done.set()

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe(topic, qos=1)
    done.wait(DEADLINE_S)
    client.disconnect()
    client.loop_stop()
    return heard[0] if heard else None


def test_shared_broker_passes_messages(mosquitto):
    publish(mosquitto, "infra/shared", b"1")
    assert retained(mosquitto, "infra/shared") == b"1"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_keeps_port_and_what_was_acknowledged(own_mosquitto, end):
    port = own_mosquitto.port
    publish(own_mosquitto, "infra/kept", b"42")
    # A second change makes sure the first was saved: it saves after each one.
    publish(own_mosquitto, "infra/later", b"0")
    getattr(own_mosquitto, end)()
    assert not own_mosquitto.running
    with pytest.raises(OSError):
        socket.create_connection((own_mosquitto.host, port), timeout=1)
    own_mosquitto.start()
    assert own_mosquitto.port == port
    assert retained(own_mosquitto, "infra/kept") == b"42"


def test_paused_broker_accepts_and_says_nothing(own_mosquitto):
    connect = bytes.fromhex("100d00044d5154540402003c000161")
    own_mosquitto.pause()
    with socket.create_connection((own_mosquitto.host, own_mosquitto.port)) as client:
        client.settimeout(0.3)
        client.sendall(connect)
        with pytest.raises(TimeoutError):
            client.recv(4)
        own_mosquitto.resume()
        client.settimeout(DEADLINE_S)
        assert client.recv(4) == b"\x20\x02\x00\x00"


def test_wrong_configuration_is_shown(own_mosquitto):
    with (
        pytest.raises(MosquittoError, match="no_such_option"),
        Mosquitto(extra=("no_such_option 1",)),
    ):
        pass
