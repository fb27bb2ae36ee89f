"""How long a node waits before it tries again."""

import random

from fieldnode.backoff import BASE_MS, CAP_MS, STABLE_MS, Backoff


def test_ceiling_doubles_up_to_the_cap():
    backoff = Backoff(lambda bits: (1 << bits) - 1)
    waits = [backoff.next_ms() for _ in range(40)]
    for number, wait in enumerate(waits):
        ceiling = min(CAP_MS, BASE_MS * 2**number)
        assert ceiling * 0.99 <= wait < ceiling, (number, wait)
    assert waits[-1] > CAP_MS * 0.99


def test_jitter_is_full():
    assert Backoff(lambda bits: 0).next_ms() == 0
    random.seed(7)
    waits = []
    for _ in range(1000):
        backoff = Backoff(random.getrandbits)
        for _ in range(4):
            wait = backoff.next_ms()
        waits.append(wait)
    for eighth in range(8):
        inside = sum(eighth * 1000 <= wait < (eighth + 1) * 1000 for wait in waits)
        assert 80 < inside < 170, (eighth, inside)


def test_starts_over_only_after_a_stable_connection():
    backoff = Backoff(lambda bits: (1 << bits) - 1)
    for _ in range(5):
        backoff.next_ms()
    backoff.held(STABLE_MS - 1)
    assert backoff.next_ms() > 30000
    backoff.held(STABLE_MS)
    assert backoff.next_ms() < BASE_MS


def test_thousand_nodes_do_not_come_at_once():
    random.seed(1)
    per_second = [0] * 300
    for _ in range(1000):
        backoff = Backoff(random.getrandbits)
        at = 0
        while at < 300000:
            at += backoff.next_ms()
            if at < 300000:
                per_second[at // 1000] += 1
    # The broker stays away for the five minutes; the first tries are within the first second.
    assert max(per_second[60:]) < 60, max(per_second[60:])
    assert sum(per_second[60:]) > 1000, "they go on trying"
