"""Readings that wait for their PUBACK: bounded, oldest dropped first, drained in order.

In RAM: a reading is packed into a tuple of names that all readings of the sensor share and
single-precision floats, about 100 bytes on the ESP32 where a dict takes 400.
"""

from array import array

_SEQ, _MS, _NAMES, _VALUES, _PID = range(5)
_UNSENT = 0


class Outbox:
    """`limit` readings at most. `dropped` counts those lost to it."""

    def __init__(self, limit):
        self.limit = limit
        self.dropped = 0
        self._entries = []
        self._names = {}

    def __len__(self):
        return len(self._entries)

    def append(self, seq, ms, values):
        """Queue a reading: number, instant of `Clock.ms()`, {quantity: value}."""
        if len(self._entries) >= self.limit:
            self._entries.pop(0)
            self.dropped += 1
        names = tuple(values)
        names = self._names.setdefault(names, names)
        self._entries.append([seq, ms, names, array("f", [values[n] for n in names]), _UNSENT])

    def next(self):
        """The oldest reading not yet sent, (seq, ms, {quantity: value}), or None."""
        for entry in self._entries:
            if entry[_PID] == _UNSENT:
                names = entry[_NAMES]
                values = {names[i]: entry[_VALUES][i] for i in range(len(names))}
                return entry[_SEQ], entry[_MS], values
        return None

    def sent(self, seq, pid):
        """Reading `seq` is on the wire with packet id `pid`."""
        for entry in self._entries:
            if entry[_SEQ] == seq:
                entry[_PID] = pid
                return

    def acknowledged(self, pid):
        """The broker has what went out with `pid`. True if that was a reading."""
        for i in range(len(self._entries)):
            if self._entries[i][_PID] == pid:
                self._entries.pop(i)
                return True
        return False

    def discard(self, seq):
        """Give up reading `seq`, which cannot be sent."""
        self._entries = [entry for entry in self._entries if entry[_SEQ] != seq]

    def unsend(self):
        """The connection is gone: what was not acknowledged goes out again."""
        for entry in self._entries:
            entry[_PID] = _UNSENT
