"""Host figures of `make bench`: readings per second through a `Fleet`, on record and not."""

import statistics
import tempfile
import time
from pathlib import Path

from mosquitto import Mosquitto
from paho.mqtt.client import MQTTMessage

from fieldhand import Fleet

NODES = 200
EACH = 100
ROUNDS = 5


def figures(broker: Mosquitto) -> dict[str, dict[str, float]]:
    """{"without_record": ..., "with_record": ...}: readings per second, broker and socket apart.

    They are handed over where paho hands them over, so that the host is measured and not paho.
    """
    messages = [_message(node, seq) for seq in range(1, EACH + 1) for node in range(NODES)]
    rates: dict[str, list[float]] = {"without_record": [], "with_record": []}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for number in range(ROUNDS):
            rates["without_record"].append(_rate(broker, messages, False))
            path = Path(folder, f"{number}.db")
            rates["with_record"].append(_rate(broker, messages, path))
    return {name: {"per_second": statistics.median(found)} for name, found in rates.items()}


def _rate(broker: Mosquitto, messages: list[MQTTMessage], received: Path | bool) -> float:
    at = ("127.0.0.1", broker.port)
    fleet = Fleet(broker=at, received=received)
    with fleet.readings() as readings:
        readings.limit = len(messages)
        began = time.perf_counter()
        for message in messages:
            fleet._on_message(message)
        fleet.close()  # which writes the rest
        seconds = time.perf_counter() - began
        arrived = sum(1 for _ in readings)
    if arrived != len(messages):
        raise RuntimeError(f"{arrived} of {len(messages)} readings arrived")
    return len(messages) / seconds


def _message(node: int, seq: int) -> MQTTMessage:
    message = MQTTMessage(topic=f"devices/n{node}/data".encode())
    message.payload = (
        '{"temperatureC": 24.3, "humidityPct": 56.0, "ts": 1767225600,'
        f' "_fh": {{"boot": "12-a1b2", "seq": {seq}, "ms": {seq * 30000}, "q": "synced"}}}}'
    ).encode()
    return message
