"""Answers, alerts and events that wait for their PUBACK: few, bounded, kept through a power cut.

Those that wait longer than a moment are written to flash, together with which alerts stand: after
a power cut a crossing is neither lost nor told as a new one.
"""

from micropython import const

from . import log, store

FILE = "notices.json"
LIMIT = 24
# What a power cut can cost: notices of the last SAVE_AFTER_MS, of SAVE_EVERY_MS after a write.
SAVE_AFTER_MS = const(5000)
SAVE_EVERY_MS = const(60000)
_FIRST_TO_GO = ("event", "alert", "reply")  # when there is no room; the oldest of its kind
_KIND, _VALUES, _PID, _MS, _N, _ORIGIN = range(6)


class Notices:
    """`origin(ms)` gives [boot, Unix seconds or None, quality]; it is set before the first `step`.

    `open` is {quantity: side} of the alerts that stand; whoever changes it calls `changed`.
    `dropped` counts notices for which there was no room.
    """

    origin = None

    def __init__(self, clock):
        self.dropped = 0
        self._clock = clock
        self._n = 0  # of the last notice of this boot
        self._due_ms = None  # when to write, None: what is on flash is what is here
        self._saved_ms = -SAVE_EVERY_MS
        kept = store.load(FILE)
        try:
            self.open = dict(kept.get("open", {}))
            self._entries = [
                [kind, dict(values), None, ms, n, [boot, epoch, quality]]
                for kind, values, ms, n, (boot, epoch, quality) in kept.get("waiting", ())
            ]
        except (TypeError, ValueError):
            log.warning("%s is not used" % FILE)
            self.open = {}
            self._entries = []
        self._kept = bool(self._entries)  # some of those on flash waited
        self._kept_open = dict(self.open)

    def __len__(self):
        return len(self._entries)

    def replies(self):
        """How many answers wait."""
        return sum([entry[_KIND] == "reply" for entry in self._entries])

    def append(self, kind, values, ms=None):
        """Queue a notice: "reply", "alert" or "event", canonical values, of the instant `ms`."""
        self._n += 1
        now = self._clock.ms()
        self._entries.append([kind, values, None, now if ms is None else ms, self._n, None])
        if len(self._entries) > LIMIT:
            self._drop()
        self.changed()

    def _drop(self):
        for kind in _FIRST_TO_GO:
            for entry in self._entries:
                if entry[_KIND] == kind:
                    self._entries.remove(entry)
                    self.dropped += 1
                    log.warning("%s dropped: %d are waiting" % (kind, LIMIT))
                    return

    def changed(self):
        """What is here is not on flash: write it, though not at once and not often."""
        if self._due_ms is None:
            now = self._clock.ms()
            self._due_ms = max(now + SAVE_AFTER_MS, self._saved_ms + SAVE_EVERY_MS)

    def next(self):
        """The oldest entry not yet sent, [kind, values, packet id, ms, number, origin], or None.

        `origin` is None for a notice of this boot.
        """
        for entry in self._entries:
            if entry[_PID] is None:
                return entry
        return None

    def sent(self, entry, pid):
        entry[_PID] = pid

    def discard(self, entry):
        self._entries.remove(entry)
        if self._kept:
            self.changed()

    def acknowledged(self, pid):
        """The broker has what went out with `pid`."""
        for entry in self._entries:
            if entry[_PID] == pid:
                self.discard(entry)
                return

    def unsend(self):
        """The connection is gone: what was not acknowledged goes out again."""
        for entry in self._entries:
            entry[_PID] = None

    def step(self):
        """Write what is due."""
        if self._due_ms is not None and self._clock.ms() >= self._due_ms:
            self.flush()

    def flush(self):
        """Write what is not on flash, now."""
        if self._due_ms is None:
            return
        self._due_ms = None
        if not self._entries and not self._kept and self.open == self._kept_open:
            return  # all went out before it had to be kept
        self._saved_ms = self._clock.ms()
        waiting = []
        for kind, values, _, ms, n, origin in self._entries:
            waiting.append([kind, values, ms, n, origin or self.origin(ms)])
        try:
            if waiting or self.open:
                store.save(FILE, {"open": self.open, "waiting": waiting})
            else:
                store.remove(FILE)
        except (OSError, MemoryError) as error:
            log.warning("%s: %r" % (FILE, error))
            self.changed()
        else:
            self._kept = bool(waiting)
            self._kept_open = dict(self.open)
