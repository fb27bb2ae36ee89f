"""The node: samples, keeps, sends, obeys. One cooperative loop; nothing in it waits."""

from micropython import const

from . import log, store
from .alerts import Alerts
from .boots import Boots
from .commands import Commands
from .configuration import Configuration
from .led import Led
from .notices import Notices
from .outbox import Outbox
from .reports import Reports
from .sampler import Sampler
from .sender import Sender
from .sensorwatch import SensorWatch
from .timesync import TimeSync

_MAX_WAIT_MS = const(1000)  # between two turns of the loop, and two feeds of the watchdog
_RUNNING_WAIT_MS = const(50)  # while a relay is on: how late the end of a run may be reported
_RESTART_MS = const(3000)  # a restart waits that long for its answer to be acknowledged
_FLUSH_MS = const(200)  # and at least so long: the radio has to get the PUBACK out
_RESTARTED = "restarted.json"  # there after a restart that was ordered


class Node:
    """`config` is a checked node.json (`fieldproto.nodeconfig.load`) with its `node` set.

    `fault` says why only the connection of a damaged configuration is in use. The caller sets
    `session` and `link` before the first `step`. `parts` is what a configuration may add: each has
    `step()`, for every turn of the loop, `on_reading(ms, values)` and `report(status)`, which may
    add to the status values.
    """

    def __init__(self, config, dialect, hal, clock, sensors, relays, fault=None):
        self.id = config["node"]
        self.dialect = dialect
        self.actuators = relays
        self.parts = []
        self.led = Led(config["led"], hal) if "led" in config else None
        self.session = None
        self.latest = {}  # quantity -> value of the last reading
        self.seq = 0  # of the last reading
        self.loop_ms = 0  # the longest turn since the last status
        self._hal = hal
        self.nvs = hal.nvs
        self._clock = clock
        self.restarting = False
        self._restart_ms = 0
        self._link = None
        self.notices = Notices(clock)
        self.boots = Boots(hal, clock)
        self.outbox = Outbox(
            clock, hal, self.boots.boot, config["outbox_bytes"], config["outbox_flush_s"]
        )
        self.boots.begin(self.outbox.batch, self.outbox.newest)
        self.alerts = Alerts(self.notices, dialect.word)
        self.sampler = Sampler(sensors, clock, config["interval_ms"], self._on_reading)
        self._sensor_watch = SensorWatch(self.sampler.failed, self.notices)
        cause = _cause(hal)
        self.reports = Reports(self, clock, cause, fault)
        self.notices.origin = self.reports.origin
        self.sender = Sender(
            self.notices, self.outbox, self.reports, clock, config["status_interval_ms"]
        )
        self.commands = Commands(self, clock, cause)
        self.configuration = Configuration(self, config, clock)
        self._timesync = TimeSync(
            clock, hal, config["ntp_host"], "ca" in config["broker"].get("tls", ())
        )
        # What the link tells goes where it belongs.
        self.on_up = self.sender.on_up
        self.on_ack = self.sender.on_ack
        self.on_message = self.commands.on_message
        self.on_oversize = self.commands.on_oversize

    @property
    def link(self):
        return self._link

    @link.setter
    def link(self, link):
        self._link = self.sender.link = link

    def step(self):
        """One turn; milliseconds until the next is due."""
        self.commands.settle()
        wait = min(_MAX_WAIT_MS, self.sampler.step())
        for part in self.parts:
            part.step()
        if self.running:
            wait = min(wait, _RUNNING_WAIT_MS)
        wait = min(wait, self._link.step())
        self._sensor_watch.step(self._clock.ms())
        self.notices.step()
        self.configuration.step()
        if self._link.up:
            self._sync()
            wait = min(wait, self.sender.step())
        self.boots.step()
        wait = min(wait, self.outbox.step(self._link.up))
        if self.restarting:
            wait = min(wait, self._restart_step())
        return wait

    def run(self, watchdog):
        """For ever. `watchdog` has `feed()`."""
        ms = self._clock.ms
        while True:
            watchdog.feed()
            began = ms()
            wait = self.step()
            self.loop_ms = max(self.loop_ms, ms() - began)
            self._link.wait(wait)

    @property
    def running(self):
        """Whether any relay is on."""
        for relay in self.actuators:
            if relay.running:
                return True
        return False

    def actuator(self, which):
        """The relay of that name or number, or None."""
        for relay in self.actuators:
            if which == relay.name or which == relay.id:
                return relay
        return None

    def all_off(self, reason):
        for relay in self.actuators:
            relay.off(reason)

    def make_session(self):
        """The session of the next connection, its Last Will set. Wi-Fi is up by now."""
        self._sync()  # first, because DESE's will carries the time
        self.session.keepalive = self.configuration.keepalive_s  # a config update may change it
        will = self.reports.will()
        if will is not None:
            self.session.set_last_will(will.topic, will.payload, will.retain, will.qos)
        return self.session

    def _sync(self):
        # Its answer is waited for, and with the loop a timer's callback: not while a pump runs.
        if not self.running:
            self._timesync.step()

    def restart_after_replies(self):
        self.restarting = True
        self._restart_ms = self._clock.ms() + _RESTART_MS

    def _restart_step(self):
        left = self._restart_ms - self._clock.ms()
        if left > _RESTART_MS - _FLUSH_MS or len(self.notices) and self._link.up and left > 0:
            return min(left, _FLUSH_MS)
        log.info("restarting")
        self.all_off("restart")
        self.session.close()  # without DISCONNECT: the will says that we are gone
        self.notices.flush()
        self.outbox.close()
        store.tried(store.overwrite, _RESTARTED, {"cause": "restart"})
        self._hal.reset()
        return _MAX_WAIT_MS

    def actuator_states(self):
        return {relay.name: int(relay.running) for relay in self.actuators}

    def _on_reading(self, ms, values):
        self.seq += 1
        self.outbox.append(self.seq, ms, values)
        self.latest.update(values)
        self.alerts.on_reading(ms, values)
        for part in self.parts:
            part.on_reading(ms, values)


def _cause(hal):
    """Why the node started, as `Hal.reset_cause`, or "restart" where it was told to."""
    cause = hal.reset_cause()
    told = store.load(_RESTARTED).get("cause")
    if not told:
        return cause
    store.tried(store.remove, _RESTARTED)
    return told if cause in ("hard", "soft") else cause
