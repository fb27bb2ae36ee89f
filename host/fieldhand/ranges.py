"""Sets of whole numbers that mostly follow each other, kept as ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """The numbers from `first` to `last`, both included, and the times that belong to them."""

    first: int
    last: int
    first_time: int | None = None
    last_time: int | None = None

    @property
    def size(self) -> int:
        return self.last - self.first + 1


class Ranges:
    """A set of whole numbers as disjoint spans, in order; no two of them touch.

    A span knows the time (Unix seconds) of its first and of its last number, where it was told.
    """

    __slots__ = ("_firsts", "_spans")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._firsts: list[int] = []
        self._spans: list[Span] = []
        for span in spans:
            self.add(*span)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        """How many spans there are; `count` is how many numbers."""
        return len(self._spans)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._spans[at].last

    @property
    def count(self) -> int:
        return sum(span.size for span in self._spans)

    @property
    def top(self) -> int | None:
        """The highest number, None of an empty set."""
        return self._spans[-1].last if self._spans else None

    def add(
        self,
        first: int,
        last: int | None = None,
        first_time: int | None = None,
        last_time: int | None = None,
    ) -> int:
        """Add a number, or all from `first` to `last`; returns how many were not in it."""
        if last is None:
            last, last_time = first, first_time
        if last < first:
            raise ValueError(f"{first}-{last} is no range")
        new = last - first + 1
        low, low_time, high, high_time = first, first_time, last, last_time
        start = bisect_right(self._firsts, first) - 1
        if start < 0 or self._spans[start].last + 1 < first:
            start += 1
        end = start
        while end < len(self._spans) and self._spans[end].first <= last + 1:
            span = self._spans[end]
            new -= max(0, min(span.last, last) - max(span.first, first) + 1)
            if span.first < low or (span.first == low and span.first_time is not None):
                low, low_time = span.first, span.first_time
            if span.last > high or (span.last == high and span.last_time is not None):
                high, high_time = span.last, span.last_time
            end += 1
        self._spans[start:end] = [Span(low, high, low_time, high_time)]
        self._firsts[start:end] = [low]
        return new

    def missing(self, first: int, last: int) -> list[Span]:
        """What of `first` to `last` is not in the set, each with its neighbours' times."""
        gaps = []
        at, before = first, None
        for span in self._spans:
            if span.last < first:
                before = span.last_time
                continue
            if span.first > last:
                if at <= last:
                    gaps.append(Span(at, last, before, span.first_time))
                return gaps
            if span.first > at:
                gaps.append(Span(at, span.first - 1, before, span.first_time))
            at, before = span.last + 1, span.last_time
        if at <= last:
            gaps.append(Span(at, last, before, None))
        return gaps

    def drop_lowest(self) -> None:
        """Forget the span with the lowest numbers."""
        del self._spans[0], self._firsts[0]
