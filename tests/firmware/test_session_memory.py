# umqtt: all
"""A node that has come up takes no more memory for sending; proven on real sockets."""

import gc
import random
import socket

import micropython

from fieldnode.session import Session

PAYLOAD = bytes(250)
ROUNDS = 200


class Peer:
    """A broker's end of a real connection, itself without allocations."""

    def __init__(self):
        self._listener = socket.socket()
        while True:
            # getsockname() is missing, so the port cannot be left to the system.
            self.port = 20000 + random.getrandbits(15)
            try:
                self._listener.bind(socket.getaddrinfo("127.0.0.1", self.port)[0][-1])
                break
            except OSError:
                pass
        self._listener.listen(1)
        self.sock = None
        self.buf = bytearray(512)
        self._puback = bytearray(b"\x40\x02\0\0")
        self._pingresp = b"\xd0\0"

    def accept(self, session):
        session.connect()
        self.sock = self._listener.accept()[0]
        self.sock.setblocking(False)
        session.wait(1000)
        session.step()
        self.sock.readinto(self.buf)
        self.sock.write(b"\x20\x02\0\0")
        while not session.up:
            session.wait(1000)
            session.step()

    def answer(self):
        """Read one packet and acknowledge it."""
        while not self.sock.readinto(self.buf):
            pass
        if self.buf[0] == 0xC0:
            self.sock.write(self._pingresp)
        else:
            # Two length bytes, topic "t/x", packet id.
            self._puback[2] = self.buf[8]
            self._puback[3] = self.buf[9]
            self.sock.write(self._puback)


def rounds(session, peer, count):
    for _ in range(count):
        assert session.publish(b"t/x", PAYLOAD, False, 1)
        peer.answer()
        while session.inflight:
            session.wait(1000)
            session.step()
        session.ping()
        peer.answer()
        session.wait(1000)
        session.step()
        session.step()


def test_sending_takes_no_memory():
    peer = Peer()
    session = Session("x", "127.0.0.1", peer.port)
    acks = bytearray(2)

    def on_ack(pid):
        acks[0] = (acks[0] + 1) & 255

    session.on_ack = on_ack
    peer.accept(session)
    rounds(session, peer, 2)
    micropython.heap_lock()
    try:
        rounds(session, peer, ROUNDS)
    finally:
        micropython.heap_unlock()
    assert acks[0] == ROUNDS + 2


def test_reconnecting_leaves_nothing_behind():
    peer = Peer()
    session = Session("x", "127.0.0.1", peer.port)

    def used():
        peer.accept(session)
        rounds(session, peer, 1)
        session.close()
        peer.sock.close()
        gc.collect()
        return gc.mem_alloc()

    for _ in range(3):
        first = used()
    for _ in range(50):
        last = used()
    # The collector is conservative: a stale pointer on the stack may keep an object or two.
    assert last - first < 10 * 50, last - first


def test_a_session_is_little_more_than_its_buffers():
    gc.collect()
    before = gc.mem_alloc()
    session = Session("x", "127.0.0.1")
    gc.collect()
    buffers = session.tx_bytes * 2 + session.rx_bytes
    assert gc.mem_alloc() - before < buffers + 2048
