"""Ranges against a naive set of the same numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldhand.ranges import Ranges, Span

NUMBERS = st.integers(0, 40)
ADDITIONS = st.lists(st.tuples(NUMBERS, st.integers(0, 6)), max_size=30)


def spread(spans):
    return [number for span in spans for number in range(span.first, span.last + 1)]


@given(ADDITIONS)
def test_holds_what_a_set_holds_in_order_and_no_two_spans_touch(additions):
    ranges, model = Ranges(), set()
    for first, more in additions:
        added = set(range(first, first + more + 1))
        assert ranges.add(first, first + more) == len(added - model)
        model |= added
        spans = list(ranges)
        assert spread(spans) == sorted(model)
        assert all(a.last + 1 < b.first for a, b in zip(spans, spans[1:], strict=False))
        assert ranges.count == len(model) and ranges.top == max(model)
    for number in range(-1, 50):
        assert (number in ranges) == (number in model)


@given(ADDITIONS, NUMBERS, NUMBERS)
def test_missing_is_the_rest(additions, a, b):
    first, last = min(a, b), max(a, b)
    ranges, model = Ranges(), set()
    for start, more in additions:
        ranges.add(start, start + more)
        model |= set(range(start, start + more + 1))
    gaps = ranges.missing(first, last)
    assert spread(gaps) == sorted(set(range(first, last + 1)) - model)
    assert all(x.last + 1 < y.first for x, y in zip(gaps, gaps[1:], strict=False))


@given(st.lists(NUMBERS), st.randoms(use_true_random=False))
def test_times_of_the_ends_are_those_of_their_numbers_in_any_order(numbers, random):
    random.shuffle(numbers)
    ranges = Ranges()
    for number in numbers:
        ranges.add(number, first_time=1000 + number)
    for span in ranges:
        assert (span.first_time, span.last_time) == (1000 + span.first, 1000 + span.last)
    for gap in ranges.missing(0, 60):
        assert gap.first_time == (999 + gap.first if gap.first > 0 else None)
        assert gap.last_time == (1001 + gap.last if gap.last < 60 else None)


def test_a_time_told_later_is_kept_and_one_known_is_not_forgotten():
    ranges = Ranges([Span(3, 5)])
    ranges.add(3, 5, 30, 50)
    ranges.add(5)
    ranges.add(3)
    assert list(ranges) == [Span(3, 5, 30, 50)]


def test_the_wrong_way_round_is_refused():
    with pytest.raises(ValueError, match="5-3"):
        Ranges().add(5, 3)


def test_the_lowest_span_can_be_forgotten():
    ranges = Ranges([Span(1, 2), Span(7, 9)])
    ranges.drop_lowest()
    assert list(ranges) == [Span(7, 9)] and 2 not in ranges and 8 in ranges
