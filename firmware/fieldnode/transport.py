"""One non-blocking TCP or TLS connection with a send queue that takes no memory while in use.

Every phase has a deadline, because the ESP32's blocking socket calls have none worth the name:
setblocking(True) cancels a timeout there, and TLS sockets know no timeout at all.
"""

import errno
import select
import socket
import time

from micropython import RingIO, const

from .lookup import Lookup

# Deadlines, ms.
DNS_MS = const(20000)
TCP_MS = const(10000)
TLS_MS = const(20000)
WRITE_MS = const(10000)  # without the socket taking a byte

TLS_POLL_MS = const(20)  # the handshake may want either direction: look again this often
DNS_POLL_MS = const(50)  # a name that is found wakes nobody
OUT_SIZE = const(512)  # bytes given to the socket at once

CLOSED = const(0)
DNS = const(1)
TCP = const(2)
TLS = const(3)
OPEN = const(4)

_IN_PROGRESS = (115, 119)  # EINPROGRESS of Linux and of lwIP


class LinkError(Exception):
    """The link failed; the text says how, for a person.

    `silent`: a deadline passed without a sign of life, as on a dead radio link.
    `code`: the CONNACK return code when the broker refused, else 0.
    """

    def __init__(self, text, silent=False, code=0):
        super().__init__(text)
        self.silent = silent
        self.code = code


def _why(exc):
    code = exc.args[0] if exc.args else ""
    # mbedTLS puts each of its sentences on a line.
    return errno.errorcode.get(code) or " ".join(str(exc).split()) or type(exc).__name__


