"""Readings that wait for their PUBACK: bounded, oldest dropped first, drained in order.

In RAM: a reading is packed into a tuple of names that all readings of the sensor share and
single-precision floats, about 100 bytes on the ESP32 where a dict takes 400.
"""

import gc
from array import array

from micropython import const

_RESERVE = const(6144)  # bytes left free: to say a status and to send what waits takes 4 kB
_SEQ, _MS, _NAMES, _VALUES, _PID = range(5)
_UNSENT = 0


class Outbox:
    """`limit` readings at most, fewer where the heap has no room for them.

    `dropped` counts those lost to either.
    """

    def __init__(self, limit):
        self.limit = limit
        self.dropped = 0
        self._entries = []
        self._names = {}

    def __len__(self):
        return len(self._entries)

    def append(self, seq, ms, values):
        """Queue a reading: number, instant of `Clock.ms()`, {quantity: value}."""
        if len(self._entries) >= self.limit or _short():
            self._drop()
        names = tuple(values)
        names = self._names.setdefault(names, names)
        entry = [seq, ms, names, array("f", [values[n] for n in names]), _UNSENT]
        try:
            self._entries.append(entry)
        except MemoryError:  # for the longer list, in one piece
            self._drop()
            self._entries.append(entry)

    def _drop(self):
        if self._entries:
            self._entries.pop(0)
            self.dropped += 1

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
        for i in range(len(self._entries)):
            if self._entries[i][_SEQ] == seq:
                self._entries.pop(i)
                return

    def unsend(self):
        """The connection is gone: what was not acknowledged goes out again."""
        for entry in self._entries:
            entry[_PID] = _UNSENT


def _short():
    if gc.mem_free() >= _RESERVE:
        return False
    gc.collect()
    return gc.mem_free() < _RESERVE
