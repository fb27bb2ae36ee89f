"""Whether a broker shares a subscription ($share/<group>/...) among its subscribers.

Some brokers grant one and deliver nothing, so it is tried: a message is published to a topic that
only a shared subscription covers, and must come.
"""

from __future__ import annotations

import secrets
import time

from fieldhand.connection import BrokerAddress
from fieldhand.errors import BrokerUnavailable, FieldhandError
from fieldhand.service.ingest.link import Link

WAIT_S = 3.0
TOPIC = "fieldhand/self-test"


class NotShared(FieldhandError):
    """The broker does not share subscriptions; `reason` says how it showed."""

    def __init__(self, address: BrokerAddress, reason: str) -> None:
        super().__init__(
            f"broker {address.host}:{address.port} {reason}: several workers cannot share its"
            " messages; run one (--workers 1)"
        )
        self.reason = reason


def check(address: BrokerAddress, group: str) -> None:
    """Raises NotShared, or BrokerUnavailable when the broker cannot be asked."""
    word = secrets.token_hex(6)
    topic = f"{TOPIC}/{word}"
    link = Link(address, f"fieldhand-test-{word}", {f"$share/{group}/{topic}": 1}, 1000, keep=False)
    try:
        try:
            link.connect()
        except BrokerUnavailable as error:
            if "subscriptions" in error.reason:
                raise NotShared(address, "refuses shared subscriptions ($share)") from error
            raise
        link.publish(topic, word.encode())
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for message in link.read(10, 0.1):
                if message.topic == topic and message.payload == word.encode():
                    return
        raise NotShared(address, "grants shared subscriptions ($share) and delivers nothing")
    finally:
        link.close(politely=True)
