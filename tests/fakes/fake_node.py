"""A node on a bench: real node code, virtual time, hardware and link that tests look into.

The timers fire by themselves when the time is moved, whether or not the loop runs: that is how
the ESP32's behave.
"""

import json
import os

from fieldnode.assemble import controls
from fieldnode.clock import Clock
from fieldnode.node import Node
from fieldnode.relay import Relay
from fieldnode.sensors.base import SensorError
from fieldnode.sensors.build import build
from fieldproto import dialects, nodeconfig

EPOCH = 1767225600  # 2026-01-01T00:00:00Z
_WRAP = 1 << 30  # of ticks_ms on the ESP32


class FakeTime:
    def __init__(self, start=_WRAP - 5000):
        """Starts shortly before the ticks wrap, as they do on day 12."""
        self.now = start
        self.timers = []

    def ticks_ms(self):
        return self.now % _WRAP

    def ticks_diff(self, a, b):
        return ((a - b + _WRAP // 2) % _WRAP) - _WRAP // 2

    def sleep_ms(self, ms):
        self.advance(ms)

    def advance(self, ms):
        end = self.now + ms
        while True:
            due = [timer for timer in self.timers if timer.at <= end]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now = timer.at
            timer.callback(timer)
        self.now = end


class FakeTimer:
    def __init__(self, time, ms, callback):
        self.at = time.now + ms
        self.callback = callback
        self._time = time
        time.timers.append(self)

    def cancel(self):
        if self in self._time.timers:
            self._time.timers.remove(self)


class FakePin:
    meter = None  # a FakeCounter on the line of the pump behind the pin

    def __init__(self, level):
        self.levels = [level]

    def value(self, level=None):
        if level is None:
            return self.levels[-1]
        if self.meter is not None:
            self.meter.count()
        self.levels.append(level)


class FakeCounter:
    """Pulses of a flow meter: `hz` while the pin it hangs on is high, `leak_hz` all the time."""

    hz = leak_hz = 0
    pin = None

    def __init__(self, time):
        self._time = time
        self._last = time.now
        self._pulses = 0  # thousandths

    def on(self, pin, hz):
        self.pin, self.hz = pin, hz
        pin.meter = self

    def count(self):
        hz = self.leak_hz
        if self.pin is not None and self.pin.value():
            hz += self.hz
        self._pulses += (self._time.now - self._last) * hz
        self._last = self._time.now
        return int(self._pulses // 1000)


class FakeAdc:
    raw = 2048

    def read(self):
        return self.raw


class FakePwm:
    duty = None

    def duty_u16(self, duty):
        self.duty = duty


class FakeNvs:
    def __init__(self):
        self.strings = {}

    def get_str(self, key):
        return self.strings.get(key)

    def set_str(self, key, text):
        self.strings[key] = text


class FakeHal:
    timers = 4
    cause = "power"

    def __init__(self, time):
        self._time = time
        self.pins = {}
        self.inputs = {}  # pin -> FakeCounter, FakeAdc
        self.led = FakePwm()
        self.resets = 0
        self.epoch = EPOCH
        self.strings = FakeNvs()
        self.power_cut()

    def pin_out(self, pin, value):
        self.pins[pin] = FakePin(value)
        return self.pins[pin]

    def pwm(self, pin):
        return self.led

    def one_shot(self, ms, callback):
        if len(self._time.timers) >= self.timers:
            raise OSError(16)
        return FakeTimer(self._time, ms, callback)

    def counter(self, pin):
        self.inputs[pin] = FakeCounter(self._time)
        return self.inputs[pin]

    def adc(self, pin):
        self.inputs[pin] = FakeAdc()
        return self.inputs[pin]

    def nvs(self, namespace):
        return self.strings

    def power_cut(self):
        """What a reset leaves and a power cut does not."""
        self.rtc_kept = b""
        self.brown_out()

    def brown_out(self):
        """As a power cut, but RTC memory outlives it."""
        self._powered = self._time.now

    def again(self, down_ms=0):
        """The same hardware after a reset that took `down_ms`: `hal` of another Bench."""
        ran = self._time.now - self._powered + down_ms

        def start(time):
            self._time = time
            self._powered = time.now - ran
            return self

        return start

    def rtc_memory(self, data=None):
        if data is None:
            return self.rtc_kept
        self.rtc_kept = bytes(data)

    def rtc_seconds(self):
        return (self._time.now - self._powered) // 1000

    def set_clock(self, epoch):
        self.chip_clock = epoch

    def reset_cause(self):
        return self.cause

    def reset(self):
        self.resets += 1

    def ntp_time(self, host):
        if self.epoch is None:
            raise OSError(116)
        return self.epoch


class FakeSensor:
    """Yields `values`; a string in place of a value is the reason it fails."""

    name = "fake@0"
    slow = None  # "slow" or "refused": as an EZO circuit, which takes 900 ms to calibrate
    celsius = None

    def __init__(self, **values):
        self.values = values
        self.applied = {}
        self.wait_ms = 0

    @property
    def quantities(self):
        return tuple(self.values)

    def start(self):
        return self.wait_ms

    def read(self):
        for value in self.values.values():
            if isinstance(value, str):
                raise SensorError(self.name, value)
        return list(self.values.items())

    def apply_calibration(self, quantity, offset=0, scale=1):
        self.applied[quantity] = (offset, scale)

    def calibrate(self, quantity, reference):
        if abs(reference) > 100000:
            raise ValueError("offset is not -100000 to 100000")  # as the real one does
        self.applied[quantity] = (reference - self.values[quantity], 1)
        return 900 if self.slow else 0

    def calibrated(self):
        if self.slow == "refused":
            raise SensorError(self.name, "refused by the circuit")

    def compensate(self, celsius):
        self.celsius = celsius

    def calibration(self, quantity):
        return self.applied.get(quantity, (0, 1))


class FakeLink:
    """Takes `window` unacknowledged publishes while `up`; `sent`: (topic, object, retain).

    With `fails`, a function, it dials at each step and comes up when that returns False.
    """

    window = 8
    fails = None
    session_present = False  # whether the broker keeps the session

    def __init__(self, node):
        self.node = node
        self.up = False
        self.outages = 0
        self.sent = []
        self.flight = []
        self.will = None
        self.closed = False
        self.pids = []  # of `sent`
        self.session = self
        self._pid = 0

    def connect(self):
        self.node.make_session()
        self.up = True
        self.node.on_up()

    def set_last_will(self, topic, payload, retain, qos):
        self.will = (topic, json.loads(payload), retain, qos)

    def reconnect(self):
        self.up = False
        self.flight = []
        self._dial()

    def _dial(self):
        self.node.make_session()
        if not (self.fails and self.fails()):
            self.up = True
            self.node.on_up()

    def lose(self):
        self.up = False
        self.outages += 1
        self.flight = []

    def step(self):
        if self.fails and not self.up:
            self._dial()
        return 1000

    def publish(self, topic, payload, retain=False, qos=0, pid=0):
        if not self.up or len(self.flight) >= self.window:
            return None
        assert qos == 1, "every message of the five dialects is QoS 1"
        if not pid:
            self._pid += 1
            pid = self._pid
        self.flight.append(pid)
        self.pids.append(pid)
        self.sent.append((topic, json.loads(payload), retain))
        return pid

    def ack_all(self):
        for pid in self.flight:
            self.node.on_ack(pid)
        self.flight = []

    def close(self):
        self.closed = True
        self.up = False


class Bench:
    """`node`, `time`, `hal`, `link`, `sensor`, `relays`; `run(ms)` lets the time pass.

    With `wired` the `sensors` of the configuration are made and `sensor` is not. `hal` is a
    FakeHal's class, `epoch` what its time server says (None: it is silent).
    """

    def __init__(
        self,
        dialect,
        options=None,
        extras=True,
        sensor=None,
        connect=True,
        wired=False,
        hal=FakeHal,
        epoch=EPOCH,
        **config,
    ):
        base = {"version": 1, "node": "n1", "dialect": dialect, "broker": {"host": "b"}}
        base.update(config)
        config = nodeconfig.load(base)
        config["node"] = base["node"]
        self.time = FakeTime()
        self.hal = hal(self.time)
        self.hal.epoch = epoch
        clock = Clock(self.time)
        self.clock = clock
        self.sensor = sensor or FakeSensor(air_temperature=24.3)
        self.relays = [Relay(entry, self.hal, clock) for entry in config["actuators"]]
        self.node = Node(
            config,
            dialects.load(dialect, options or {}, extras),
            self.hal,
            clock,
            build(config["sensors"], self.hal, clock) if wired else [self.sensor],
            self.relays,
        )
        controls(self.node, config, clock, self.hal.reset_cause())
        self.link = FakeLink(self.node)
        self.node.link = self.node.session = self.link
        if connect:
            self.link.connect()
            self.run(1)
            self.link.sent = []

    def run(self, ms):
        """Turn the loop for `ms`, with everything acknowledged at once."""
        end = self.time.now + ms
        while self.time.now < end:
            wait = self.node.step()
            self.link.ack_all()
            self.time.advance(max(1, min(wait, end - self.time.now)))
        self.node.step()
        self.link.ack_all()

    def command(self, topic, payload, retained=False):
        """Deliver a message and return what the node says to it, [(topic, object, retain)]."""
        self.link.sent = []
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        self.node.on_message(topic, payload, retained, False)
        self.node.step()
        self.link.ack_all()
        return self.link.sent


def fresh_flash():
    """An empty directory as the node's file system."""
    import time

    path = "/tmp/fieldhand-test-%d-%d" % (time.ticks_us(), int.from_bytes(os.urandom(4), "big"))
    os.mkdir(path)
    os.chdir(path)
    return path
