"""How a broker may be written on the command line."""

import pytest

from fieldhand.brokerurl import BrokerUrl
from fieldhand.connection import BrokerAddress
from fieldhand.errors import ConfigError

FILE = BrokerAddress("file", 1, "user", "secret", "ca.pem")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b", BrokerAddress("b", 1883, "user", "secret", "ca.pem")),
        ("b:1884", BrokerAddress("b", 1884, "user", "secret", "ca.pem")),
        ("[::1]:1884", BrokerAddress("::1", 1884, "user", "secret", "ca.pem")),
        ("mqtt://b", BrokerAddress("b", 1883, "user", "secret", None)),
        ("mqtts://b", BrokerAddress("b", 8883, "user", "secret", "ca.pem")),
        ("mqtt://me:p%40ss@b:9", BrokerAddress("b", 9, "me", "p@ss", None)),
    ],
)
def test_what_is_said_goes_before_the_file(text, expected):
    assert BrokerUrl.of(text).over(FILE) == expected


@pytest.mark.parametrize("text", ["", "h:p", "h:0", "h:65536", "http://b", "mqtt://", "b/x", "[b"])
def test_what_is_no_broker(text):
    with pytest.raises(ConfigError, match="^--broker: "):
        BrokerUrl.of(text)
