import pytest

from fieldhand import dialects, parameters
from fieldhand.errors import BadParameter


def parse(dialect, action, *words):
    return parameters.parse("n", dialects.unbound(dialect).command(action), words)


def test_words_become_what_the_table_says():
    assert parse("dese", "set_pump", "pump_id=1", "state=on", "duration=3600") == {
        "pump_id": 1,
        "state": "on",
        "duration": 3600,
    }
    assert parse("dese", "set_ph_target", "target_ph=7.2") == {"target_ph": 7.2}
    assert parse("plantnanny", "pump_water", "amountMl=50") == {"amountMl": 50}
    assert parse("solar", "start_cleaning", "mode=a=b") == {"mode": "a=b"}
    assert parse("dese", "reboot") == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["pumpid=1"],
            "pumpid: is not a parameter (did you mean 'pump_id'?); it takes: pump_id (w",
        ),
        (["pump_id"], "pump_id: is not NAME=VALUE"),
        (["=1"], "=1: is not NAME=VALUE"),
        (["pump_id=1.5"], "pump_id: '1.5' is not a whole number"),
        (["pump_id=1", "pump_id=2"], "pump_id: is given twice"),
    ],
)
def test_what_is_wrong_is_said(words, expected):
    with pytest.raises(BadParameter) as caught:
        parse("dese", "set_pump", *words)
    assert str(caught.value).startswith(f"node 'n': set_pump: {expected}")


def test_a_number_is_a_number():
    with pytest.raises(BadParameter, match="'warm' is not a number"):
        parse("dese", "set_ph_target", "target_ph=warm")
