"""What is said of a message that cannot be read."""

import pytest

from fieldhand import dialects
from fieldproto.errors import MessageError


def refusal(dialect, topic, payload):
    with pytest.raises(MessageError) as caught:
        dialects.load(dialect, {}).decode(topic, payload)
    return str(caught.value)


@pytest.mark.parametrize("payload", [b"[1]", b"3"])
def test_what_shares_a_topic_is_called_by_it(payload):
    said = "farm farm/telemetry: is not a JSON object"
    assert refusal("farm", "farm/telemetry", payload) == said


def test_what_is_no_json_has_the_name_of_the_only_message_of_the_topic():
    assert refusal("farm", "farm/telemetry", b"{") == "farm farm/telemetry: is not JSON"
    assert refusal("plantnanny", "devices/a/data", b"{") == "plantnanny data: is not JSON"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        # Finite, but over the 10^15 that a quantity may have.
        ("1e308", "is too large a number"),
        ("-1e16", "is too large a number"),
        (str(2**53), "is too large a number"),
        (str(10**30), "is too large a number"),
        # RFC 8259 lets it be written; binary64 has no such number.
        ("1e999", "is not a finite number"),
    ],
)
def test_a_large_number_is_not_called_infinite(number, reason):
    payload = b'{"temperatureC": %s, "ts": 1795000000}' % number.encode()
    said = refusal("plantnanny", "devices/a/data", payload)
    assert said == f"plantnanny data: temperatureC: {reason}"
