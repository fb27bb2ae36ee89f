"""The link rebuilds what fails, says why, and never raises or waits."""

from esp32_socket import Net, VirtualTime
from fake_wlan import GOT_IP, NO_AP, WRONG_PASSWORD, FakeWlan
from fault_broker import Broker, message

from fieldnode import link as limits
from fieldnode.backoff import CAP_MS, STABLE_MS, Backoff
from fieldnode.link import Link
from fieldnode.session import PINGRESP_MS, Session
from fieldnode.wifi import Wifi

IP = "10.0.0.2"
TURN_MS = 100  # the node's loop at its laziest


class Bench:
    """A link as the node has it; it is the link's owner as well."""

    def __init__(self, subscriptions=(("c/one", 1), ("c/two", 0)), reuse=False, wifi=True):
        self.time = VirtualTime()
        self.broker = Broker()
        self.net = Net(self.time, {IP: self.broker}, {"broker.local": [IP]})
        self.wlan = FakeWlan(self.time)
        self.ups = []  # virtual ms of each on_up
        self.messages = []
        self.acks = []
        self.oversize = []
        self.sessions = 0
        self.bits = 0xFFFF  # the longest wait each time
        self.session = None
        self.reuse = reuse
        self.link = Link(
            self.time,
            Wifi(self.wlan, "field", "secret", self.time) if wifi else None,
            self.make_session,
            Backoff(lambda bits: self.bits),
            subscriptions,
            self,
        )

    def make_session(self):
        self.sessions += 1
        if self.session is None or not self.reuse:
            self.session = Session(
                "plant-1", "broker.local", keepalive=60, clock=self.time, net=self.net
            )
        self.session.set_last_will("s", "gone %d" % self.sessions, True, 1)
        return self.session

    def on_up(self):
        assert self.link.up
        assert self.link.publish("s", "here", True, 1)
        self.ups.append(self.time.passed)

    def on_ack(self, pid):
        self.acks.append(pid)

    def on_message(self, topic, payload, retained, dup):
        self.messages.append((topic, payload))

    def on_oversize(self, topic, size):
        self.oversize.append((topic, size))

    def turn(self):
        before = self.time.passed
        left = self.link.step()
        assert self.time.passed == before, "step() waited"
        assert left >= 0
        self.time.passed += max(1, min(left, TURN_MS))
        self.net.run_threads()

    def run(self, until, limit_ms):
        started = self.time.passed
        while not until():
            assert self.time.passed - started <= limit_ms, self.link.failure
            self.turn()
        return self.time.passed - started

    def until_up(self, limit_ms):
        return self.run(lambda: self.link.up, limit_ms)

    def until_down(self, limit_ms):
        return self.run(lambda: not self.link.up, limit_ms)

    def run_for(self, ms):
        end = self.time.passed + ms
        while self.time.passed < end:
            self.turn()

    def up(self):
        self.until_up(10000)
        return self

    def lives(self):
        """The link works both ways."""
        heard, acks = len(self.messages), len(self.acks)
        self.net.sockets[-1].feed(message(b"c/one", b"go", qos=1, pid=5))
        assert self.link.publish("t", "x", qos=1)
        for _ in range(5):
            self.turn()
        return len(self.messages) == heard + 1 and len(self.acks) > acks


def test_wifi_session_subscriptions_birth():
    bench = Bench().up()
    assert bench.broker.kinds() == "10 82 82 33"
    assert [body[4:-1] for op, body in bench.broker.packets if op == 0x82] == [b"c/one", b"c/two"]
    assert [body[-1] for op, body in bench.broker.packets if op == 0x82] == [1, 0]
    assert bench.wlan.calls[-1] == "connect field secret"
    assert 3000 < bench.link.down_ms < 4000
    assert bench.link.outages == 0 and bench.link.cause == ""
    assert bench.lives()


def test_without_wifi_and_subscriptions():
    bench = Bench((), wifi=False).up()
    assert bench.broker.kinds() == "10 33" and bench.wlan.calls == []


def test_publish_while_down():
    bench = Bench()
    assert bench.link.publish("t", "x", qos=1) is None
    bench.run(lambda: bench.session is not None and bench.session.up, 10000)
    assert bench.link.publish("t", "x", qos=1) is None, "not before the subscriptions stand"


def test_wait_without_a_session_is_the_clock_s():
    bench = Bench()
    bench.link.wait(250)
    assert bench.time.passed == 250


def test_wifi_that_does_not_come():
    for outcome, words in ((NO_AP, "no access point"), (WRONG_PASSWORD, "wrong password")):
        bench = Bench()
        bench.wlan.outcome = outcome
        bench.run_for(300000)
        assert words in bench.link.failure and bench.link.cause == bench.link.failure
        tries = bench.wlan.calls.count("connect field secret")
        assert 4 <= tries <= 8, tries
        bench.wlan.outcome = GOT_IP
        bench.until_up(CAP_MS + 5000)
        assert bench.link.down_ms > 300000
        assert bench.lives()


def test_wifi_lost_and_back():
    bench = Bench().up()
    bench.run_for(STABLE_MS)
    bench.wlan.lose()
    bench.turn()
    assert not bench.link.up and bench.link.cause == "Wi-Fi lost"
    assert not bench.net.sockets[0].open
    bench.until_up(6000)
    assert bench.link.outages == 1 and len(bench.ups) == 2
    assert 3000 < bench.link.down_ms < 6000
    assert bench.lives()


