"""The node: samples, keeps, sends, obeys. One cooperative loop; nothing in it waits."""

from micropython import const

from fieldproto.errors import MessageError

from . import log
from .actuators import Led, Refused
from .alerts import Alerts
from .commands import FAILED, Commands
from .notices import Notices
from .outbox import Outbox
from .reports import Reports
from .sampler import Sampler
from .settings import Settings

_MAX_WAIT_MS = const(1000)  # between two turns of the loop, and two feeds of the watchdog
_RUNNING_WAIT_MS = const(50)  # while a relay is on: how late the end of a run may be reported
_RESTART_MS = const(3000)  # a restart waits that long for its answer to be acknowledged
_TIME_RETRY_MS = const(60000)
_TIME_RETRY_MAX_MS = const(3600000)
_TIME_MAX_AGE_MS = const(86400000)  # a crystal of 20 ppm is 2 s off after a day


class Node:
    """`config` is a checked node.json (`fieldproto.nodeconfig.load`) with its `node` set.

    `fault` says why only the connection of a damaged configuration is in use. The caller sets
    `session` and `link` before the first `step`.
    """

    def __init__(self, config, dialect, hal, clock, sensors, relays, fault=None):
        self.id = config["node"]
        self.dialect = dialect
        self.actuators = relays
        self.led = Led(config["led"], hal) if "led" in config else None
        self.settings = Settings()
        self.notices = Notices()
        self.outbox = Outbox(config["outbox_limit"])
        self.sampler = Sampler(sensors, clock, config["interval_ms"], self._on_reading)
        self.refused = 0  # messages
        self.unsendable = 0  # readings
        self.session = None
        self.link = None
        self.latest = {}  # quantity -> value of the last reading
        self._config = config
        self._hal = hal
        self._clock = clock
        self._reports = Reports(self, clock, hal.reset_cause(), fault)
        self._commands = Commands(self, clock)
        self._alerts = Alerts()
        self._bands = {}
        self._seq = 0
        self._status_ms = 0
        self._time_ms = 0
        self._time_retry_ms = _TIME_RETRY_MS
        self._restart_ms = None
        try:
            self.apply_settings()
        except Exception as error:  # whatever a damaged file can hold: the node starts without it
            log.warning("settings.json is not used: %r" % error)
            self.settings.values = {}
            self.apply_settings()

    # What the loop does

    def step(self):
        """One turn; milliseconds until the next is due."""
        self._commands.settle()
        wait = min(_MAX_WAIT_MS, self.sampler.step())
        for relay in self.actuators:
            if relay.running:
                wait = min(wait, _RUNNING_WAIT_MS)
        wait = min(wait, self.link.step())
        if self.link.up:
            self._time_step()
            wait = min(wait, self._send())
        if self._restart_ms is not None:
            wait = min(wait, self._restart_step())
        return wait

    def run(self, watchdog):
        """For ever. `watchdog` has `feed()`."""
        while True:
            watchdog.feed()
            self.link.wait(self.step())

    def all_off(self, reason):
        for relay in self.actuators:
            relay.off(reason)

    def _send(self):
        """Notices first, then the status if due, then readings."""
        entry = self.notices.next()
        while entry is not None:
            pid = self._publish(self._reports.notice(entry[0], entry[1]))
            if pid is None:
                return _MAX_WAIT_MS  # room comes with a PUBACK, which ends the wait
            if pid:
                self.notices.sent(entry, pid)
            else:
                self.notices.discard(entry)
            entry = self.notices.next()
        now = self._clock.ms()
        if now >= self._status_ms:
            if self._publish(self._reports.status_packet()) is None:
                return _MAX_WAIT_MS
            self._status_ms = now + self._config["status_interval_ms"]
        reading = self.outbox.next()
        while reading is not None:
            seq, ms, values = reading
            pid = self._publish(self._reports.reading(seq, ms, values))
            if pid is None:
                return _MAX_WAIT_MS
            if pid:
                self.outbox.sent(seq, pid)
            else:
                self.outbox.discard(seq)
                self.unsendable += 1
            reading = self.outbox.next()
        return max(self._status_ms - now, 0)

    def _publish(self, packet):
        """Packet id; None: try again later; 0: it can never be sent."""
        if packet is None:
            return 0
        try:
            return self.link.publish(packet.topic, packet.payload, packet.retain, packet.qos)
        except ValueError as error:
            log.warning(str(error))
            return 0

    # What the link tells

    def on_up(self):
        """Connected and subscribed: birth, and what was not acknowledged once more."""
        self.outbox.unsend()
        self.notices.unsend()
        self.status_due()

    def on_ack(self, pid):
        if not self.outbox.acknowledged(pid):
            self.notices.acknowledged(pid)

    def on_message(self, topic, payload, retained=False, dup=False):
        try:
            records = self.dialect.decode(topic, payload, "node", self.id)
            if retained:
                error = MessageError(self.dialect.name, "command", "", "retained: may be stale")
                error.command = records[0].values.get("command")
                error.id = records[0].values.get("id")
                raise error
            for record in records:
                if record.kind == "command":
                    command = self.dialect.command(record.values["command"])
                    self._commands.run(record.values, command.at_end)
                elif record.kind == "config":
                    self._configure(record.values)
        except MessageError as error:
            self._refuse(error)

    def on_oversize(self, topic, size):
        self.refused += 1
        log.warning("refused: %s: %d bytes are too many" % (topic, size))
        self.status_due()

    def _time_step(self):
        """Ask for the time where it is unknown or old; Wi-Fi is up. Takes seconds at worst."""
        now = self._clock.ms()
        if now < self._time_ms or self._clock.known() and self._clock.age_ms() < _TIME_MAX_AGE_MS:
            return
        try:
            self._clock.set(self._hal.ntp_time(self._config["ntp_host"]))
            self._time_retry_ms = _TIME_RETRY_MS
            log.info("time set")
        except OSError as error:
            # Each attempt holds the loop up: where there is no time server, ever more rarely.
            self._time_ms = now + self._time_retry_ms
            self._time_retry_ms = min(self._time_retry_ms * 2, _TIME_RETRY_MAX_MS)
            log.warning("no time from %s: %s" % (self._config["ntp_host"], error))

    def make_session(self):
        """The session of the next connection, its Last Will set. Wi-Fi is up by now."""
        self._time_step()  # first, because DESE's will carries the time
        self.session.keepalive = self.keepalive_s  # which a config update may have changed
        will = self._reports.will()
        if will is not None:
            self.session.set_last_will(will.topic, will.payload, will.retain, will.qos)
        return self.session

    def _configure(self, values):
        settings = {}
        for key in ("interval_ms", "keepalive_s", "calibration", "alerts"):
            if key in values:
                settings[key] = values[key]
        try:
            self._commands.configure(settings)
        except (Refused, ValueError, OSError) as error:
            raise MessageError(self.dialect.name, "config", "config", str(error))

    def _refuse(self, error):
        self.refused += 1
        log.warning("refused: %s" % error)
        self.status_due()
        text = str(error)[:200]
        if error.message == "config":
            now = self._reports.time(self._clock.ms())
            self.notices.append("alert", {"severity": "warning", "message": text, "time": now})
        else:
            self._commands.answer({"id": error.id, "command": error.command}, FAILED, None, text)

    # What commands change

    def apply_settings(self):
        """Take over what is in `settings`, over what node.json says."""
        interval = self.settings.get("interval_ms", self._config["interval_ms"])
        self.sampler.set_interval(interval)
        keepalive = self.settings.get("keepalive_s", self._config["broker"]["keepalive_s"])
        self.keepalive_s = int(keepalive)
        calibration = self.settings.get("calibration", {})
        for sensor in self.sampler.sensors:
            for quantity in sensor.quantities:
                if quantity in calibration:
                    sensor.apply_calibration(quantity, **calibration[quantity])
        self._bands = dict(self._config.get("alerts", {}), **self.settings.get("alerts", {}))

    def status_due(self):
        self._status_ms = self._clock.ms()

    def restart_after_replies(self):
        self._restart_ms = self._clock.ms() + _RESTART_MS

    def _restart_step(self):
        left = self._restart_ms - self._clock.ms()
        if len(self.notices) and self.link.up and left > 0:
            return left
        log.info("restarting")
        self.all_off("restart")
        self.session.close()  # without DISCONNECT: the will says that we are gone
        self._hal.reset()
        return _MAX_WAIT_MS

    def actuator_states(self):
        return {relay.name: int(relay.running) for relay in self.actuators}

    def _on_reading(self, ms, values):
        self._seq += 1
        self.outbox.append(self._seq, ms, values)
        self.latest.update(values)
        for severity, text, quantity, value, threshold in self._alerts.check(self._bands, values):
            log.warning(text)
            alert = {
                "severity": severity,
                "message": text,
                "sensor": self.dialect.word(quantity),
                "value": value,
                "threshold": threshold,
                "time": self._reports.time(ms),
            }
            self.notices.append("alert", alert)
