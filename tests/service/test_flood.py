"""What one node may send, and how its excess is counted and said; the clock is given."""

from fieldhand.service.ingest.flood import MAX_BUCKETS, OVER_S, Flood


def said(flood: Flood, count: int, now: float) -> list[int]:
    """The counts told while so many messages come at once."""
    told = []
    for _ in range(count):
        if not flood.takes("loud", now) and (dropped := flood.to_say("loud", now)):
            told.append(dropped)
    return told


def test_a_count_is_said_again_when_it_has_grown_tenfold():
    flood = Flood(rate=1, burst=5)
    assert said(flood, 5, 0.0) == []
    assert said(flood, 1234, 0.0) == [1, 10, 100, 1000]
    assert said(flood, 8766, 30.0) == []  # 9,995: the bucket had five again
    assert said(flood, 6, 30.0) == [10_000]


def test_a_flood_that_is_over_is_told_whole_and_once():
    flood = Flood(rate=1, burst=5)
    said(flood, 105, 100.0)
    said(flood, 7, 110.0)
    assert flood.over(110.0 + OVER_S - 1) == []
    ((whose, whole),) = flood.over(110.0 + OVER_S)
    assert (whose, whole.dropped, whole.began, whole.last) == ("loud", 102, 100.0, 110.0)
    assert flood.over(200.0) == []
    # The next is counted anew.
    assert said(flood, 15, 300.0) == [1, 10]


def test_floods_remembered_are_limited():
    flood = Flood(rate=1, burst=0)
    for number in range(MAX_BUCKETS + 10):
        assert not flood.takes(number, 0.0)
    assert len(flood.over(OVER_S)) == MAX_BUCKETS
