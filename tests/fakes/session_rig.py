"""A Session, its broker and its time, wired up."""

from esp32_socket import Net, VirtualTime
from fault_broker import Broker

from fieldnode.session import Session
from fieldnode.transport import LinkError

HOST = "10.0.0.2"
STEP_MS = 50  # the node's loop turns at least this often while the link is busy


class Rig:
    def __init__(self, make=Session, **options):
        self.time = VirtualTime()
        self.broker = Broker()
        self.net = Net(self.time, {HOST: self.broker})
        self.messages = []
        self.acks = []
        self.oversize = []
        options.setdefault("keepalive", 60)
        self.session = make("plant-1", HOST, clock=self.time, net=self.net, **options)
        self.session.set_callback(lambda *message: self.messages.append(message))
        self.session.on_ack = self.acks.append
        self.session.on_oversize = lambda topic, size: self.oversize.append((topic, size))

    @property
    def sock(self):
        return self.net.sockets[-1]

    def run(self, until, limit_ms):
        """Step in virtual time until `until()`; returns the ms it took, or fails."""
        started = self.time.passed
        while not until():
            assert self.time.passed - started <= limit_ms, "not within %d ms" % limit_ms
            before = self.time.passed
            left = self.session.step()
            assert self.time.passed == before, "step() waited"
            self.time.passed += min(left, STEP_MS)
            self.net.run_threads()
        return self.time.passed - started

    def fails(self, limit_ms):
        """Step until the session fails: (LinkError, ms it took)."""
        started = self.time.passed
        try:
            self.run(lambda: False, limit_ms)
        except LinkError as exc:
            assert not self.session.up
            return exc, self.time.passed - started
        raise AssertionError("it does not fail")

    def up(self, clean_session=True):
        self.session.connect(clean_session)
        self.run(lambda: self.session.up, 1000)
        return self

    def settle(self):
        """Step until nothing is under way."""
        self.run(lambda: not (self.session.inflight or self.session.subscribing), 5000)
        for _ in range(3):
            self.session.step()
