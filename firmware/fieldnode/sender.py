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
        reading = self.outbox.next()
        while reading is not None:
            seq, ms, values = reading
            pid = self._publish(self._reports.reading(seq, ms, values))
            if pid is None:
                return _BUSY_MS
            if pid:
                self.outbox.sent(seq, pid)
            else:
                self.outbox.discard(seq)
                self.unsendable += 1
            reading = self.outbox.next()
        return max(self._status_ms - now, 0)

    def status_due(self):
        self._status_ms = self._clock.ms()

    def on_up(self):
        """A new connection: birth first, then what was not acknowledged on the last one."""
        self.outbox.unsend()
        self.notices.unsend()
        self.status_due()

    def on_ack(self, pid):
        if not self.outbox.acknowledged(pid):
            self.notices.acknowledged(pid)

    def _publish(self, packet):
        """Packet id; None: try again later; 0: it can never be sent."""
        if packet is None:
            return 0
        try:
            return self.link.publish(packet.topic, packet.payload, packet.retain, packet.qos)
        except ValueError as error:
            log.warning(str(error))
            return 0
