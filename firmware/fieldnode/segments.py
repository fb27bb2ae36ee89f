"""The queue on flash: files of a block each, appended to, read from the front, dropped whole.

Readings are numbered as they come; a file's name is the number of its first, so that how many
wait is known without reading them.
"""

import os

from micropython import const

from . import log, record, store

BLOCK = const(4096)  # bytes of a segment, and what the file system erases for one


class Segments:
    """`starts`: numbers of the segments' first readings; `end`: one past the last reading."""

    def __init__(self, path, limit_bytes):
        self.starts = []
        self.end = 0
        self.bad = 0  # damaged places in the newest segment when it was loaded
        self.newest = None  # `record.head` of the newest reading when they were loaded
        self._path = path
        self._limit = max(2, limit_bytes // BLOCK)
        self._room = 0  # bytes left in the newest
        self._shapes = set()  # spelt out in the newest
        self.reader = Reader(self.file)
        try:
            os.mkdir(path)
        except OSError:
            pass  # there, or the first write says what is wrong
        try:
            for entry in os.ilistdir(path):
                try:
                    self.starts.append(int(entry[0], 16))
                except ValueError:
                    pass  # not ours
            self.starts.sort()
            self._scan()
        except OSError as error:
            log.warning("%s cannot be read: %s" % (path, error))

    def file(self, start):
        return "%s/%08x" % (self._path, start)

    def _scan(self):
        # Only the newest: the others are as long as their names say.
        for start in reversed(self.starts):
            self.reader.open(start)
            self.end = start
            while self.reader.next():
                self.end += 1
                self.newest = record.head(self.reader.buf, self.reader.at)
            if start == self.starts[-1]:
                self.bad = self.reader.bad
                self._shapes = set(self.reader.names)
                if not self.bad:
                    self._room = BLOCK - self.reader.offset()
                if not self.newest:
                    continue  # empty: the power was cut when it had just been made
            break
        if self.starts:
            self.end = max(self.end, self.starts[-1])
        self.reader.close()

    def after(self, start):
        """The number behind the last of segment `start`."""
        i = self.starts.index(start) + 1
        return self.starts[i] if i < len(self.starts) else self.end

    def holding(self, number):
        """The segment that reading `number` is in, or was in."""
        found = self.starts[0]
        for start in self.starts:
            if start <= number:
                found = start
        return found

    def full(self, size):
        """Whether `size` bytes more cost the oldest segment."""
        return size > self._room and len(self.starts) >= self._limit

    def write(self, batch):
        """Append the readings of `batch`; all of them or none. Raises OSError."""
        start = self.starts[-1] if self.starts else None
        known = set(self._shapes)
        mode = "ab"
        if start is None or start == self.end or batch.used > self._room:
            start, mode, known = self.end, "wb", set()
            self._room = BLOCK
        room, self._room = self._room, 0
        path = self.file(start)
        before = BLOCK - room
        try:
            with open(path, mode) as file:
                for frame in batch.frames(known):
                    file.write(frame)
                    room -= len(frame)
        except OSError:
            # littlefs undoes what failed; where something stayed, the next write begins a segment.
            if before and os.stat(path)[6] == before:
                self._room = BLOCK - before
            raise
        if not self.starts or self.starts[-1] != start:
            self.starts.append(start)
        self.end += len(batch.entries)
        store.written[0] += BLOCK - room  # littlefs copies what was in the block
        self._room = room
        self._shapes = known

    def remove(self):
        """Remove the oldest."""
        start = self.starts.pop(0)
        if not self.starts:
            self._room = 0
        if start == self.reader.start:
            self.reader.close()
        try:
            os.remove(self.file(start))
        except OSError as error:
            log.warning("%s stays: %s" % (self.file(start), error))


class Reader:
    """Goes through the readings of a segment, `record.MAX` bytes at a time.

    `buf` and `at`: where the reading is that `next` found; `names`: {shape: names} of the segment;
    `bad`: places skipped because no frame proved itself there.
    """

    def __init__(self, file):
        self._file = file
        self.buf = bytearray(record.MAX)
        self.close()

    def open(self, start):
        self.start = start
        self.at = self.bad = 0
        self.names = {}
        self._place = self._next = self._end = 0  # _place: offset in the file of buf[0]
        self._skipping = False

    def close(self):
        self.open(None)

    def offset(self):
        return self._place + self._next

    def next(self):
        """Whether there is one more. Raises OSError."""
        buf = self.buf
        while True:
            n = record.sound(buf, self._next, self._end)
            if n < 0:
                if self._fill():
                    continue
                if self._next == self._end:
                    return False
            if n <= 0:
                self.bad += not self._skipping
                self._skipping = True
                self._next += 1
                continue
            self._skipping = False
            self.at = self._next
            self._next += n
            if buf[self.at] == record.READING:
                return True
            if buf[self.at] == record.NAMES:
                shape, names = record.names(buf, self.at)
                self.names[shape] = names

    def _fill(self):
        # Opened for each piece: what is appended meanwhile is seen, and no file stays open.
        had = self._end - self._next
        self._place += self._next
        with open(self._file(self.start), "rb") as file:
            file.seek(self._place)
            self._end = file.readinto(self.buf)
        self._next = 0
        return self._end > had
