"""Answers and alerts that wait for their PUBACK: few, bounded, oldest dropped first."""

from . import log

LIMIT = 16
_KIND, _VALUES, _PID = range(3)


class Notices:
    def __init__(self):
        self._entries = []

    def __len__(self):
        return len(self._entries)

    def append(self, kind, values):
        """Queue a notice: "reply" or "alert", canonical values."""
        if len(self._entries) >= LIMIT:
            log.warning("%s dropped: %d are waiting" % (self._entries.pop(0)[_KIND], LIMIT))
        self._entries.append([kind, values, None])

    def next(self):
        """The oldest entry not yet sent, [kind, values, packet id], or None."""
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
