"""Answers, alerts and events that wait for their PUBACK: few, bounded, oldest dropped first."""

from . import log

LIMIT = 16
_KIND, _VALUES, _PID, _MS, _N = range(5)


class Notices:
    def __init__(self, clock):
        self._clock = clock
        self._entries = []
        self._n = 0  # of the last notice of this boot

    def __len__(self):
        return len(self._entries)

    def append(self, kind, values, ms=None):
        """Queue a notice: "reply", "alert" or "event", canonical values, of the instant `ms`."""
        if len(self._entries) >= LIMIT:
            log.warning("%s dropped: %d are waiting" % (self._entries.pop(0)[_KIND], LIMIT))
        self._n += 1
        self._entries.append([kind, values, None, self._clock.ms() if ms is None else ms, self._n])

    def next(self):
        """The oldest entry not yet sent, [kind, values, packet id, ms, number], or None."""
        for entry in self._entries:
            if entry[_PID] is None:
                return entry
        return None

    def sent(self, entry, pid):
        entry[_PID] = pid

    def discard(self, entry):
        self._entries.remove(entry)

    def acknowledged(self, pid):
        """The broker has what went out with `pid`."""
        for entry in self._entries:
            if entry[_PID] == pid:
                self._entries.remove(entry)
                return

    def unsend(self):
        """The connection is gone: what was not acknowledged goes out again."""
        for entry in self._entries:
            entry[_PID] = None
