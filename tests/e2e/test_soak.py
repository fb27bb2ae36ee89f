"""Hours of five nodes in seconds, with everything that can befall one; and whether that is seen.

`make soak HOURS=720` is the same for a month.
"""

import pytest
from soak import soak

SEED = 1
HOURS = 6.0  # of a day with resets, see World.calm


@pytest.mark.parametrize("dialect", soak.DIALECTS)
def test_nothing_is_lost_and_no_harm_done(dialect: str) -> None:
    figures = soak.run(dialect, SEED, HOURS)
    assert not figures["found"], soak.report(figures | {"asked": HOURS})
    assert figures["taken"] == figures["arrived"] + figures["cost"]
    assert figures["taken"] > HOURS * 60 and figures["boots"] > 2 and figures["outages"] > 10


def test_a_seed_is_the_same_run_again() -> None:
    first, second = (soak.run("plantnanny", 5, 6) for _ in range(2))
    for key in ("digest", "taken", "commands", "turns", "boots", "faults"):
        assert first[key] == second[key], key
    assert soak.run("plantnanny", 6, 6)["digest"] != first["digest"]


@pytest.mark.parametrize(
    ("mutation", "dialect", "hours", "seed", "words"),
    [
        ("drops_a_reading", "iotnode", 3, 1, "is lost"),
        ("alters_a_reading", "solar", 1, 1, "altered"),
        ("forgets_what_it_flushed", "iotnode", 2, 1, "is lost"),
        ("sends_after_the_puback", "iotnode", 4, 1, "again after its PUBACK"),
        ("has_the_wrong_time", "iotnode", 3, 1, "61 s off"),
        ("stops_sampling_offline", "iotnode", 6, 1, "no reading for"),
        ("has_no_ledger", "plantnanny", 6, 1, "executed 2 times"),
        ("does_not_answer", "plantnanny", 5, 1, "never answered"),
        ("obeys_what_is_retained", "plantnanny", 4, 1, "executed, retained"),
        ("has_a_dead_timer", "plantnanny", 2, 1, "pump ran"),
        ("ignores_its_budget", "plantnanny", 12, 1, "its budget is"),
        ("has_no_grace", "solar", 2, 1, "after the link was lost"),
        ("tells_an_alert_twice", "iotnode", 4, 1, "alerts of luminosity"),
        ("stays_offline", "iotnode", 4, 1, "nothing in its way"),
        ("sends_packet_id_0", "iotnode", 2, 1, "protocol: "),
        ("leaks", "iotnode", 20, 2, "memory grows"),
    ],
)
def test_the_model_finds(mutation: str, dialect: str, hours: float, seed: int, words: str) -> None:
    figures = soak.run(dialect, seed, hours, mutation)
    assert any(words in text for text in figures["findings"]), figures["findings"][:5]
