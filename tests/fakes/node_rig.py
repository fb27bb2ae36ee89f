"""The whole node but for its hardware: Node, Link, Session, on an ESP32's sockets, in virtual time.

Each turn it is looked at: it may not wait, its samples may not be late, and its pump may not run
longer than it was let.
"""

import json

from esp32_socket import Net
from fake_node import EPOCH, FakeHal, FakeSensor, FakeTime, fresh_flash
from fake_wlan import FakeWlan
from fault_broker import Broker, publish_id

from fieldnode.assemble import controls
from fieldnode.backoff import Backoff
from fieldnode.clock import Clock
from fieldnode.link import Link
from fieldnode.node import Node
from fieldnode.outages import Outages
from fieldnode.relay import Relay
from fieldnode.session import Session
from fieldnode.wifi import Wifi
from fieldproto import dialects, nodeconfig

HOST = "broker.local"
IP = "10.0.0.2"
PIN = 26
TURN_MS = 50  # the node's loop at its laziest while a relay is on
CONFIG = {
    "version": 1,
    "node": "n1",
    "dialect": "plantnanny",
    "wifi": {"ssid": "field"},
    "actuators": [{"name": "pump", "pin": PIN, "max_run_s": 600, "link_grace_s": 3600}],
}


class Time(FakeTime):
    """For fakes that ask how much has `passed`, too."""

    @property
    def passed(self):
        return self.now


class Sensor(FakeSensor):
    """Notes when it is read."""

    def __init__(self, time):
        super().__init__(air_temperature=24.3)
        self.time = time
        self.read_at = []

    def read(self):
        self.read_at.append(self.time.now)
        return super().read()


class Rig:
    """`up()` first. `broker` is at `IP`, which is `HOST`'s address; `wlan` is the radio.

    `fresh`: with nothing on its flash; else with what the node before it left there.
    """

    def __init__(self, interval_ms=5000, clean_session=True, epoch=EPOCH, fresh=True, tls=None):
        if fresh:
            fresh_flash()
        raw = dict(CONFIG, broker={"host": HOST, "clean_session": clean_session})
        if tls is not None:
            raw["broker"]["tls"] = tls
        config = nodeconfig.load(dict(raw, interval_ms=interval_ms))
        config["node"] = raw["node"]
        self.interval_ms = interval_ms
        self.time = time = Time()
        self.hal = FakeHal(time)
        self.hal.epoch = epoch
        self.clock = clock = Clock(time)
        self.broker = Broker()
        self.net = Net(time, {IP: self.broker}, {HOST: [IP]})
        self.wlan = FakeWlan(time)
        self.sensor = Sensor(time)
        self.pump = Relay(config["actuators"][0], self.hal, clock)
        self.node = Node(
            config, dialects.load("plantnanny"), self.hal, clock, [self.sensor], [self.pump]
        )
        controls(self.node, config, clock, "power")
        self.node.session = Session("n1", HOST, clock=clock, net=self.net)
        self.backoff = Backoff(lambda bits: 0xFFFF)  # the longest wait each time
        self.link = self.node.link = Link(
            clock,
            Wifi(self.wlan, "field", "secret", clock),
            self.node.make_session,
            self.backoff,
            self.node.dialect.subscriptions("node", "n1"),
            self.node,
            clean_session,
        )
        self.node.parts.append(Outages(self.node, clock))
        self._ends_at = None  # when the pump has to be off

    @property
    def sock(self):
        return self.net.sockets[-1]

    def turn(self):
        before = self.time.now
        wait = self.node.step()
        assert self.time.now == before, "the node waited %d ms" % (self.time.now - before)
        self.time.advance(max(1, min(wait, TURN_MS)))
        self.net.run_threads()
        late = self.time.now - self.sensor.read_at[-1] - self.interval_ms
        assert late <= 2 * TURN_MS, "a sample is %d ms late" % late
        if self._ends_at is not None:
            running = self.hal.pins[PIN].value() == 1
            assert running == (self.time.now < self._ends_at), "the pump's end"

    def run(self, until, limit_ms):
        """Turn until `until()`; returns the ms it took, or fails."""
        started = self.time.now
        while not until():
            assert self.time.now - started <= limit_ms, "not in %d ms: %s, %s" % (
                limit_ms,
                self.link.failure,
                self.broker.kinds()[-60:],
            )
            self.turn()
        return self.time.now - started

    def run_for(self, ms):
        end = self.time.now + ms
        self.run(lambda: self.time.now >= end, ms)

    def up(self, held_ms=0):
        self.run(lambda: self.link.up, 20000)
        self.run_for(held_ms)
        return self

    def pump_on(self, ms):
        self.pump.on(ms)
        self._ends_at = self.time.now + ms

    def received(self, *brokers):
        """Payloads of what the node published, as objects with the first byte as `op`."""
        found = []
        for broker in brokers or (self.broker,):
            for op, body in broker.packets:
                if op & 0xF0 == 0x30:
                    at = 4 + (body[0] << 8 | body[1])
                    found.append((op, publish_id(body), json.loads(body[at:])))
        return found

    def seqs(self, *brokers):
        """Numbers of the readings that arrived, sorted, each once."""
        numbers = {
            obj["_fh"]["seq"] for _, _, obj in self.received(*brokers) if "seq" in obj["_fh"]
        }
        return sorted(numbers)

    def events(self, *brokers):
        return [
            obj["_fh"]["event"] for _, _, obj in self.received(*brokers) if "event" in obj["_fh"]
        ]
