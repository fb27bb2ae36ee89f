"""What is said of a setting that is wrong."""

import pytest

from fieldhand.errors import ConfigError
from fieldhand.service import settings
from fieldproto import jsonstrict


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"store_every": {"famr": 30}},
            "service.store_every: unknown dialect 'famr' (did you mean 'farm'?)",
        ),
        ({"dialects": ["famr"]}, "service.dialects: unknown dialect 'famr' (did you mean 'farm'?)"),
        ({"store_every": {"farm": -1}}, "service.store_every.farm: input should be greater"),
        (
            {"store_every": {"farm": float("nan")}},
            "service.store_every.farm: input should be a fin",
        ),
        ({"max_payload": 16_385}, "service.max_payload: input should be less than or equal to 163"),
        ({"max_paylod": 300}, "service.max_paylod: is not a setting (did you mean 'max_payload'?)"),
    ],
)
def test_a_wrong_setting_is_named(values, problem):
    with pytest.raises(ConfigError) as caught:
        settings.load(values, environment={})
    (said,) = caught.value.problems
    assert said.startswith(problem)


def test_as_long_a_message_as_is_let_in_is_read():
    longest = settings.load({}, environment={}).max_payload
    assert jsonstrict.loads(b'"' + b"x" * (longest - 2) + b'"') == "x" * (longest - 2)
    with pytest.raises(ValueError, match=f"over the limit of {longest}"):
        jsonstrict.loads(b'"' + b"x" * (longest - 1) + b'"')
