"""An MQTT 3.1.1 session that never blocks: umqtt.simple made fit for the field.

umqtt's calls wait on the socket, on an ESP32 for ever. Here connect(), publish() and
subscribe() only start things, step() moves them on, and every wait has a deadline. Buffers are
made once, in the constructor.
"""

import socket
import time

from micropython import const

from . import packets
from .inbound import Inbound
from .receiver import Receiver
from .transport import CLOSED, OPEN, LinkError, Transport

# Deadlines, ms.
CONNACK_MS = const(10000)
SUBACK_MS = const(10000)
PUBACK_MS = const(20000)  # without any PUBACK while some are awaited
PINGRESP_MS = const(10000)
DISCONNECT_MS = const(2000)

DEFAULT_KEEPALIVE_S = const(60)  # how a dead link is noticed when keepalive is 0
RESERVE = const(64)  # bytes of tx_bytes left to PUBACK, PINGREQ and DISCONNECT
SLICE_MS = const(20)


class Session(Receiver):
    """One broker connection at a time; connect() again after a LinkError.

    Call step() in a loop, wait() in between. The callback (set_callback) gets `topic` (str),
    `payload` (bytes), `retained`, `dup`; `on_ack(pid)` follows each PUBACK;
    `on_oversize(topic, size)` each message that `rx_bytes` cannot hold. They may publish.
    """

    window = 16  # QoS 1 publishes awaiting their PUBACK
    tx_bytes = 2048  # queued for the socket; the largest packet is RESERVE less
    rx_bytes = 2048  # the largest incoming packet

    def __init__(
        self,
        client_id,
        server,
        port=0,
        user=None,
        password=None,
        keepalive=60,
        ssl=None,
        clock=time,
        net=socket,
    ):
        """`ssl`: an SSLContext or None. `clock` and `net` stand in for `time` and `socket`."""
        super().__init__(client_id, server, port, user, password, keepalive, ssl)
        self.subscribing = 0  # id of the SUBSCRIBE awaiting its SUBACK
        self.session_present = False
        self.on_ack = None
        self.on_oversize = None
        self._clock = clock
        self._wire = Transport(self.tx_bytes, clock, net)
        self._inbound = Inbound(self.rx_bytes, self._packet, self._oversize)
        self._flight = [0] * self.window
        self._ping_ms = 0
        self.close()

    def connect(self, clean_session=True):
        """Start connecting; step() goes on until `up`.

        Raises ValueError when will and names exceed tx_bytes.
        """
        self.close()
        flags, fields = packets.connect_fields(self)
        size = 10 + sum(2 + len(data) for data in fields)
        self._check_size(size)
        self._ping_ms = (self.keepalive or DEFAULT_KEEPALIVE_S) * 500
        self._wire.open(self.server, self.port, self.ssl or None)
        flags |= 2 if clean_session else 0
        packets.connect(self._wire.queue, size, flags, self.keepalive, fields)

    def _check_size(self, size):
        if size + 5 > self.tx_bytes - RESERVE:
            raise ValueError(
                "packet of %d bytes: the limit is %d" % (size + 5, self.tx_bytes - RESERVE)
            )

    def _next_pid(self):
        pid = self.pid % 65535 + 1
        while pid in self._flight:
            pid = pid % 65535 + 1
        self.pid = pid
        return pid

    def publish(self, topic, msg, retain=False, qos=0, pid=0):
        """Queue and send one message of QoS 0 or 1; bytes arguments spare an allocation.

        Returns its packet id (0 for QoS 0), or None when not up, the window is full or there is
        no room: keep the message and try later. `pid` sends one again, marked as duplicate.
        Raises ValueError for what is too large to be sent ever.
        """
        if not self.up or (qos and self.inflight == self.window):
            return None
        if isinstance(topic, str):
            topic = topic.encode()
        if isinstance(msg, str):
            msg = msg.encode()
        op = 0x30 | bool(retain)
        size = 2 + len(topic) + len(msg)
        if qos:
            op |= 10 if pid else 2
            size += 2
        self._check_size(size)
        wire = self._wire
        if wire.room() < size + 5 + RESERVE:
            return None
        if qos:
            pid = pid or self._next_pid()
            if not self.inflight:
                self._acked = self._clock.ticks_ms()
            self._flight[self._flight.index(0)] = pid
            self.inflight += 1
        else:
            pid = 0
        packets.publish(wire.queue, op, size, topic, pid, msg)
        wire.flush()
        return pid

    def subscribe(self, topic, qos=0):
        """Ask for `topic`; returns False when not up or while `subscribing`: try later.

        step() clears `subscribing`, or raises LinkError naming the topic when refused.
        """
        self._asked = topic
        topic = packets.raw(topic)
        self._check_size(5 + len(topic))
        if not self.up or self.subscribing or self._wire.room() < len(topic) + 10 + RESERVE:
            return False
        self.subscribing = self._next_pid()
        self._since = self._clock.ticks_ms()
        packets.subscribe(self._wire.queue, self.subscribing, topic, qos)
        self._wire.flush()
        return True

    def ping(self):
        """Send a PINGREQ; step() raises LinkError when no answer comes."""
        if self.up and self._pinged < 0:
            self._pinged = self._clock.ticks_ms()
            packets.head(self._wire.queue, 0xC0, 0)
            self._wire.flush()

    def step(self):
        """Move on by a slice; returns the ms until a deadline needs it again, 0 after news.

        Raises LinkError when the connection failed or a deadline passed; it is closed then.
        """
        wire = self._wire
        try:
            news = False
            if wire.fault is None and wire.state != CLOSED:
                if wire.state == OPEN:
                    wire.flush()
                    news = self._inbound.receive(wire)
                else:
                    wire.advance()
                    if wire.state == OPEN:
                        wire.phase = "MQTT connect"
                        self._since = self._heard = self._clock.ticks_ms()
            if wire.fault is not None:
                raise wire.fault
            left = self._deadline()
            return 0 if news else left
        except LinkError:
            self.close()
            raise

    def _deadline(self):
        wire = self._wire
        left = wire.deadline()
        if wire.state != OPEN:
            return left
        if not self.up:
            return min(left, wire.left(self._since, CONNACK_MS, "CONNACK"))
        if self._pinged >= 0:
            left = min(left, wire.left(self._pinged, PINGRESP_MS, "PINGRESP"))
        else:
            now = self._clock.ticks_ms()
            quiet = max(
                self._clock.ticks_diff(now, self._heard), self._clock.ticks_diff(now, wire.sent)
            )
            if quiet >= self._ping_ms:
                self.ping()
            else:
                left = min(left, self._ping_ms - quiet)
        if self.inflight:
            left = min(left, wire.left(self._acked, PUBACK_MS, "PUBACK"))
        if self.subscribing:
            left = min(left, wire.left(self._since, SUBACK_MS, "SUBACK"))
        return left

    def wait(self, ms):
        """Sleep until the broker sends, the socket takes what is queued, or `ms` passed."""
        self._wire.wait(ms)

    def disconnect(self):
        """Send what is queued and DISCONNECT, then close: no will.

        Waits for the broker to close first (it then has everything), DISCONNECT_MS at most.
        """
        wire = self._wire
        if self.up:
            packets.head(wire.queue, 0xE0, 0)
            for _ in range(DISCONNECT_MS // SLICE_MS):
                wire.flush()
                wire.readinto(self._inbound.buf)
                if wire.fault is not None:
                    break
                wire.wait(SLICE_MS)
        self.close()

    def close(self):
        """Drop the connection without a word: the broker publishes the will."""
        self._wire.close()
        self._inbound.reset()
        self.up = False
        self._pinged = -1  # ticks of the PINGREQ awaiting its PINGRESP, or -1
        self.inflight = self.subscribing = 0
        for i in range(self.window):
            self._flight[i] = 0

    def wait_msg(self):
        raise NotImplementedError("umqtt's blocking calls: use step()")

    check_msg = unsubscribe = wait_msg
