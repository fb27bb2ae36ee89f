"""What a node prints."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

# Lines kept; older ones are forgotten.
MAX_LINES = 2000
# A longer line is cut.
MAX_LINE_BYTES = 4096


class Console:
    """Lines printed so far, oldest first, the last `MAX_LINES`; thread-safe."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._rest = b""
        self._dropped = 0
        self._changed = threading.Condition()

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines())

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> str:
        return self.lines()[index]

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines())

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """A copy, the unfinished last line included."""
        with self._changed:
            rest = [self._rest.decode("utf-8", "replace")] if self._rest else []
            return [*self._lines, *rest]

    def feed(self, data: bytes) -> None:
        with self._changed:
            *lines, rest = (self._rest + data).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines.append(rest)
                rest = b""
            for line in lines:
                if len(self._lines) == MAX_LINES:
                    self._dropped += 1
                text = line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip("\r")
                self._lines.append(text)
            self._rest = rest
            self._changed.notify_all()

    def end_line(self) -> None:
        """The process is gone: what it began to print is a line."""
        if self._rest:
            self.feed(b"\n")

    def mark(self) -> int:
        """Number of lines ever printed, for `wait(since=...)`."""
        with self._changed:
            return self._dropped + len(self._lines)

    def since(self, mark: int, timeout: float) -> list[str]:
        """The lines after `mark`; where there are none, those of the next `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._dropped + len(self._lines) > mark, timeout)
            return list(self._lines)[max(0, mark - self._dropped) :]

    def wait(self, text: str, timeout: float, since: int = 0) -> str:
        """The first line after `since` (see `mark`) that contains `text`.

        Raises TimeoutError with the last lines when none came within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in list(self._lines)[max(0, since - self._dropped) :]:
                    if text in line:
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    if time.monotonic() >= deadline:
                        break
            last = "\n".join([*self._lines][-15:])
        raise TimeoutError(f"'{text}' not printed within {timeout:g} s; last lines:\n{last}")
