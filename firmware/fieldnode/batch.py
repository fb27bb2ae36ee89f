"""Readings not yet on flash: one buffer, a copy of which the ESP32's RTC memory keeps.

RTC memory outlives resets, crashes and the watchdog, not a power cut.
"""

from struct import pack_into, unpack_from

from micropython import const

from . import record

SIZE = const(2040)  # bytes; RTC memory has 2048, and two batches fill a segment of flash
TAKEN = const(0x10000)  # pid of a reading that is being sent; -pid: to be sent again under pid


_spare = []


def reserve():
    """Make the buffer of the next Batch, while the heap has room for it in one piece."""
    _spare.append(bytearray(SIZE))


class Batch:
    """`entries`: [packet id, offset] of each reading, oldest first; `used`: bytes."""

    def __init__(self, boot, memory):
        """`memory(data=None)` reads or writes RTC memory; `run`: the boot that first used it since
        the power came."""
        self.entries = []
        self._memory = memory
        self._buf = buf = _spare.pop() if _spare else bytearray(SIZE)
        self._shapes = {}  # shape -> offset of its NAMES frame
        kept = memory()
        size = min(len(kept), SIZE)
        buf[:size] = kept[:size]
        at = 0
        self.run = None
        while at < size:
            n = record.sound(buf, at, size)
            if n <= 0 or (at == 0) != (buf[at] == record.RUN):
                break  # never written, or by another program
            if at == 0:
                self.run = unpack_from("<IH", buf, record.HEAD)
            elif buf[at] == record.NAMES:
                self._shapes[record.names(buf, at)[0]] = at
            else:
                self.entries.append([0, at])
            at += n
        if self.run is None:
            at = self.begin(boot)
        self.used = at

    def begin(self, boot):
        """`boot` is the first since the power came. Returns the bytes this takes."""
        self.run = boot
        pack_into("<IH", self._buf, record.HEAD, *boot)
        return record.seal(self._buf, 0, record.RUN, 6)

    def append(self, boot, seq, ms, epoch, values):
        """True, or False when there is no room. Raises ValueError for what never fits."""
        names = ",".join(values).encode()
        shape = record.shape_of(names)
        size = record.size(values)
        more = record.HEAD + 4 + len(names)
        if max(size, more) > record.MAX:
            raise ValueError("%d quantities are too many to keep" % len(values))
        known = shape in self._shapes
        at = self.used
        if at + size + (0 if known else more) > SIZE:
            return False
        if not known:
            at = record.put_names(self._buf, at, shape, names)
        end = record.put(self._buf, at, boot, seq, ms, shape, epoch, values.values())
        if not known:
            self._shapes[shape] = self.used
        try:
            self.entries.append([0, at])
        except MemoryError:
            if not known:
                del self._shapes[shape]
            raise
        self.used = end
        self.keep()
        return True

    def keep(self):
        """Bring RTC memory up to date."""
        self._memory(memoryview(self._buf)[: self.used])

    def head(self, entry):
        """(boot, seq, ms, shape, epoch)."""
        return record.head(self._buf, entry[1])

    def values(self, entry):
        at = self._shapes[self.head(entry)[3]]
        return record.values(self._buf, entry[1], record.names(self._buf, at)[1])

    def frames(self, known):
        """Views of what a segment needs that has the shapes `known`; they are added to."""
        view = memoryview(self._buf)
        for entry in self.entries:
            shape = self.head(entry)[3]
            at = self._shapes[shape]
            if shape not in known:
                known.add(shape)
                yield view[at : at + record.length(view, at)]
            at = entry[1]
            yield view[at : at + record.length(view, at)]

    def compact(self):
        """Make room of what has gone from `entries`."""
        buf = self._buf
        live = {entry[1]: entry for entry in self.entries}
        used = {self.head(entry)[3] for entry in self.entries}
        at = to = 0
        while at < self.used:
            n = record.length(buf, at)
            if buf[at] == record.NAMES:
                shape = record.names(buf, at)[0]
                if shape not in used:
                    self._shapes.pop(shape, None)
                    at += n
                    continue
                self._shapes[shape] = to
            elif at in live:
                live[at][1] = to
            elif at:  # the RUN frame stays
                at += n
                continue
            buf[to : to + n] = buf[at : at + n]
            at += n
            to += n
        self.used = to
        self.keep()

    def clear(self):
        self.entries = []
        self.compact()