class Transport:
    """`phase` names what a failure interrupts; `queue` takes bytes, flush() sends them."""

    def __init__(self, size, clock=time, net=socket):
        """`size`: bytes the queue holds. `clock` and `net` stand in for `time` and `socket`."""
        self.size = size
        self.clock = clock
        self.state = CLOSED
        self.phase = ""
        self.sent = 0  # ticks when the socket last took bytes
        self.queue = RingIO(size)
        self._out = bytearray(OUT_SIZE)  # what the socket is being given, out of the queue
        self._net = net
        self._lookup = Lookup(net)
        self._sock = None
        self.close()

    def close(self):
        """Drop the connection and what is queued."""
        sock, self._sock, self._poll = self._sock, None, None
        self.state = CLOSED
        self.fault = None  # the LinkError that ended the connection, for who steps it to raise
        self._stalled = -1  # ticks since when the socket takes nothing, or -1
        self._want = self._out_at = self._out_n = 0
        while self.queue.any():
            self.queue.readinto(self._out)
        if sock is not None:
            try:
                sock.close()
            except OSError:
                pass  # it is gone either way

    def open(self, host, port, ssl=None):
        """Start connecting; advance() goes on until `state` is OPEN.

        `ssl` is an SSLContext or None. The name is looked up each time. A failure is left in
        `fault`.
        """
        self._host, self._port, self._ssl = host, port, ssl
        self.phase = "DNS"
        self.state = DNS
        self._since = self.sent = self.clock.ticks_ms()
        self._lookup.begin()
        self._resolve()

    def _resolve(self):
        try:
            found = self._lookup.step(self._host, self._port)
        except OSError as exc:
            self.fault = LinkError("DNS: no address for %s (%s)" % (self._host, _why(exc)), True)
            return
        if found is None:
            return
        info = found[0]
        for entry in found:
            if entry[0] == socket.AF_INET:
                info = entry
                break
        self.phase = "TCP connect"
        self.state = TCP
        self._since = self.sent = self.clock.ticks_ms()
        try:
            self._sock = self._net.socket(info[0])
            self._sock.setblocking(False)
            self._register(select.POLLIN | select.POLLOUT)
            try:
                self._sock.setsockopt(6, 1, 1)  # TCP_NODELAY
            except OSError:
                pass  # slower, not wrong
            self._sock.connect(info[-1])
        except OSError as exc:
            if exc.errno not in _IN_PROGRESS:
                self._fail(exc)

    def _register(self, want):
        self._want = want
        self._poll = select.poll()
        self._poll.register(self._sock, want)

    def advance(self):
        """Take look-up, connect and TLS handshake one slice on; something must be queued."""
        if self.state == DNS:
            self._resolve()
            return
        if self.state == TCP:
            if not self._poll.poll(0):
                return
            if self._ssl:
                self.state = TLS
                self.phase = "TLS handshake"
                self._since = self.clock.ticks_ms()
                try:
                    self._sock = self._ssl.wrap_socket(
                        self._sock, server_hostname=self._host, do_handshake_on_connect=False
                    )
                    self._register(select.POLLIN)
                except (OSError, ValueError, MemoryError) as exc:
                    self._fail(exc)
                    return
        # The first write shows whether TCP connected, and drives the handshake.
        self.flush()
        if self.fault is None and not self.queued():
            self.state = OPEN

    def queued(self):
        """Whether bytes wait for the socket."""
        return self._out_at < self._out_n or self.queue.any() > 0

    def room(self):
        """Bytes the queue still takes."""
        return self.size - self.queue.any()

    def flush(self):
        """Give the socket what it takes. Never raises: see `fault`."""
        try:
            while True:
                if self._out_at == self._out_n:
                    self._out_at = self._out_n = 0
                    if not self.queue.any():
                        return
                    self._out_n = self.queue.readinto(self._out)
                # After EAGAIN a TLS socket wants the very same bytes again, not more.
                n = self._sock.write(self._out, self._out_at, self._out_n - self._out_at)
                if not n:
                    if self._stalled < 0:
                        self._stalled = self.clock.ticks_ms()
                    return
                self._out_at += n
                self._stalled = -1
                self.sent = self.clock.ticks_ms()
        except (OSError, ValueError) as exc:
            self._fail(exc)

    def readinto(self, buf):
        """Bytes read into `buf`, 0 when none are there. At the end sets `fault`, returns 0."""
        try:
            n = self._sock.readinto(buf)
        except (OSError, ValueError) as exc:
            self._fail(exc)
            return 0
        if n == 0:
            self._fail(None)
        return n or 0

    def _fail(self, exc):
        if self.fault is None:
            why = "closed by the other side" if exc is None else _why(exc)
            self.fault = LinkError("%s %s:%d: %s" % (self.phase, self._host, self._port, why))

    def left(self, since, limit, what):
        """Ms left of `limit` since the ticks `since`; raises LinkError when passed."""
        left = limit - self.clock.ticks_diff(self.clock.ticks_ms(), since)
        if left <= 0:
            raise LinkError(
                "%s %s:%d: no %s in %d ms" % (self.phase, self._host, self._port, what, limit), True
            )
        return left

    def deadline(self):
        """Ms left of this phase, or of a write that stalls; raises LinkError when passed."""
        if self.state == DNS:
            return self.left(self._since, DNS_MS, "answer")
        if self.state == TCP:
            return self.left(self._since, TCP_MS, "answer")
        if self.state == TLS:
            return self.left(self._since, TLS_MS, "end")
        if self._stalled >= 0:
            return self.left(self._stalled, WRITE_MS, "byte taken")
        return WRITE_MS

    def wait(self, ms):
        """Sleep until there is something to read or to send on, or `ms` passed."""
        if self._sock is None:
            self.clock.sleep_ms(min(ms, DNS_POLL_MS) if self.state == DNS else ms)
            return
        want = select.POLLIN
        if self.state == TLS:
            ms = min(ms, TLS_POLL_MS)
        elif self.queued():
            want |= select.POLLOUT
        if want != self._want:
            self._want = want
            self._poll.modify(self._sock, want)
        for _ in self._poll.ipoll(ms):
            pass
