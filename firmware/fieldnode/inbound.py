"""Cuts what a broker sends into MQTT packets, out of a buffer of fixed size."""

from micropython import const

from .transport import OPEN, LinkError

CONNACK = const(0x20)
PUBLISH = const(0x30)
PUBACK = const(0x40)
SUBACK = const(0x90)
PINGRESP = const(0xD0)

READS_PER_STEP = const(4)  # a flooding broker may not starve the node's loop
ACK_ROOM = const(16)  # bytes free in the send queue before a message is taken: PUBACK, PINGREQ
_SIZES = {CONNACK: 2, PUBACK: 2, SUBACK: 3, PINGRESP: 0}  # all but PUBLISH have one size
_TOPIC_SLACK = const(9)  # what goes before and after the topic of a message


class Inbound:
    """`buf` holds the packet that `on_packet(op, at, size)` is called for, its body at `at`."""

    def __init__(self, size, on_packet, on_oversize):
        """`on_oversize(op, at, size)`: a PUBLISH larger than `size`, of which topic and id are
        there and the rest is thrown away. Either may raise, the stream stays in order."""
        self.buf = bytearray(size)
        self.view = memoryview(self.buf)
        self._on_packet = on_packet
        self._on_oversize = on_oversize
        self.reset()

    def reset(self):
        """Forget what was read, for a new connection."""
        self._at = self._n = 0
        self._skip = 0  # bytes still to come of a packet being thrown away

    def receive(self, transport):
        """Read what is there and hand on the packets that are whole; True when there was any.

        A PUBLISH stays until the transport's queue has room for its PUBACK. Raises LinkError
        for what no broker may send.
        """
        if self._n:
            self._parse(transport)
        for i in range(READS_PER_STEP):
            start = self._n
            if start == len(self.buf) or transport.state != OPEN:
                break
            n = transport.readinto(self.view[start:] if start else self.buf)
            self._n = start + n
            if not n:
                return i > 0
            full = self._n == len(self.buf)
            self._parse(transport)
            if not full:
                break
        return True

    def _parse(self, transport):
        buf = self.buf
        while self._n:
            if self._skip:
                n = min(self._skip, self._n - self._at)
                self._skip -= n
                self._at += n
            at = self._at
            have = self._n - at
            if have < 2:
                break
            op = buf[at]
            size = buf[at + 1]
            head = 2
            if size > 127:
                head, size = self._long_size(at + 1, have - 1)
                if not head:
                    break
            if op & 0xF0 != PUBLISH:
                if _SIZES.get(op) != size:
                    raise LinkError("broker sent 0x%02x with %d bytes: not MQTT" % (op, size))
            elif op & 6 > 2:
                raise LinkError("broker sent a message with a QoS that was not asked for")
            elif transport.room() < ACK_ROOM:
                break
            if head + size > len(buf):
                if not self._has_topic(at + head, have - head):
                    break
                self._at = at + head
                self._skip = size
                self._on_oversize(op, at + head, size)
            elif head + size > have:
                break
            else:
                self._at = at + head + size
                self._on_packet(op, at + head, size)
        self._compact()

    def _compact(self):
        at, have = self._at, self._n - self._at
        if at and have > 0:
            self.view[:have] = self.view[at : self._n]
        self._at = 0
        self._n = max(have, 0)

    def _long_size(self, at, have):
        size = 0
        for i in range(4):
            if i == have:
                return 0, 0
            byte = self.buf[at + i]
            size |= (byte & 127) << 7 * i
            if byte < 128:
                return i + 2, size
        raise LinkError("broker sent a malformed packet length")

    def _has_topic(self, at, have):
        if have < 2:
            return False
        size = self.word(at)
        if size + _TOPIC_SLACK > len(self.buf):
            raise LinkError("broker sent a topic of %d bytes" % size)
        return have >= 4 + size

    def word(self, at):
        """The 16-bit number at `at`."""
        return self.buf[at] << 8 | self.buf[at + 1]

    def topic(self, op, at, size):
        """Topic of the PUBLISH whose body is at `at`, and where its payload starts."""
        end = at + 2
        start = at + size + 1
        if size > 2:
            end += self.word(at)
            start = end + (op & 6)  # QoS 1 is 2 here: as many bytes as its packet id has
        if start > at + size:
            raise LinkError("broker sent a message shorter than its topic")
        try:
            return str(self.view[at + 2 : end], "utf-8"), start
        except UnicodeError:
            raise LinkError("broker sent a topic that is not UTF-8")
