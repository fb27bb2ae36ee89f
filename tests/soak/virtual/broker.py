"""A strict MQTT 3.1.1 broker for one node: what a node may not send is a finding."""

from binascii import crc32


class Broker:
    """`observer` hears what happens: `found(text)`, `on_publish(topic, payload, retain, dup)`,
    which returns what to call with the node's having read the PUBACK, and `on_will()`."""

    def __init__(self, world, air, observer, client_id):
        self.world = world
        self.air = air
        self.observer = observer
        self.client_id = client_id
        self.up = True
        self.connack = 0
        self.answers_connect = True
        self.answers_publish = True
        self.answers_ping = True
        self.tear = 0  # bytes of the next write that still arrive before the link dies
        self.digest = 0
        self.received = 0
        self.link = None
        self.retained = {}
        self.session = None
        self._pid = 0
        self._stops = 0

    def accept(self, sock):
        return Link(self, sock)

    def take_over(self, link):
        if self.link is not None and self.link is not link:
            self.link.drop(True)
        self.link = link

    def stop(self, keep_sessions):
        """Killed: connections break, and so do what it had of sessions."""
        if self.link is not None:
            self.link.drop(True)
        if not keep_sessions:
            self.session = None
            self.retained = {}
        self._stops += 1
        self.air.listening = False

    def start(self):
        """Undo one `stop`."""
        self._stops -= 1
        self.air.listening = self._stops <= 0

    def publish(self, message):
        """A command on its way to the node. `message` is a `traffic.Sent`."""
        if message.retain:
            self.retained[message.topic] = message
        link = self.link
        if link is not None and message.topic in link.topics:
            link.deliver(message)
        elif self.session is not None and self.session.persistent:
            if message.topic in self.session.topics and len(self.session.queue) < 100:
                self.session.queue.append(message)

    def next_pid(self):
        self._pid = self._pid % 65535 + 1
        return self._pid


class Session:
    def __init__(self, persistent):
        self.persistent = persistent
        self.topics = {}
        self.unacked = {}  # packet id -> message, to the node
        self.queue = []


