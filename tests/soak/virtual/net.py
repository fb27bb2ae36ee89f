"""The way to the broker: Wi-Fi, names, TCP, as an ESP32's lwIP shows them to the node."""

EINPROGRESS = 119
ECONNRESET = 104
SEND_BUFFER = 5744  # TCP_SND_BUF of the ESP32 images
DNS_MS = 20
DNS_FAILS_MS = 5000  # how long lwIP looks for a name in vain

POLLIN = 1
POLLOUT = 4
POLLHUP = 16

IDLE = 1000
CONNECTING = 1001
GOT_IP = 1010
_JOIN_MS = 2500
_GIVES_UP_MS = 6000


class Air:
    """What can be wrong on the way, one switch each."""

    def __init__(self):
        self.access_point = True
        self.password = True
        self.zombie = False  # the chip believes itself connected, and nothing passes
        self.dns = True
        self.ntp = True
        self.ntp_error = 0  # seconds the time server is wrong
        self.listening = True  # the broker's port
        self.lost = False  # all packets are
        self.latency = 40  # ms there and back
        self.fragments = 0  # bytes at most in what one read gives; 0: no limit


class Wlan:
    """network.WLAN: slow, and stale in what it says."""

    def __init__(self, world, air):
        self._world = world
        self._air = air
        self._active = False
        self._asked = None
        self._reason = IDLE
        self._up = False

    def active(self, on=None):
        if on is not None:
            self._active = bool(on)
            if not on:
                self._asked = None
                self._up = False
                self._air.zombie = False  # it takes a radio restart to get out of it
        return self._active

    def config(self, *args, **settings):
        assert self._active, "config() before active(True)"

    def disconnect(self):
        if not self._active:
            raise OSError("Wifi Not Started")
        self._asked = None
        self._up = False

    def connect(self, ssid, password):
        if self._asked is not None:
            raise OSError("Wifi Internal Error")
        self._asked = self._world.now

    def _look(self):
        air = self._air
        if self._up:
            if not air.access_point:
                self._up = False
                self._asked = None
                self._reason = 200
        elif self._asked is not None:
            passed = self._world.now - self._asked
            if air.access_point and air.password:
                if passed >= _JOIN_MS:
                    self._up = True
            elif passed >= _GIVES_UP_MS:
                self._asked = None
                self._reason = 202 if air.access_point else 201

    def isconnected(self):
        self._look()
        return self._up

    def status(self, what=None):
        self._look()
        if what == "rssi":
            return -60
        if self._up:
            return GOT_IP
        if self._reason != IDLE:
            return self._reason
        return IDLE if self._asked is None else CONNECTING

    def ifconfig(self):
        return ("10.0.0.7", "255.255.255.0", "10.0.0.1", "10.0.0.1")


class Net:
    """Stands in for `socket`."""

    AF_INET = 2
    SOCK_STREAM = 1

    def __init__(self, world, air, broker):
        self.world = world
        self.air = air
        self.broker = broker
        self.wlan = None  # of this boot
        self.sock = None  # the last one opened

    def passes(self):
        """Whether a packet gets through."""
        air = self.air
        return not air.lost and not air.zombie and self.wlan.isconnected()

    def start_new_thread(self, call, args):
        """A look-up, which has a thread of its own."""
        ms = DNS_MS if self._resolves() else DNS_FAILS_MS
        self.world.after(ms, self._thread, (self.world.boots, call, args))

    def _thread(self, what):
        boot, call, args = what
        if self.world.powered and boot == self.world.boots:
            call(*args)

    def _resolves(self):
        return self.air.dns and self.passes()

    def getaddrinfo(self, host, port, *rest):
        if not self._resolves():
            raise OSError(-2)
        return [(2, 1, 0, host, ("10.0.0.2", port))]

    def socket(self, *rest):
        self.sock = Socket(self)
        return self.sock


