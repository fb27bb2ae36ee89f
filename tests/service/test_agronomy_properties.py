"""Whatever can be measured and set, an analysis comes out whole, and of finite numbers."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from fieldhand.service.agronomy import weather
from fieldhand.service.agronomy.analysis import Farm, analyse
from fieldhand.service.farm import FIELD_CAPACITY, WILTING_POINT, FarmSettings
from fieldhand.service.store.agronomy import HOUR_S, Span


def within(name):
    low, high = weather.LIMITS[name]
    return st.floats(low, high)


@st.composite
def spans(draw, name):
    low, mean, high = sorted(draw(st.tuples(within(name), within(name), within(name))))
    return Span(draw(st.integers(1, 1200)), mean, low, high)


def hours(last):
    one = st.fixed_dictionaries({}, optional={name: spans(name) for name in weather.QUANTITIES})
    some = st.lists(one, min_size=1, max_size=3)
    # A few different hours, repeated over two days: many days have all 24.
    return some.map(lambda few: {last - n: few[n % len(few)] for n in range(49)})


def maybe(low, high, **more):
    return st.none() | st.floats(low, high, **more)


places = st.builds(
    FarmSettings,
    latitude=maybe(-90, 90),
    longitude=maybe(-180, 180),
    altitude=maybe(-430, 6000),
    coastal=st.booleans(),
    radiation=maybe(0, 50),
    wind_height=maybe(0.5, 100),
    crop_coefficient=maybe(0.01, 2),
    root_depth=maybe(0.01, 5),
    depletion_fraction=maybe(0.01, 0.99),
    field_capacity=maybe(WILTING_POINT + 1, 100),
    wilting_point=maybe(0, WILTING_POINT),
    irrigation_efficiency=maybe(0.05, 1),
    npk_low=maybe(0, 1023),
)
assert WILTING_POINT < FIELD_CAPACITY


@settings(max_examples=150, deadline=None)
@given(
    at=st.integers(0, 4_000_000_000),
    values=st.fixed_dictionaries({}, optional={name: within(name) for name in weather.LIMITS}),
    place=places,
    data=st.data(),
)
def test_an_analysis_is_whole(at, values, place, data):
    known = Farm(float(at), values, data.draw(hours(at // HOUR_S)), place)
    found = analyse(known)
    json.dumps(found.model_dump(), allow_nan=False)
    et0 = found.analysis["et0"]
    assert (et0.value is None) == (et0.missing is not None)
    ahead, water = found.analysis["forecast"], found.analysis["water"]
    if "soil_moisture" in values:
        # Without water from above no soil gets wetter.
        assert 0 <= ahead.value <= values["soil_moisture"] + 1e-4
        assert water.value >= 0
        assert 0 <= water.details["stress_coefficient"] <= 1
    for item in found.recommendations:
        assert set(item.because) <= set(found.analysis)
        assert "None" not in item.text