def test_dns_fails_then_the_broker_has_moved():
    bench = Bench().up()
    bench.run_for(STABLE_MS)
    moved = Broker()
    bench.net.brokers = {"10.7.7.7": moved}
    bench.net.hosts["broker.local"] = []
    bench.net.sockets[-1].reset()
    bench.run(lambda: "DNS" in bench.link.failure, 5000)
    assert "ECONNRESET" in bench.link.cause, "why it went down stays"
    bench.net.hosts["broker.local"] = ["10.7.7.7"]
    bench.until_up(20000)
    assert moved.connections == 1 and bench.broker.connections == 1
    assert bench.lives()


def test_refused_connection_is_told_and_retried():
    bench = Bench()
    bench.broker.connack = 5
    bench.run(lambda: bench.link.failure, 10000)
    assert "not authorised" in bench.link.failure
    bench.broker.connack = 0
    bench.up()


def test_refused_subscription_is_told_and_retried():
    bench = Bench()
    bench.broker.suback = 0x80
    bench.run(lambda: bench.link.failure, 10000)
    assert bench.link.failure == "broker refused the subscription to c/one"
    assert not bench.ups
    bench.broker.suback = 1
    bench.up()
    assert bench.link.outages == 0


def test_every_kind_of_broken_broker():
    def no_connack(bench):
        bench.broker.connack = None

    def hang_up(bench):
        bench.broker.hang_up_on = 0x10

    def no_suback(bench):
        bench.broker.suback = None

    def lost(bench):
        bench.net.brokers[IP] = None

    def refused(bench):
        del bench.net.brokers[IP]

    def garbage(bench):
        bench.broker.prepare = lambda sock: sock.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    for fault in (no_connack, hang_up, no_suback, lost, refused, garbage):
        bench = Bench()
        fault(bench)
        bench.run_for(600000)
        assert not bench.link.up and bench.link.failure
        assert 5 <= bench.sessions <= 14, bench.sessions
        assert sum(sock.open for sock in bench.net.sockets) <= 1, "sockets leak"
        bench.broker.__init__()
        bench.net.brokers[IP] = bench.broker
        bench.until_up(CAP_MS + 60000)
        assert bench.lives()


def test_backoff_is_not_reset_by_a_connection_that_does_not_hold():
    bench = Bench()
    for _ in range(8):
        bench.until_up(CAP_MS + 60000)
        bench.net.sockets[-1].reset()
        bench.until_down(5000)
    gaps = [b - a for a, b in zip(bench.ups, bench.ups[1:])]
    assert gaps[0] < 2000 and gaps[-1] > 60000, gaps
    bench.until_up(CAP_MS + 60000)
    bench.run_for(STABLE_MS + TURN_MS)
    bench.net.sockets[-1].reset()
    bench.until_down(5000)
    assert bench.until_up(5000) < 2000


def test_zombie_link_restarts_the_radio():
    bench = Bench().up()
    bench.run_for(STABLE_MS)
    # The chip says connected, nothing passes, until it is switched off and on.
    broker, bench.net.brokers[IP] = bench.net.brokers[IP], None
    bench.net.sockets[-1].drains = False

    def switch(on=None, real=bench.wlan.active):
        if on is False:
            bench.net.brokers[IP] = broker
        return real(on)

    bench.wlan.active = switch
    took = bench.run(lambda: "active 0" in bench.wlan.calls, 120000)
    assert took < 30000 + PINGRESP_MS + limits.ZOMBIE_AFTER * 15000
    assert "no PINGRESP" in bench.link.cause
    bench.until_up(20000)
    assert bench.lives()


def test_radio_is_left_alone_while_the_broker_answers():
    bench = Bench()
    del bench.net.brokers[IP]
    bench.run_for(1200000)
    assert "active 0" not in bench.wlan.calls


def test_session_kept_in_memory_or_made_anew():
    for reuse in (True, False):
        bench = Bench(reuse=reuse).up()
        for _ in range(3):
            bench.net.sockets[-1].reset()
            bench.until_down(5000)
            bench.until_up(60000)
        assert bench.link.outages == 3
        wills = [body for op, body in bench.broker.packets if op == 0x10]
        assert [will[-1:] for will in wills] == [b"1", b"2", b"3", b"4"]
        assert bench.lives()


def test_length_of_outages():
    bench = Bench().up()
    bench.run_for(1000000)
    assert 999000 <= bench.link.up_ms <= 1001000
    bench.broker.connack = None
    bench.net.sockets[-1].end()
    bench.run_for(500000)
    assert 499000 <= bench.link.down_ms <= 501000
    assert "closed by the other side" in bench.link.cause
    assert "no CONNACK" in bench.link.failure


def test_oversize_and_ack_reach_the_owner():
    bench = Bench().up()
    bench.net.sockets[-1].feed(message(b"c/one", bytes(3000), qos=1, pid=8))
    pid = bench.link.publish("t", "x", qos=1)
    for _ in range(5):
        bench.turn()
    assert bench.oversize == [("c/one", 3000)] and pid in bench.acks


def test_disconnect_and_close_are_for_good():
    for end, kinds in (("disconnect", "e0"), ("close", "33")):
        bench = Bench().up()
        getattr(bench.link, end)()
        assert not bench.link.up and not bench.net.sockets[-1].open
        assert bench.broker.kinds().endswith(kinds)
        bench.run_for(200000)
        assert bench.broker.connections == 1 and not bench.link.up