class Socket:
    def __init__(self, net):
        self.net = net
        self.dead = False  # packets no longer pass, for good: half open
        self._state = "new"
        self._link = None  # the broker's end
        self._error = 0
        self._ended = False
        self._unsent = 0
        self._chunks = []  # [bytes, read up to, call when all is read, its argument]

    # The far side

    def feed(self, data, call=None, arg=None):
        """Bytes arrive; `call(arg)` when the node has read the last of them."""
        if self._reachable() and self._state == "connected":
            self._chunks.append([data, 0, call, arg])

    def _reachable(self):
        # What is lost while nothing passes is lost for good: TCP would mend some of it.
        self.dead = self.dead or not self.net.passes()
        return not self.dead

    def end(self, _=None):
        """The far side closes."""
        if self._reachable():
            self._ended = True

    def reset(self, _=None):
        if self._reachable():
            self._chunks = []
            self._error = ECONNRESET

    # The node

    def setblocking(self, on):
        assert not on, "a blocking socket hangs for ever on a half-open link"

    def settimeout(self, seconds):
        assert seconds == 0, "a timeout is cancelled by setblocking"

    def setsockopt(self, level, option, value):
        pass

    def connect(self, address):
        self._state = "connecting"
        net = self.net
        if net.passes():
            net.world.after(net.air.latency, self._established)
        raise OSError(EINPROGRESS)

    def _established(self, _):
        if self._state != "connecting" or not self.net.passes():
            return
        self._state = "connected"
        if self.net.air.listening:
            self._link = self.net.broker.accept(self)
        else:
            self._error = ECONNRESET

    def readinto(self, buf, size=None):
        size = len(buf) if size is None else min(size, len(buf))
        if self.net.air.fragments:
            size = min(size, self.net.air.fragments)
        n = 0
        while n < size and self._chunks:
            chunk = self._chunks[0]
            at = chunk[1]
            part = chunk[0][at : at + size - n]
            buf[n : n + len(part)] = part
            n += len(part)
            chunk[1] = at + len(part)
            if chunk[1] == len(chunk[0]):
                self._chunks.pop(0)
                if chunk[2] is not None:
                    chunk[2](chunk[3])
        if n:
            return n
        if self._error:
            raise OSError(self._error)
        return 0 if self._ended else None

    def write(self, data, *span):
        if self._error:
            raise OSError(self._error)
        start = span[0] if len(span) == 2 else 0
        n = min(span[-1] if span else len(data), len(data) - start)
        if self._state != "connected":
            return None
        if not self._reachable():
            n = min(n, SEND_BUFFER - self._unsent)
            self._unsent += n
            return n or None
        torn = self.net.broker.tear
        if torn:  # the link dies in the middle of what is written here
            self.net.broker.tear = 0
            self._link.receive(bytes(memoryview(data)[start : start + min(n, torn)]))
            self.dead = True
            return n
        self._link.receive(bytes(memoryview(data)[start : start + n]))
        return n

    def close(self):
        if self._link is not None:
            link, self._link = self._link, None
            if not self.dead and self.net.passes():
                link.gone()
            # else half open: the broker finds out by the keepalive
        self._state = "closed"
        self._chunks = []

    def ready(self):
        """Poll flags."""
        ready = 0
        if self._chunks or self._ended or self._error:
            ready = POLLIN
        if self._error:
            ready |= POLLHUP | POLLOUT
        elif self._state == "connected" and self._unsent < SEND_BUFFER:
            ready |= POLLOUT
        return ready


class Poll:
    """select.poll for the one socket of a node."""

    def __init__(self, world):
        self._world = world
        self._sock = None
        self._want = 0

    def register(self, sock, want=POLLIN | POLLOUT):
        self._sock = sock
        self._want = want

    def modify(self, sock, want):
        self._want = want

    def unregister(self, sock):
        self._sock = None

    def _flags(self):
        return self._sock.ready() & (self._want | POLLHUP)

    def poll(self, ms=-1):
        assert ms >= 0, "a poll without end"
        flags = self._flags()
        if not flags and ms:
            self._world.run_to(self._world.now + ms, self._flags)
            flags = self._flags()
        return [(self._sock, flags)] if flags else []

    def ipoll(self, ms=-1, flags=0):
        return self.poll(ms)
