"""Trains the forecast of a farm's soil moisture on its own history; needs scikit-learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fieldhand.service.agronomy import evaporation, forecast, weather
from fieldhand.service.agronomy.forecast import Model, Way
from fieldhand.service.agronomy.results import Error
from fieldhand.service.agronomy.weather import Hours
from fieldhand.service.farm import FarmSettings
from fieldhand.service.store.agronomy import HOUR_S
from fieldproto.timestamps import format_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

# Two weeks of hours: below, what is learnt is the weather of a few days.
MIN_SAMPLES = 14 * 24
FOLDS = 5
# Within a fold's training, to choose the penalty.
PENALTY_FOLDS = 3
# A rise of so many points within an hour is water from above: hours before it are no drying.
RISE = 1.0
# Features that fewer samples have than this share are left out, rather than the samples.
SHARE = 0.9


class Sample:
    """What was known at an hour, the moisture then and `horizon` later."""

    __slots__ = ("after", "features", "hour", "now", "physical")

    def __init__(
        self, hour: int, features: dict[str, float], after: float, physical: float | None
    ) -> None:
        self.hour = hour
        self.features = features
        self.now = features["moisture"]
        self.after = after
        self.physical = physical


def samples(hours: Hours, place: FarmSettings, horizon_h: int) -> list[Sample]:
    """All hours to learn from, in order: both ends are known and no water came in between."""
    found = []
    for hour in forecast.steps(hours, horizon_h):
        known = forecast.features(hours, hour, place)
        if known is None or _watered(hours, hour, horizon_h):
            continue
        et0 = known.get("et0")
        physical = None
        if et0 is not None:
            # The hour's mean is its moisture in the middle.
            share, _ = forecast.day_share(place, hour + 0.5, horizon_h)
            physical = forecast.physical(known["moisture"], et0, place, share)
        after = hours[hour + horizon_h][weather.MOISTURE].mean
        found.append(Sample(hour, known, after, physical))
    return found


def train(hours: Hours, place: FarmSettings, node: str, horizon_h: int, now: float) -> Model:
    """The model of a farm, with the errors of each way on the same hours.

    Cross-validated by `FOLDS` splits in which training always precedes testing, a horizon apart;
    how much the ridge model is held back is found in each fold's training alone, in the same way.
    It is chosen where it beats both others. With fewer than `MIN_SAMPLES` hours it is not trained,
    and physics is left to it. Raises ImportError without scikit-learn, where that is needed.
    """
    found = samples(hours, place, horizon_h)
    names = _names(found)
    usable = [s for s in found if all(name in s.features for name in names)]
    if len(usable) < MIN_SAMPLES:
        why = f"{len(usable)} hours to learn from, {MIN_SAMPLES} are needed"
        balanced = [s for s in found if s.physical is not None]
        lacking = None if balanced else unbalanced(hours, place)
        return _model(
            node,
            place,
            horizon_h,
            now,
            balanced or found,
            chosen="physical",
            why=why if lacking is None else f"{why}; ET0 was not known: {lacking}",
            errors=_plain_errors(balanced or found, folds=0),
        )
    return _trained(hours, usable, names, place, node, horizon_h, now)


def unbalanced(hours: Hours, place: FarmSettings) -> str | None:
    """Why there is no hour with an ET0; None where there is one."""
    if place.latitude is None:
        return evaporation.NO_LATITUDE
    why: str | None = f"no 24 hours of which {weather.DAY_HOURS} have a temperature"
    for hour in hours:
        day = weather.day(hours, hour)
        if day is not None:
            why = evaporation.reference(day, weather.day_of_year(hour), place).missing
            if why is None:
                return None
    return why


def _trained(
    hours: Hours,
    usable: list[Sample],
    names: list[str],
    place: FarmSettings,
    node: str,
    horizon_h: int,
    now: float,
) -> Model:
    import numpy as np
    from sklearn.model_selection import TimeSeriesSplit

    x = np.array([[s.features[name] for name in names] for s in usable])
    y = np.array([s.after - s.now for s in usable])
    tested: list[Sample] = []
    misses: list[float] = []
    # A gap of so many samples is one of as many hours at least.
    for known, new in TimeSeriesSplit(n_splits=FOLDS, gap=horizon_h).split(x):
        fitted = _fit(x[known], y[known], horizon_h)
        misses += [float(miss) for miss in fitted.predict(x[new]) - y[new]]
        tested += [usable[int(n)] for n in new]
    errors = _plain_errors(tested, FOLDS)
    errors["ridge"] = _error(misses, FOLDS)
    scaler, model = _fit(x, y, horizon_h)
    chosen, why = _choose(errors)
    if not errors["naive"].mae:
        why += "; it never changed: is the sensor in the soil?"
    if "physical" not in errors:
        lacking = unbalanced(hours, place) or "ET0 is not known in all these hours"
        why += f"; the water balance is not compared: {lacking}"
    return _model(
        node,
        place,
        horizon_h,
        now,
        usable,
        chosen=chosen,
        why=why,
        errors=errors,
        features=names,
        mean=[float(v) for v in scaler.mean_],
        scale=[float(v) for v in scaler.scale_],
        low=[float(v) for v in x.min(axis=0)],
        high=[float(v) for v in x.max(axis=0)],
        coefficients=[float(v) for v in model.coef_],
        intercept=float(model.intercept_),
    )


def _fit(x: Any, y: Any, horizon_h: int) -> Any:
    """A scaler and a ridge model whose penalty is the best on later hours of `x` alone."""
    import numpy as np
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": np.logspace(-3, 4, 8)},
        scoring="neg_mean_squared_error",
        cv=TimeSeriesSplit(n_splits=PENALTY_FOLDS, gap=horizon_h),
    )
    return search.fit(x, y).best_estimator_


def _choose(errors: dict[Way, Error]) -> tuple[Way, str]:
    best = min(errors, key=lambda way: errors[way].rmse)
    told = ", ".join(f"{way} {error.rmse:.3f}" for way, error in sorted(errors.items()))
    word = "the smallest error" if best == "ridge" else "the ridge model is no better"
    return best, f"{word}: RMSE in points {told}"


def _model(
    node: str,
    place: FarmSettings,
    horizon_h: int,
    now: float,
    used: Sequence[Sample],
    *,
    chosen: Way,
    why: str,
    errors: dict[Way, Error],
    **numbers: object,
) -> Model:
    return Model.model_validate(
        {
            "node": node,
            "place": place,
            "horizon_h": horizon_h,
            "chosen": chosen,
            "why": why,
            "trained": format_utc(int(now)),
            "first": format_utc(used[0].hour * HOUR_S) if used else None,
            "last": format_utc(used[-1].hour * HOUR_S) if used else None,
            "samples": len(used),
            "errors": errors,
            **numbers,
        }
    )


def _names(found: list[Sample]) -> list[str]:
    """The features that nearly all samples have and that are not the same throughout."""
    every: dict[str, list[float]] = {}
    for sample in found:
        for name, value in sample.features.items():
            every.setdefault(name, []).append(value)
    return [
        name
        for name, values in every.items()
        if len(values) >= SHARE * len(found) and max(values) - min(values) > 1e-9
    ]


def _watered(hours: Hours, hour: int, horizon_h: int) -> bool:
    """Whether water came in between; an hour that is missing hides none that stays."""
    last = hours[hour][weather.MOISTURE].mean
    for later in range(hour + 1, hour + horizon_h + 1):
        span = hours.get(later, {}).get(weather.MOISTURE)
        if span is not None:
            if span.mean - last > RISE:
                return True
            last = span.mean
    return False


def _plain_errors(tested: list[Sample], folds: int) -> dict[Way, Error]:
    """Of the ways that need no training, on the same samples."""
    errors: dict[Way, Error] = {}
    if tested:
        errors["naive"] = _error([s.now - s.after for s in tested], folds)
    if tested and all(s.physical is not None for s in tested):
        misses = [s.physical - s.after for s in tested if s.physical is not None]
        errors["physical"] = _error(misses, folds)
    return errors


def _error(misses: list[float], folds: int) -> Error:
    n = len(misses)
    return Error(
        rmse=math.sqrt(math.fsum(miss * miss for miss in misses) / n),
        mae=math.fsum(abs(miss) for miss in misses) / n,
        samples=n,
        folds=folds,
    )
