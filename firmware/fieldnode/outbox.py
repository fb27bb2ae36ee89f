"""Readings that wait for their PUBACK: first in RAM, then on flash, the oldest dropped first.

What is acknowledged before the next flush never touches the flash. Two streams drain in turn: the
backlog on flash, and what is newer, so that the newest reading does not wait for all others.
"""

import gc

from micropython import const

from . import log
from .backlog import Backlog
from .batch import TAKEN, Batch

_RETRY_MS = const(60000)  # between attempts to write to a flash that fails
_PID = const(0)


class Outbox:
    """`fault`: why the last flush failed, or ""; `batch`, `newest`: see Batch and Segments."""

    def __init__(self, clock, hal, boot, limit_bytes, flush_s, path="outbox"):
        self.fault = ""
        self._dropped = 0
        self._clock = clock
        self._boot = boot
        self._flush_ms = flush_s * 1000
        self._retry_ms = 0
        self.batch = batch = Batch(boot, hal.rtc_memory)
        self._backlog = Backlog(path, limit_bytes)
        self._live = False  # whose turn it was
        self.newest = newest = self._backlog.newest
        for entry in list(batch.entries):
            head = batch.head(entry)
            if newest and head[0] == newest[0] and head[1] <= newest[1]:
                batch.entries.remove(entry)  # the reset came just after the write to flash
            else:
                self.newest = head

    def __len__(self):
        return len(self._backlog) + len(self.batch.entries)

    @property
    def dropped(self):
        """Readings lost to the limit, to a flash that fails or to a full heap."""
        return self._dropped + self._backlog.dropped

    @property
    def corrupt(self):
        """Readings found damaged on flash, and left out."""
        return self._backlog.corrupt

    def append(self, seq, ms, values):
        """Queue a reading of this boot: number, instant of `Clock.ms()`, {quantity: value}."""
        clock = self._clock
        epoch = clock.epoch(ms) if clock.quality(ms) == "synced" else 0
        for _ in range(2):
            try:
                while not self.batch.append(self._boot, seq, ms, epoch, values):
                    self._make_room()
                return
            except MemoryError:
                gc.collect()
            except ValueError as error:
                log.warning(str(error))
                break
        self._dropped += 1

    def _make_room(self):
        batch = self.batch
        before = batch.used
        batch.compact()
        if batch.used == before and not (self._clock.ms() >= self._retry_ms and self.flush()):
            batch.entries.pop(0)
            self._dropped += 1
            batch.compact()

    def step(self, online):
        """Write to flash what has waited long enough; milliseconds until that is due."""
        entries = self.batch.entries
        if not entries:
            return self._flush_ms
        now = self._clock.ms()
        boot, _, ms, _, _ = self.batch.head(entries[0])
        # What an earlier boot left in RTC memory has waited for long.
        left = ms + self._flush_ms - now if boot == self._boot else 0
        left = max(left, self._retry_ms - now)
        if left > 0:
            return left
        if not (online and entries[0][_PID] > 0):  # else the PUBACK is on its way, or its deadline
            self.flush()
        return min(self._flush_ms, _RETRY_MS)

    def flush(self):
        """Write all that waits in RAM to flash; True when it is there, all of it."""
        batch = self.batch
        if not batch.entries:
            return True
        try:
            batch.compact()
            self._backlog.write(batch)
        except (OSError, MemoryError) as error:
            gc.collect()
            if self.fault != repr(error):
                self.fault = repr(error)
                log.warning("readings stay in RAM: %s" % self.fault)
            self._retry_ms = self._clock.ms() + _RETRY_MS
            return False
        self.fault = ""
        self._retry_ms = 0
        batch.clear()
        return True

    def close(self):
        """Before an orderly reset: nothing of what waits is lost or, if possible, sent twice."""
        self.flush()
        self._backlog.mark()

    def take(self):
        """The next reading to send, (boot, seq, ms, Unix time or 0, {quantity: value}, packet id
        under which it went out before or 0), or None. `sent` or `unsend` follows; until then more
        may be taken, to go out in one packet."""
        live = None
        for entry in self.batch.entries:
            if entry[_PID] <= 0:
                live = entry
                break
        if live is None or self._live:
            found = self._backlog.take()
            if found or live is None:
                self._live = False
                return found
        self._live = True
        boot, seq, ms, _, epoch = self.batch.head(live)
        again, live[_PID] = -live[_PID], TAKEN
        return boot, seq, ms, epoch, self.batch.values(live), again

    def sent(self, pid):
        """What was taken is on the wire with packet id `pid`; 0: it cannot be sent, ever."""
        if not pid:
            self.acknowledged(TAKEN)
            return
        for entry in self.batch.entries:
            if entry[_PID] == TAKEN:
                entry[_PID] = pid
        self._backlog.sent(pid)

    def acknowledged(self, pid):
        """The broker has what went out with `pid`. True if that was a reading."""
        mine = self._backlog.acknowledged(pid)
        entries = self.batch.entries
        for i in range(len(entries) - 1, -1, -1):
            if entries[i][_PID] == pid:
                entries.pop(i)
                mine = True
                if not entries:
                    self.batch.clear()
        return mine

    def unsend(self, kept):
        """A new connection: what was not acknowledged goes out again, with the packet ids it had
        if the broker has `kept` the session."""
        for entry in self.batch.entries:
            pid = abs(entry[_PID])
            entry[_PID] = -pid if kept and pid != TAKEN else 0
        self._backlog.unsend(kept)
