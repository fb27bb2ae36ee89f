"""node.json as the host seals it."""

import binascii
import json

import pytest
from e2e.nodes import example

from fieldhand.building import nodefile
from fieldproto import nodeconfig
from fieldproto.schema import FieldError


@pytest.mark.parametrize("name", ["greenhouse", "panel-7", "pool", "01", "farm_001"])
def test_it_has_all_that_the_check_gives_and_ends_with_the_checksum(name: str) -> None:
    settings = example(name, 1883)
    text = nodefile.text(settings)
    sealed = json.loads(text)
    seal = sealed.pop("seal")
    assert sealed == nodeconfig.load(settings)
    assert len(seal["sensors"]) == len(settings["sensors"])
    data = text.encode()
    assert data.endswith(b'"}}\n') and int(data[-12:-4], 16) == binascii.crc32(data[:-12])
    # Edited by hand, it is still one that the check takes.
    assert nodeconfig.load(dict(json.loads(text), interval_ms=7000))["interval_ms"] == 7000


def test_what_would_not_do_is_not_sealed() -> None:
    with pytest.raises(FieldError, match="interval_ms"):
        nodefile.text(example("greenhouse", 1883, interval_ms=1))
