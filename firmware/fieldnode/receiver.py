"""What a session makes of the packets its broker sends.

Apart from session.py because an ESP32 compiles a module as a whole, in little memory.
"""

from umqtt.simple import MQTTClient

from . import packets
from .inbound import CONNACK, PINGRESP, PUBACK, SUBACK
from .transport import LinkError

_REFUSALS = (
    "it does not speak MQTT 3.1.1",
    "client id rejected",
    "server unavailable",
    "bad user name or password",
    "not authorised",
)


class Receiver(MQTTClient):
    """The receiving half of Session, which has the attributes and their meaning."""

    def _packet(self, op, at, size):
        inbound = self._inbound
        self._heard = self._clock.ticks_ms()
        if self.up == (op == CONNACK):
            raise LinkError("broker sent 0x%02x out of order" % op)
        if op == PUBACK:
            pid = inbound.word(at)
            if pid in self._flight:
                self._flight[self._flight.index(pid)] = 0
                self.inflight -= 1
                self._acked = self._heard
                if self.on_ack is not None:
                    self.on_ack(pid)
        elif op == PINGRESP:
            self._pinged = -1
        elif op == SUBACK:
            if self.subscribing == inbound.word(at):
                self.subscribing = 0
                if inbound.buf[at + 2] > 2:
                    raise LinkError("broker refused the subscription to %s" % self._asked)
        elif op == CONNACK:
            code = inbound.buf[at + 1]
            if code:
                why = _REFUSALS[code - 1] if code <= 5 else "for a reason it alone knows"
                raise LinkError("broker refused the connection: %s (%d)" % (why, code), code=code)
            self.session_present = bool(inbound.buf[at] & 1)
            self._wire.phase = "connection"
            self.up = True
        else:
            topic, start = inbound.topic(op, at, size)
            payload = bytes(inbound.view[start : at + size])
            self._confirm(op, start)
            if self.cb is not None:
                self.cb(topic, payload, bool(op & 1), bool(op & 8))

    def _confirm(self, op, start):
        # Before the callback: what restarts the node may not be delivered again.
        if op & 6:
            packets.head(self._wire.queue, 0x40, 2)
            self._wire.queue.write(self._inbound.view[start - 2 : start])
            self._wire.flush()

    def _oversize(self, op, at, size):
        # Confirmed although thrown away: it would come back for ever.
        if not self.up:
            raise LinkError("broker sent 0x%02x out of order" % op)
        topic, start = self._inbound.topic(op, at, size)
        self._confirm(op, start)
        if self.on_oversize is not None:
            self.on_oversize(topic, size - (start - at))