class Link:
    """One TCP connection, the broker's side."""

    def __init__(self, broker, sock):
        self.broker = broker
        self.sock = sock
        self.session = None
        self.topics = {}
        self.flight = {}  # packet id of the node -> payload, until its PUBACK is on its way
        self._data = b""
        self._heard = broker.world.now
        self._limit = 10000  # ms until CONNECT
        self._will = None
        self._open = True
        broker.world.after(self._limit, self._check)

    # TCP

    def _check(self, _):
        if not self._open:
            return
        left = self._heard + self._limit - self.broker.world.now
        if left <= 0:
            self.drop(True)
        else:
            self.broker.world.after(left, self._check)

    def gone(self):
        """The node's side closed."""
        self.drop(True)

    def drop(self, will):
        if not self._open:
            return
        self._open = False
        broker = self.broker
        broker.world.after(broker.air.latency // 2, self.sock.end)
        if will and self._will is not None:
            broker.observer.on_will(self._will)
        if broker.link is self:
            broker.link = None

    def send(self, data, call=None, arg=None):
        self.broker.world.after(self.broker.air.latency, self._arrive, (data, call, arg))

    def _arrive(self, what):
        if self._open:
            self.sock.feed(what[0], what[1], what[2])

    # MQTT

    def receive(self, data):
        if not self._open:
            return
        broker = self.broker
        broker.digest = crc32(data, broker.digest) ^ (broker.world.now & 0xFFFF)
        self._heard = broker.world.now
        data = self._data + data if self._data else data
        at = 0
        while self._open:
            have = len(data) - at
            if have < 2:
                break
            size = shift = 0
            n = 1
            while n < have:
                byte = data[at + n]
                size |= (byte & 127) << shift
                shift += 7
                n += 1
                if byte < 128:
                    break
            else:
                break
            if have < n + size:
                break
            op = data[at]
            body = data[at + n : at + n + size]
            at += n + size
            self._packet(op, body)
        self._data = data[at:]

    def _packet(self, op, body):
        broker = self.broker
        broker.received += 1
        if self.session is None:
            if op != 0x10:
                return self._fault("0x%02x before CONNECT" % op)
            return self._connect(body)
        kind = op & 0xF0
        if kind == 0x30:
            self._publish(op, body)
        elif op == 0x40 and len(body) == 2:
            pid = body[0] << 8 | body[1]
            message = self.session.unacked.pop(pid, None)
            if message is None:
                return self._fault("PUBACK %d for no message" % pid)
            broker.observer.on_command_acked(message)
        elif op == 0x82:
            self._subscribe(body)
        elif op == 0xC0 and not body:
            if broker.answers_ping:
                self.send(b"\xd0\0")
        elif op == 0xE0 and not body:
            self._will = None
            self.drop(False)
        else:
            self._fault("0x%02x with %d bytes" % (op, len(body)))

    def _fault(self, text):
        self.broker.observer.found("protocol: " + text)
        self.drop(True)

    def _connect(self, body):
        broker = self.broker
        if body[:7] != b"\0\4MQTT\4":
            return self._fault("CONNECT does not begin with MQTT 4")
        flags = body[7]
        if flags & 1:
            return self._fault("reserved flag of CONNECT")
        keepalive = body[8] << 8 | body[9]
        fields = []
        at = 10
        while at < len(body):
            n = body[at] << 8 | body[at + 1]
            fields.append(body[at + 2 : at + 2 + n])
            at += 2 + n
        wanted = 1 + (2 if flags & 4 else 0) + (flags >> 7) + (flags >> 6 & 1)
        if at != len(body) or len(fields) != wanted:
            return self._fault("CONNECT has %d fields, its flags say %d" % (len(fields), wanted))
        if fields[0].decode() != broker.client_id:
            return self._fault("client id %r" % fields[0])
        if flags & 4:
            self._will = (fields[1].decode(), fields[2])
        self._limit = keepalive * 1500
        if not broker.answers_connect:
            return
        if broker.connack:
            self.send(bytes((0x20, 2, 0, broker.connack)))
            self._will = None
            return self.drop(False)
        broker.take_over(self)
        persistent = not flags & 2
        old = broker.session
        present = persistent and old is not None and old.persistent
        self.session = broker.session = old if present else Session(persistent)
        self.topics = self.session.topics
        self.send(bytes((0x20, 2, int(present), 0)))
        if present:
            for pid in sorted(self.session.unacked):
                self._send_message(self.session.unacked[pid], pid, 1)
            queue, self.session.queue = self.session.queue, []
            for message in queue:
                self.deliver(message)

    def _publish(self, op, body):
        broker = self.broker
        if op & 6 != 2:
            return self._fault("PUBLISH with flags 0x%02x" % op)
        n = body[0] << 8 | body[1]
        topic = body[2 : 2 + n].decode()
        pid = body[2 + n] << 8 | body[3 + n]
        payload = body[4 + n :]
        dup = bool(op & 8)
        if not pid:
            return self._fault("packet id 0")
        if pid in self.flight:
            if not dup or self.flight[pid] != payload:
                return self._fault("packet id %d is in flight" % pid)
        if not topic or "#" in topic or "+" in topic:
            return self._fault("topic %r" % topic)
        self.flight[pid] = payload
        if len(self.flight) > 64:
            return self._fault("%d publishes in flight" % len(self.flight))
        call = broker.observer.on_publish(topic, payload, bool(op & 1), dup)
        if broker.answers_publish:
            data = bytes((0x40, 2, pid >> 8, pid & 255))
            broker.world.after(broker.air.latency, self._acknowledge, (pid, data, call))

    def _acknowledge(self, what):
        if self._open:
            self.flight.pop(what[0], None)
            self.sock.feed(what[1], what[2])

    def _subscribe(self, body):
        pid = body[0] << 8 | body[1]
        n = body[2] << 8 | body[3]
        if not pid or len(body) != 5 + n or body[4 + n] > 1:
            return self._fault("SUBSCRIBE of %d bytes" % len(body))
        topic = body[4 : 4 + n].decode()
        self.session.topics[topic] = body[4 + n]
        self.send(bytes((0x90, 3, pid >> 8, pid & 255, body[4 + n])))
        message = self.broker.retained.get(topic)
        if message is not None:
            self.deliver(message, 1)

    def deliver(self, message, retained=0):
        pid = self.broker.next_pid()
        self.session.unacked[pid] = message
        self._send_message(message, pid, 0, retained)

    def _send_message(self, message, pid, dup, retained=0):
        data = publish(message.topic.encode(), message.payload, pid, retained, dup)
        self.send(data, self.broker.observer.on_command_read, (message, bool(retained), bool(dup)))


def publish(topic, payload, pid, retained=0, dup=0):
    """A QoS 1 PUBLISH as a broker sends it."""
    size = 4 + len(topic) + len(payload)
    head = bytes((0x32 | dup << 3 | retained,))
    while size > 127:
        head += bytes((size & 127 | 128,))
        size >>= 7
    head += bytes((size, len(topic) >> 8, len(topic) & 255))
    return head + topic + bytes((pid >> 8, pid & 255)) + payload
