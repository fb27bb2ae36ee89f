import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldproto import sensortable, sensortypes
from fieldproto.quantities import UNITS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = sorted({k for t in sensortable.TYPES.values() for k in t["keys"]} | set(sensortable.COMMON))
TABLE = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(sensortable.TYPES))},
    optional={key: JSON | st.sampled_from(sorted(UNITS)) for key in KEYS},
)


@given(st.lists(JSON | TABLE, max_size=3) | JSON)
def test_anything_is_accepted_or_refused_with_its_place(configs: Any) -> None:
    try:
        sensortypes.check(configs)
    except sensortypes.SensorConfigError as problem:
        assert problem.path.startswith("sensors")
        assert problem.reason
    else:
        assert {q for c in configs for q in sensortypes.yields(c)} <= set(UNITS)


@pytest.mark.parametrize("kind", sorted(sensortable.TYPES))
def test_the_table_is_complete(kind: str) -> None:
    entry = sensortable.TYPES[kind]
    for key, (type_, required, lo, hi, doc) in entry["keys"].items():
        assert doc and isinstance(required, bool), key
        if type_ == "choice":
            assert lo and hi is None
        elif type_ in ("pin", "in_pin", "adc_pin", "int", "number", "pair"):
            assert lo < hi
        else:
            assert type_ in ("bool", "rom")
    quantity = entry["keys"].get("quantity")
    choices = quantity[2] if quantity else [None]
    for choice in choices:
        found = sensortypes.measures({"type": kind} | ({"quantity": choice} if choice else {}))
        assert found and set(found) <= set(UNITS)


def test_the_table_is_plain_data() -> None:
    json.dumps(sensortable.COMMON)
    json.dumps({k: v["keys"] for k, v in sensortable.TYPES.items()})
