"""Readings on flash: sent from the oldest on, each kept until it is acknowledged.

Where the reader is stays in RAM, so that draining wears nothing: after a power cut up to a segment
is sent a second time. An orderly reset leaves a mark.
"""

from micropython import const

from . import log, record, store
from .batch import TAKEN
from .segments import Segments

_ENOSPC = const(28)
_PID, _NUMBER = range(2)
_DONE = const(-1)


class Backlog:
    """`dropped`: readings that had to make room; `corrupt`: found damaged and left out;
    `newest`: see Segments."""

    def __init__(self, path, limit_bytes):
        self._segments = segments = Segments(path, limit_bytes)
        self.dropped = 0
        self.corrupt = segments.bad
        self.newest = segments.newest
        # [packet id or _DONE, number] of those that are sent, in order; and the same of the
        # connection before, with the id to use again or 0.
        self._flight = []
        self._again = []
        self._number = 0  # of the reading that the reader comes to next
        self._from = 0  # those before are not sent
        self._damaged = 0  # up to which number damage has been counted
        self._mark = path + ".json"
        if segments.starts:
            self._number = self._from = start = segments.starts[0]
            mark = store.load(self._mark)
            if mark.get("segment") == start and isinstance(mark.get("next"), int):
                self._from = min(max(start, mark["next"]), segments.end)
        store.tried(store.remove, self._mark)  # before a number can be used a second time
        self._settle()

    def __len__(self):
        waiting = self._segments.end - self.floor()
        for entries in (self._flight, self._again):
            for entry in entries:
                waiting -= entry[_PID] == _DONE
        return waiting

    def floor(self):
        """The number of the oldest that is not acknowledged."""
        for entries in (self._flight, self._again):
            if entries:
                return entries[0][_NUMBER]
        return max(self._number, self._from)

    def write(self, batch):
        """Append the readings of `batch`; the oldest segments make room. Raises OSError."""
        segments = self._segments
        while segments.full(batch.used):
            self._drop()
        try:
            segments.write(batch)
        except OSError as error:
            if error.errno != _ENOSPC or not segments.starts:
                raise
            self._drop()
            segments.write(batch)

    def _drop(self):
        segments = self._segments
        end = segments.after(segments.starts[0])
        before = len(self)
        self._flight = [entry for entry in self._flight if entry[_NUMBER] >= end]
        self._again = [entry for entry in self._again if entry[_NUMBER] >= end]
        self._from = max(self._from, end)
        self._number = max(self._number, end)
        segments.remove()
        self.dropped += before - len(self)

    def mark(self):
        """Keep what is acknowledged, for the next start."""
        starts = self._segments.starts
        if starts and self.floor() > starts[0]:
            store.tried(store.save, self._mark, {"segment": starts[0], "next": self.floor()})

    def take(self):
        """As `Outbox.take`."""
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
            boot, seq, ms, shape, epoch = record.head(reader.buf, reader.at)
            if again != _DONE and shape not in reader.names:
                self._damage(number, number + 1)
                again = _DONE
            if again == _DONE:
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
        for entry in self._flight:
            if entry[_PID] == TAKEN:
                entry[_PID] = pid

    def acknowledged(self, pid):
        """The broker has what went out with `pid`. True if that was one of these."""
        mine = False
        for entry in self._flight:
            if entry[_PID] == pid:
                entry[_PID] = _DONE
                mine = True
        if mine:
            self._settle()
        return mine

    def _settle(self):
        """Forget what is acknowledged, and remove the segments of which all is."""
        flight = self._flight
        while flight and flight[0][_PID] == _DONE:
            flight.pop(0)
        segments = self._segments
        while segments.starts and segments.after(segments.starts[0]) <= self.floor():
            segments.remove()

    def unsend(self, kept):
        """As `Outbox.unsend`."""
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
