"""A thousand nodes come back: what the jitter promises, in virtual time."""

import math
from xml.etree import ElementTree

import pytest
import returning

NODES = 1000
CAP_S = 120.0  # the longest wait, README
SEEDS = (1, 2, 3)


def test_the_waits_are_the_firmwares():
    assert returning.firmware_backoff().CAP_MS == CAP_S * 1000
    assert returning.firmware_backoff().BASE_MS == 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_long_outage_no_second_sees_more_than_chance_allows(seed):
    """By then each wait is anything below 120 s, so 60 s on average and, whenever the broker
    returns, each node comes within a given second with probability 1/60 at most: 17 of 1,000 are
    expected, and 17 + 5 standard deviations are not exceeded in 120 seconds once in 10,000 runs."""
    expected = NODES / (CAP_S / 2)
    bound = expected + 5 * math.sqrt(expected)
    assert bound < 38
    run = returning.simulate(returning.full_jitter, NODES, away_s=900, seed=seed)
    assert len(run.back) == NODES and run.failed(900) == 0
    assert returning.peak(run.attempts, 900) <= bound
    assert run.back[-1] - 900 <= CAP_S + returning.SPREAD_S


@pytest.mark.parametrize("away_s", [5, 15, 60])
def test_after_a_short_outage_too_the_jitter_spreads_them(away_s):
    """Who has failed k times waits anything below 2^k s, and has waited 2^(k-1) s: no second gets
    more than a few times the share it would have if they spread over the time they were away."""
    run = returning.simulate(returning.full_jitter, NODES, away_s)
    fair = NODES / away_s
    assert returning.peak(run.back) <= 3 * fair + 5 * math.sqrt(3 * fair)
    alike = returning.simulate(returning.no_jitter, NODES, away_s)
    assert returning.peak(alike.back) > 0.9 * NODES


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broker_that_takes_twenty_a_second_is_asked_politely_and_takes_all(seed):
    """1,000 at 20 a second are 50 s of work: with jitter few ask in vain, and it ends soon."""
    found = {
        name: returning.simulate(policy, NODES, 60, per_second=20, seed=seed)
        for name, policy in returning.POLICIES.items()
    }
    for run in found.values():
        assert len(run.back) == NODES
        assert returning.peak(run.back) <= 20
    jitter, alike, fixed = found.values()
    assert jitter.failed(60) < NODES
    assert fixed.failed(60) > 10 * NODES and alike.failed(60) > 3 * NODES
    assert jitter.back[-1] - 60 < 50 + 2 * CAP_S
    assert returning.peak(jitter.attempts, 60) < 0.1 * returning.peak(fixed.attempts, 60)


def test_peak_and_counts_by_hand():
    times = [0.0, 0.5, 0.9, 1.0, 1.4, 3.0]
    assert returning.peak(times) == 4  # 0.5 to 1.4
    assert returning.peak(times, since=1.0) == 2
    assert returning.peak([]) == 0
    assert returning.per_second(times, 3.5) == [3, 2, 0, 1]


def test_the_plot_is_svg_with_a_panel_for_each_policy():
    found = {
        name: returning.simulate(policy, 50, 10) for name, policy in returning.POLICIES.items()
    }
    root = ElementTree.fromstring(returning.plot("50 nodes", 10, found, 60))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [name for name in found if any(text.startswith(name) for text in texts)] == list(found)
