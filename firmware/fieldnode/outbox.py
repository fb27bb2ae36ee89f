"""Readings that wait for their PUBACK: first in RAM, then on flash, the oldest dropped first.

What is acknowledged before the next flush never touches the flash. Two streams drain in turn: the
backlog on flash, and what is newer, so that the newest reading does not wait for all others.
"""

import gc

from micropython import const

from . import log, record, store
from .batch import TAKEN, Batch
from .segments import Segments

_RETRY_MS = const(60000)  # between attempts to write to a flash that fails
_ENOSPC = const(28)
_PID, _NUMBER = range(2)
_DONE = const(-1)


class Outbox:
    """`dropped`: readings lost to the limit, to a flash that fails or to a full heap; `corrupt`:
    found damaged on flash and left out; `fault`: why the last flush failed, or ""; `run`, `newest`:
    see Batch and Segments.
    """

    def __init__(self, clock, hal, boot, limit_bytes, flush_s, path="outbox"):
        self.dropped = 0
        self.fault = ""
        self._clock = clock
        self._boot = boot
        self._flush_ms = flush_s * 1000
        self._retry_ms = 0
        self._batch = Batch(boot, hal.rtc_memory)
        self.run = self._batch.run
        self._segments = Segments(path, limit_bytes)
        self.corrupt = self._segments.bad
        self.newest = self._segments.newest
        # [packet id or _DONE, number] of those on flash that are sent, in order; and the same of
        # the connection before, with the id to use again or 0.
        self._flight = []
        self._again = []
        self._number = 0  # of the reading that the reader comes to next
        self._from = 0  # those before are not sent
        self._damaged = 0  # up to which number damage has been counted
        self._live = False  # whose turn it was
        self._cursor = path + ".json"
        self._restore()

    def _restore(self):
        segments = self._segments
        if segments.starts:
            self._number = self._from = start = segments.starts[0]
            cursor = store.load(self._cursor)
            if cursor.get("segment") == start and isinstance(cursor.get("next"), int):
                self._from = min(max(start, cursor["next"]), segments.end)
        try:
            store.remove(self._cursor)  # before a number can be used a second time
        except OSError as error:
            log.warning("%s: %s" % (self._cursor, error))
        # The reset may have come between the write to flash and the end in RTC memory.
        entries = self._batch.entries
        newest = self.newest
        for entry in list(entries):
            head = self._batch.head(entry)
            if newest and head[0] == newest[0] and head[1] <= newest[1]:
                entries.remove(entry)
            else:
                self.newest = head
        self._settle()

    def __len__(self):
        waiting = self._segments.end - self._floor() + len(self._batch.entries)
        for entries in (self._flight, self._again):
            for entry in entries:
                waiting -= entry[_PID] == _DONE
        return waiting

    def _floor(self):
        """The number of the oldest on flash that is not acknowledged."""
        for entries in (self._flight, self._again):
            if entries:
                return entries[0][_NUMBER]
        return max(self._number, self._from)

    def append(self, seq, ms, values):
        """Queue a reading of this boot: number, instant of `Clock.ms()`, {quantity: value}."""
        clock = self._clock
        epoch = clock.epoch(ms) if clock.quality(ms) == "synced" else 0
        for _ in range(2):
            try:
                while not self._batch.append(self._boot, seq, ms, epoch, values):
                    self._make_room()
                return
            except MemoryError:
                gc.collect()
            except ValueError as error:
                log.warning(str(error))
                break
        self.dropped += 1

    def _make_room(self):
        batch = self._batch
        before = batch.used
        batch.compact()
        if batch.used == before and not (self._clock.ms() >= self._retry_ms and self.flush()):
            batch.entries.pop(0)
            self.dropped += 1
            batch.compact()

    def step(self, online):
        """Write to flash what has waited long enough; milliseconds until that is due."""
        entries = self._batch.entries
        if not entries:
            return self._flush_ms
        now = self._clock.ms()
        boot, _, ms, _, _ = self._batch.head(entries[0])
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
        batch = self._batch
        if not batch.entries:
            return True
        segments = self._segments
        try:
            batch.compact()
            while segments.full(batch.used):
                self._drop()
            try:
                segments.write(batch)
            except OSError as error:
                if error.errno != _ENOSPC or not segments.starts:
                    raise
                self._drop()
                segments.write(batch)
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
        segments = self._segments
        if segments.starts and self._floor() > segments.starts[0]:
            try:
                store.save(self._cursor, {"segment": segments.starts[0], "next": self._floor()})
            except OSError as error:
                log.warning("%s: %s" % (self._cursor, error))

    def _drop(self):
        """The oldest segment goes."""
        segments = self._segments
        start = segments.starts[0]
        end = segments.after(start)
        before = len(self)
        self._flight = [entry for entry in self._flight if entry[_NUMBER] >= end]
        self._again = [entry for entry in self._again if entry[_NUMBER] >= end]
        self._from = max(self._from, end)
        self._number = max(self._number, end)
        segments.remove()
        self.dropped += before - len(self)

    def _settle(self):
        """Forget what is acknowledged, and remove the segments of which all is."""
        flight = self._flight
        while flight and flight[0][_PID] == _DONE:
            flight.pop(0)
        segments = self._segments
        while segments.starts and segments.after(segments.starts[0]) <= self._floor():
            segments.remove()

    def take(self):
        """The next reading to send, (boot, seq, ms, Unix time or 0, {quantity: value}, packet id
        under which it went out before or 0), or None. `sent` follows, or `unsend`."""
        live = None
        for entry in self._batch.entries:
            if entry[_PID] <= 0:
                live = entry
                break
        if live is None or self._live:
            found = self._stored()
            if found or live is None:
                self._live = False
                return found
        self._live = True
        boot, seq, ms, _, epoch = self._batch.head(live)
        again, live[_PID] = -live[_PID], TAKEN
        return boot, seq, ms, epoch, self._batch.values(live), again

    def _stored(self):
        segments = self._segments
        reader = segments.reader
        while self._number < segments.end:
            start = segments.holding(self._number)
            end = segments.after(start)
            if reader.start != start:
                reader.open(start)
                self._number = start
            try:
                more = reader.next()
            except OSError as error:
                log.warning("%s: %s" % (segments.file(start), error))
                more = False
            if not more:
                self._damage(self._number, end)
                self._number = end
                continue
            number = self._number
            self._number += 1
            if number < self._from:
                continue
            again = 0
            while self._again and self._again[0][_NUMBER] <= number:
                entry = self._again.pop(0)
                again = entry[_PID] if entry[_NUMBER] == number else 0
            if again == _DONE:
                self._flight.append([_DONE, number])
                continue
            boot, seq, ms, shape, epoch = record.head(reader.buf, reader.at)
            if shape not in reader.names:
                self._damage(number, number + 1)
                self._flight.append([_DONE, number])
                continue
            self._flight.append([TAKEN, number])
            values = record.values(reader.buf, reader.at, reader.names[shape])
            return boot, seq, ms, epoch, values, again
        self._settle()  # the last may have been damaged
        return None

    def _damage(self, start, end):
        self.corrupt += max(0, end - max(start, self._from, self._damaged))
        self._damaged = max(end, self._damaged)

    def sent(self, pid):
        """What was taken is on the wire with packet id `pid`; 0: it cannot be sent, ever."""
        for entries in (self._batch.entries, self._flight):
            for entry in entries:
                if entry[_PID] == TAKEN:
                    entry[_PID] = pid or TAKEN
        if not pid:
            self.acknowledged(TAKEN)

    def acknowledged(self, pid):
        """The broker has what went out with `pid`. True if that was a reading."""
        entries = self._batch.entries
        mine = False
        for i in range(len(entries) - 1, -1, -1):
            if entries[i][_PID] == pid:
                entries.pop(i)
                mine = True
        if mine and not entries:
            self._batch.clear()
        flight = self._flight
        for entry in flight:
            if entry[_PID] == pid:
                entry[_PID] = _DONE
                mine = True
        self._settle()
        return mine

    def unsend(self, kept):
        """A new connection: what was not acknowledged goes out again, with the packet ids it had
        if the broker has `kept` the session."""
        for entry in self._batch.entries:
            pid = abs(entry[_PID])
            entry[_PID] = -pid if kept and pid != TAKEN else 0
        again = self._flight + self._again
        if again:
            self._from = again[0][_NUMBER]
            self._number = self._segments.holding(self._from)
            self._segments.reader.close()
        for entry in again:
            if entry[_PID] == TAKEN or entry[_PID] > 0 and not kept:
                entry[_PID] = 0
        self._again = again
        self._flight = []
