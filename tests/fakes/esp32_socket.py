"""Sockets that behave as an ESP32's (lwIP under MicroPython), in virtual time.

What a socket of the unix port would forgive is fatal here: `setblocking(True)` cancels the
timeout, and a read that nothing will ever answer raises Hang, which no `except` may swallow.
Non-blocking connect says 119, a refused one 104 at the first write.
"""

import io

EINPROGRESS = 119
ECONNRESET = 104
ETIMEDOUT = 116
ENOTCONN = 128

SEND_BUFFER = 5744  # TCP_SND_BUF of the ESP32 images

_WRAP = 1 << 30
_POLL = 3
_RD = 1
_WR = 4
_HUP = 16
_FOR_EVER = -1
_WRITES_KEPT = 50


class Hang(BaseException):
    """The code under test waits for ever."""


class VirtualTime:
    """Stands in for `time`; starts shortly before the ticks wrap, as on day 12."""

    def __init__(self):
        self.passed = 0

    def ticks_ms(self):
        return (_WRAP - 5000 + self.passed) % _WRAP

    def ticks_diff(self, a, b):
        return ((a - b + _WRAP // 2) % _WRAP) - _WRAP // 2

    def sleep_ms(self, ms):
        self.passed += ms


class Net:
    """Stands in for `socket`: names resolve by `hosts`, and each address has its broker.

    `hosts`: name -> list of addresses; `brokers`: address -> broker, None where every packet is
    lost; an address without an entry refuses. A broker has `accept(sock)`, `receive(sock, data)`.
    """

    AF_INET = 2

    def __init__(self, time, brokers, hosts=None):
        self.time = time
        self.brokers = brokers
        self.hosts = hosts or {}
        self.sockets = []
        self.lookups = 0
        self.lookup_ms = 0  # what a look-up of a name takes
        self.threads = True  # False: there is no memory for one
        self._threads = []

    def start_new_thread(self, function, args):
        """As `_thread` has it: it ends `lookup_ms` later, see run_threads()."""
        if not self.threads:
            raise OSError("can't create thread")
        self._threads.append((self.time.passed + self.lookup_ms, function, args))
        self.run_threads()

    def run_threads(self):
        """Whoever moves the time calls this."""
        for thread in list(self._threads):
            if thread[0] <= self.time.passed:
                self._threads.remove(thread)
                thread[1](*thread[2])

    def getaddrinfo(self, host, port):
        self.lookups += 1
        found = self.hosts.get(host, [host] if host[0].isdigit() else [])
        if not found:
            raise OSError(-2)
        # A type of 0, as the ESP32 has it; IPv6 first, as Linux may.
        entries = [(10, 0, 0, host, ("::1", port))] if ":" in found[0] else []
        return entries + [(2, 0, 0, host, (a, port)) for a in found if ":" not in a]

    def socket(self, family=2, *rest):
        assert family == 2, "not an IPv4 socket"
        sock = Socket(self)
        self.sockets.append(sock)
        return sock


class Socket(io.IOBase):
    def __init__(self, net):
        self.net = net
        self.writes = []  # what each of the last write()s took
        self.taking = None  # bytes one write() takes; None: as many as there is room for
        self.giving = None  # bytes one read gives at most
        self.drains = True  # False: nothing is acknowledged, the send buffer fills up
        self.knows_nodelay = True
        self.nodelay = False
        self.open = True
        self._state = "new"
        self._timeout = _FOR_EVER
        self._broker = None
        self._unsent = 0
        self._refused = None  # bytes offered to the write() that took none
        self._error = 0
        self._incoming = []  # chunks, so that one fed many times takes its memory once
        self._ended = False

    # What the broker does

    def feed(self, data):
        """Bytes arrive."""
        if data:
            self._incoming.append(memoryview(data))

    def unread(self):
        return sum(len(chunk) for chunk in self._incoming)

    def end(self):
        """The other side closes; what it sent before can still be read."""
        self._ended = True

    def reset(self):
        self._incoming = []
        self._error = ECONNRESET

    # What the node does

    def setblocking(self, on):
        self._timeout = _FOR_EVER if on else 0

    def settimeout(self, seconds):
        self._timeout = _FOR_EVER if seconds is None else int(seconds * 1000)

    def setsockopt(self, level, option, value):
        if (level, option) == (6, 1):
            if not self.knows_nodelay:
                raise OSError(109)
            self.nodelay = bool(value)

    def connect(self, address):
        host = address[0]
        self._state = "connected"
        if host not in self.net.brokers:
            self._error = ECONNRESET
        else:
            self._broker = self.net.brokers[host]
            if self._broker is None:
                self._state = "connecting"
        if self._timeout == 0:
            if self._broker is not None:
                self._broker.accept(self)
            raise OSError(EINPROGRESS)
        if self._error:
            raise OSError(self._error)
        if self._broker is None:
            self._wait_in_vain()
        self._broker.accept(self)

    def _wait_in_vain(self):
        if self._timeout == _FOR_EVER:
            raise Hang("a socket without a timeout waits for what never comes")
        self.net.time.sleep_ms(self._timeout)
        raise OSError(ETIMEDOUT)

    def readinto(self, buf, size=None):
        assert self.open, "read from a closed socket"
        if self._state == "new":
            raise OSError(ENOTCONN)
        size = len(buf) if size is None else size
        if self.giving is not None:
            size = min(size, self.giving)
        n = 0
        view = memoryview(buf)
        while n < size and self._incoming:
            part = self._incoming[0][: size - n]
            view[n : n + len(part)] = part
            n += len(part)
            rest = self._incoming[0][len(part) :]
            if rest:
                self._incoming[0] = rest
            else:
                self._incoming.pop(0)
        if n:
            return n
        if self._error:
            raise OSError(self._error)
        if self._ended:
            return 0
        if self._timeout == 0:
            return None
        self._wait_in_vain()

    def read(self, size=1):
        """As the stream method does: until there are `size` bytes, or the end."""
        data = b""
        one = bytearray(1)
        while len(data) < size:
            n = self.readinto(one)
            if n is None:
                return data or None
            if n == 0:
                break
            data += one
        return data

    def write(self, data, *span):
        assert self.open, "write to a closed socket"
        if self._state == "new":
            raise OSError(ENOTCONN)
        if self._error:
            raise OSError(self._error)
        start = span[0] if len(span) == 2 else 0
        n = min(span[-1] if span else len(data), len(data) - start)
        if self._state == "connecting":
            n = 0
        if self.taking is not None:
            n = min(n, self.taking)
        if not self.drains:
            n = min(n, SEND_BUFFER - self._unsent)
            self._unsent += n
        offered = span[-1] if span else len(data)
        assert self._refused in (None, offered), "mbedTLS wants the same bytes after EAGAIN"
        self._refused = None
        if n == 0:
            if self._timeout == 0:
                self._refused = offered
                return None
            self._wait_in_vain()
        taken = bytes(memoryview(data)[start : start + n])
        if len(self.writes) == _WRITES_KEPT:
            self.writes.pop(0)
        self.writes.append(taken)
        if self.drains:
            self._broker.receive(self, taken)
        return n

    def close(self):
        self.open = False

    def ioctl(self, request, arg):
        if request != _POLL:
            return -22  # EINVAL: it has no file descriptor
        if self._state == "new":
            return arg & _WR | _HUP
        ready = 0
        if self._incoming or self._ended or self._error:
            ready |= _RD
        if self._state == "connected" and (self.drains and self.taking != 0 or self._error):
            ready |= _WR
        return ready & arg | (_HUP if self._error else 0)
