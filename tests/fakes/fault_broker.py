"""An MQTT 3.1.1 broker for one node at a time, obedient but for the faults a test asks for."""

ACCEPTED = b"\x20\x02\0\0"


class Broker:
    """`packets`: (first byte, body) of each packet that came, over all connections.

    None for `connack`, `puback`, `suback`, `pingresp` means that no such answer comes.
    """

    def __init__(self):
        self.packets = []
        self.connections = 0
        self.sock = None
        self.connack = 0  # return code
        self.session_present = 0
        self.puback = True
        self.keep_back = ()  # packet ids that get no PUBACK
        self.suback = 1  # return code
        self.pingresp = True
        self.hang_up_on = None  # first byte of the packet upon which the broker closes
        self.prepare = None  # called with each new socket
        self._data = b""

    def accept(self, sock):
        self.sock = sock
        self.connections += 1
        self._data = b""
        if self.prepare is not None:
            self.prepare(sock)

    def receive(self, sock, data):
        self._data += data
        while True:
            packet = self._cut()
            if packet is None:
                return
            self.packets.append(packet)
            self._answer(sock, packet[0], packet[1])

    def _cut(self):
        data = self._data
        size = shift = 0
        at = 1
        while True:
            if at >= len(data):
                return None
            byte = data[at]
            size |= (byte & 127) << shift
            shift += 7
            at += 1
            if byte < 128:
                break
        if len(data) < at + size:
            return None
        self._data = data[at + size :]
        return data[0], data[at : at + size]

    def _answer(self, sock, op, body):
        kind = op & 0xF0
        if op == self.hang_up_on:
            sock.end()
        elif kind == 0x10 and self.connack is not None:
            sock.feed(bytes((0x20, 2, self.session_present, self.connack)))
            if self.connack:
                sock.end()
        elif kind == 0x30 and op & 6 == 2 and self.puback:
            pid = publish_id(body)
            if pid not in self.keep_back:
                self.acknowledge(pid)
        elif kind == 0x80 and self.suback is not None:
            sock.feed(b"\x90\x03" + body[:2] + bytes((self.suback,)))
        elif kind == 0xC0 and self.pingresp:
            sock.feed(b"\xd0\0")
        elif kind == 0xE0:
            sock.end()

    def acknowledge(self, pid):
        self.sock.feed(bytes((0x40, 2, pid >> 8, pid & 255)))

    def count(self, op):
        return sum(packet[0] == op for packet in self.packets)

    def kinds(self):
        """First bytes of what came, as text: easier to read in a failed assert."""
        return " ".join(["%02x" % packet[0] for packet in self.packets])


def publish_id(body):
    """Packet id in the body of a QoS 1 PUBLISH."""
    at = 2 + (body[0] << 8 | body[1])
    return body[at] << 8 | body[at + 1]


def message(topic, payload, qos=0, pid=0, retain=0, dup=0):
    """A PUBLISH as a broker sends it."""
    body = bytes((len(topic) >> 8, len(topic) & 255)) + topic
    if qos:
        body += bytes((pid >> 8, pid & 255))
    size = len(body) + len(payload)
    head = bytes((0x30 | dup << 3 | qos << 1 | retain,))
    while size > 127:
        head += bytes((size & 127 | 128,))
        size >>= 7
    return head + bytes((size,)) + body + payload
