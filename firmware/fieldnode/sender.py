"""What goes out, in which order: notices, the status when it is due, readings."""

from micropython import const

from . import log

_BUSY_MS = const(1000)  # room comes with a PUBACK, which ends the wait


class Sender:
    """`link` is set before the first `step`."""

    def __init__(self, notices, outbox, reports, clock, status_interval_ms):
        self.notices = notices
        self.outbox = outbox
        self.unsendable = 0  # readings
        self.link = None
        self._reports = reports
        self._clock = clock
        self._status_interval_ms = status_interval_ms
        self._status_ms = 0
        self._held = None  # the packet of the reading taken, which the link had no room for
        self._again = 0  # the packet id under which it went out before
        self._count = 0  # of the readings taken
        self._most = 1  # in a packet
        self._fit = 255  # as far as is known

    def step(self):
        """Publish what the link takes; milliseconds until there is more to do."""
        entry = self.notices.next()
        while entry is not None:
            packet = self._reports.notice(entry)
            pid = self._publish(packet)
            if pid is None:
                return _BUSY_MS
            if pid:
                self.notices.sent(entry, pid)
                if packet.retain:  # an answer on the status: that is the one that was due
                    self._status_ms = self._clock.ms() + self._status_interval_ms
            else:
                self.notices.discard(entry)
            entry = self.notices.next()
        now = self._clock.ms()
        if now >= self._status_ms:
            if self._publish(self._reports.status_packet()) is None:
                return _BUSY_MS
            self._status_ms = now + self._status_interval_ms
        while self._held is not None or self._take():
            pid = self._publish(self._held, self._again)
            if pid is None:
                return _BUSY_MS
            self._held = None
            if pid:
                self.outbox.sent(pid)
            else:
                self._fit = max(1, self._count // 2)
                self._refused()
        return max(self._status_ms - now, 0)

    def _take(self):
        """Hold the packet of the next reading, or readings where the dialect puts several into
        one, until the link takes it. False when none waits."""
        while True:
            readings = []
            while len(readings) < self._most:
                reading = self.outbox.take()
                if reading is None:
                    break
                readings.append(reading)
            if not readings:
                return False
            self._count = len(readings)
            self._again = readings[0][5]
            self._held = self._reports.readings(readings)
            if self._held is not None:
                return True
            self._refused()

    def _refused(self):
        """What was taken can never be sent, not in one packet at least."""
        if self._count > 1:
            self._most = min(self._fit, self._most // 2)
            self.outbox.unsend(False)
        else:
            self.unsendable += 1
            self.outbox.sent(0)

    def status_due(self):
        self._status_ms = self._clock.ms()

    def on_up(self):
        """A new connection: birth first, then what was not acknowledged on the last one."""
        self._held = None
        self._most = min(self._fit, self._reports.batch())
        # A packet of several would not be put together the same way again.
        self.outbox.unsend(self._most == 1 and self.link.session.session_present)
        self.notices.unsend()
        self.status_due()

    def on_ack(self, pid):
        if not self.outbox.acknowledged(pid):
            self.notices.acknowledged(pid)

    def _publish(self, packet, pid=0):
        """Packet id; None: try again later; 0: it can never be sent."""
        if packet is None:
            return 0
        try:
            return self.link.publish(packet.topic, packet.payload, packet.retain, packet.qos, pid)
        except ValueError as error:
            log.warning(str(error))
            return 0
