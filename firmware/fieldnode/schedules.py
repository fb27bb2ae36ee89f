"""Runs the node starts by itself, offline too: at times of day, or when a reading is low.

When each ran last is kept on flash, so that a reboot in that minute neither repeats nor skips it.
"""

from micropython import const

from fieldproto.timestamps import minute_of_day

from . import log, store
from .relay import Refused

FILE = "schedules.json"
LATE_MIN = const(15)  # a time of day missed by more, through a power cut say, is skipped
_RETRY_MS = const(60000)  # after a refusal


class Schedules:
    """All of node.json's `schedules`, `tables`; `utc_offset_min` is the local time's."""

    def __init__(self, tables, node, clock, utc_offset_min):
        self._node = node
        self._clock = clock
        self._offset_s = utc_offset_min * 60
        last = store.load(FILE)  # entry's name -> Unix seconds, 0 for an unknown time
        self._last = {name: last[name] for name in last if isinstance(last[name], int)}
        self._entries = [_Entry(table, node, self._last, clock.ms()) for table in tables]

    def on_reading(self, ms, values):
        for entry in self._entries:
            value = values.get(entry.quantity)
            if value is not None and value < entry.below and self._rested(entry):
                self._start(entry)

    def step(self):
        epoch = self._clock.epoch()
        if epoch is None:
            return  # nobody knows the time of day yet
        minute = (epoch + self._offset_s) // 60
        for entry in self._entries:
            if entry.minutes and self._clock.ms() >= entry.ready_ms and self._due(entry, minute):
                self._start(entry)

    def report(self, status):
        """Put why the last run of a schedule could not start into the `status` values."""
        faults = ["%s: %s" % (e.name, e.refused) for e in self._entries if e.refused]
        if faults:
            status["schedule_error"] = "; ".join(faults)[:200]

    def _due(self, entry, minute):
        """Whether one of its times has come since it last ran. Minutes are local, since 1970."""
        if entry.from_minute is None:
            last = self._last.get(entry.name)
            # One that never ran starts with the next of its times, not with one just gone.
            entry.from_minute = minute if last is None else (last + self._offset_s) // 60 + 1
        if entry.from_minute > minute + 1440:  # the time was wrong once: not for years to come
            entry.from_minute = minute
        for time in entry.minutes:
            late = (minute - time) % 1440
            if late <= LATE_MIN and entry.from_minute <= minute - late:
                return True
        return False

    def _rested(self, entry):
        if self._clock.ms() >= entry.ready_ms:
            return True
        epoch, last = self._clock.epoch(), self._last.get(entry.name)
        return bool(entry.booted and epoch and last) and epoch - last >= entry.every_ms // 1000

    def _start(self, entry):
        now, epoch = self._clock.ms(), self._clock.epoch()
        before = self._last.get(entry.name)
        try:
            # Written first: a power cut between here and the run skips it, and never doubles it.
            self._note(entry, epoch or 0)
            try:
                entry.relay.on(entry.run_ms, "schedule")
            except Refused:
                self._note(entry, before)
                raise
        except (Refused, OSError) as error:
            entry.ready_ms = now + (entry.every_ms if entry.quantity else _RETRY_MS)
            told, entry.refused = entry.refused, str(error)
            if not told:
                text = "schedule %s: %s" % (entry.name, entry.refused)
                log.warning(text)
                self._node.notices.append("alert", {"severity": "warning", "message": text})
            return
        entry.refused = None
        entry.booted = False
        entry.ready_ms = now
        if entry.minutes:
            entry.from_minute = (epoch + self._offset_s) // 60 + 1
        else:
            entry.ready_ms += entry.every_ms

    def _note(self, entry, epoch):
        if epoch is None:
            self._last.pop(entry.name, None)
        else:
            self._last[entry.name] = epoch
        store.save(FILE, self._last)


class _Entry:
    def __init__(self, table, node, last, now):
        self.relay = node.actuator(table["actuator"])
        self.run_ms = table["run_s"] * 1000
        self.minutes = [minute_of_day(time) for time in table.get("at", ())]
        self.quantity = table.get("when")
        self.below = table.get("below")
        self.every_ms = table["every_s"] * 1000
        what = "when %s" % self.quantity if self.quantity else "at " + " ".join(table["at"])
        self.name = "%s %s" % (self.relay.name, what)
        self.from_minute = None  # the first local minute it may run in, once the time is known
        self.refused = None  # why it could not start the last time
        self.booted = True  # has not run since the boot
        # Of an earlier run nobody knows how long it is ago, until the time is known.
        self.ready_ms = now + self.every_ms if self.quantity and self.name in last else now
