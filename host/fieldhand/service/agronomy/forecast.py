"""Soil moisture some hours ahead, if nobody waters and no rain falls.

Three ways: `naive` (as it is now), `physical` (FAO-56's water balance) and `ridge`, a linear model
trained on the farm's own history by `training`. A model file is JSON: loading one runs nothing.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from fieldhand.errors import FieldhandError
from fieldhand.service import farm
from fieldhand.service.agronomy import evaporation, radiation, soilwater, vpd, weather
from fieldhand.service.agronomy.results import Error
from fieldhand.service.agronomy.weather import Hours
from fieldhand.service.farm import FarmSettings
from fieldhand.service.store.agronomy import HOUR_S

FORMAT = 1
DEFAULT_HORIZON_H = 6
MAX_HORIZON_H = 72
# A farm that changes faster than its history did is no case for what was learnt from that.
MARGIN = 0.1
MAX_FILE = 65_536

# Of the features.
UNITS = {
    "moisture": "%",
    "change_3h": "%",
    "day_sin": "",
    "day_cos": "",
    "vpd": "kPa",
    "wind": "km/h",
    "et0": "mm/day",
}

Way = Literal["ridge", "physical", "naive"]
Numbers = Annotated[list[FiniteFloat], Field(max_length=32)]


class ModelFileError(FieldhandError):
    """A model file cannot be read, written or used."""


class Model(BaseModel):
    """What `fieldhand agronomy train` found out about a farm. `chosen` is the way to predict.

    `features` in the order of the lists of numbers; `low` and `high` are their range in training.
    The coefficients are of standardised features; they give the change in percentage points.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    node: str
    # What held when it was trained: its errors say nothing of another soil.
    place: FarmSettings
    horizon_h: int = Field(ge=1, le=MAX_HORIZON_H)
    chosen: Way
    why: str
    trained: str
    first: str | None
    last: str | None
    samples: int = Field(ge=0)
    errors: dict[Way, Error]
    features: Annotated[list[str], Field(max_length=32)] = Field(default_factory=list)
    mean: Numbers = Field(default_factory=list)
    scale: Numbers = Field(default_factory=list)
    low: Numbers = Field(default_factory=list)
    high: Numbers = Field(default_factory=list)
    coefficients: Numbers = Field(default_factory=list)
    intercept: FiniteFloat = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        lists = (self.mean, self.scale, self.low, self.high, self.coefficients)
        if any(len(numbers) != len(self.features) for numbers in lists):
            raise ValueError("its lists of numbers are not of the same length")
        if not set(self.features) <= set(UNITS):
            raise ValueError("it has a feature that is not known here")
        if any(value <= 0 for value in self.scale):
            raise ValueError("a scale is not above 0")
        if self.chosen == "ridge" and not self.features:
            raise ValueError("a ridge model has features")
        return self


def features(hours: Hours, hour: int, place: FarmSettings) -> dict[str, float] | None:
    """What a prediction starts from at the end of `hour`; None where the moisture is not known.

    Moisture in %, its change in points, VPD in kPa, wind in km/h, ET0 in mm/day; the time of the
    day as a point on a circle. What the node does not measure is left out.
    """
    spans = hours.get(hour, {})
    before = hours.get(hour - 3, {})
    if weather.MOISTURE not in spans or weather.MOISTURE not in before:
        return None
    moisture = spans[weather.MOISTURE].mean
    angle = math.tau * (hour % 24) / 24
    found = {
        "moisture": moisture,
        "change_3h": moisture - before[weather.MOISTURE].mean,
        "day_sin": math.sin(angle),
        "day_cos": math.cos(angle),
    }
    if weather.TEMPERATURE in spans and weather.HUMIDITY in spans:
        temperature, humidity = spans[weather.TEMPERATURE].mean, spans[weather.HUMIDITY].mean
        found["vpd"] = vpd.deficit(temperature, humidity)
    if weather.WIND in spans:
        found["wind"] = spans[weather.WIND].mean
    et0 = reference(hours, hour, place)
    if et0 is not None:
        found["et0"] = et0
    return found


def reference(hours: Hours, hour: int, place: FarmSettings) -> float | None:
    """ET0, mm/day, of the 24 hours that end with `hour`; None where it cannot be known."""
    day = weather.day(hours, hour)
    if day is None:
        return None
    return evaporation.reference(day, weather.day_of_year(hour), place).value


def day_share(place: FarmSettings, hour: float, horizon_h: int) -> tuple[float, str]:
    """Which share of a day's ET0 falls into `horizon_h` hours from `hour` (Unix time / 3600) on.

    As much as of the day's extraterrestrial radiation (FAO-56 eq. 21 and 28); without a longitude,
    which says when the sun is up, as much as of the day's hours. And how it was found.
    """
    if place.latitude is None or place.longitude is None:
        return horizon_h / 24, "longitude is not set: spread evenly over the day"
    total = 0.0
    for n in range(horizon_h):
        middle = hour + n + 0.5
        day = time.gmtime(middle * HOUR_S).tm_yday
        whole = radiation.extraterrestrial(place.latitude, day)
        if whole > 0:
            part = radiation.extraterrestrial_hour(
                place.latitude, place.longitude, day, middle % 24
            )
            total += part / whole
    return total, "as the extraterrestrial radiation, FAO-56 eq. 21 and 28"


def physical(moisture: float, et0: float, place: FarmSettings, days: float) -> float:
    """Moisture in % after the crop took its water at ET0 mm/day for `days` days.

    FAO-56 eq. 58 (ETc = Kc ET0), 84 (Ks) and 85 (the balance) without rain, irrigation, capillary
    rise and deep percolation.
    """
    depth = place.root_depth or farm.ROOT_DEPTH
    capacity = (place.field_capacity or farm.FIELD_CAPACITY) / 100
    wilting = place.wilting_point if place.wilting_point is not None else farm.WILTING_POINT
    crop_et = max(0.0, et0) * (place.crop_coefficient or farm.CROP_COEFFICIENT)
    p = soilwater.depletion_fraction(place.depletion_fraction or farm.DEPLETION_FRACTION, crop_et)
    taw = soilwater.total_available(capacity, wilting / 100, depth)
    ks = soilwater.stress(taw, soilwater.depletion(moisture / 100, capacity, depth, taw), p)
    return max(0.0, moisture - soilwater.drying(crop_et, ks, days) / (10 * depth))


def ridge(model: Model, found: dict[str, float]) -> float:
    """The trained model's moisture in %. Raises ValueError, with the reason, where it is no use."""
    change = model.intercept
    for n, name in enumerate(model.features):
        if name not in found:
            raise ValueError(f"it was trained with {name}, which is not known now")
        value = found[name]
        slack = MARGIN * (model.high[n] - model.low[n])
        if not model.low[n] - slack <= value <= model.high[n] + slack:
            raise ValueError(
                f"{name} is {value:.4g}, in its training {model.low[n]:.4g} to {model.high[n]:.4g}"
            )
        change += model.coefficients[n] * (value - model.mean[n]) / model.scale[n]
    return min(100.0, max(0.0, found["moisture"] + change))


def steps(hours: Hours, horizon_h: int) -> Iterator[int]:
    """The hours of which both the moisture and that of `horizon_h` later are known."""
    for hour in sorted(hours):
        later = hours.get(hour + horizon_h, {})
        if weather.MOISTURE in hours[hour] and weather.MOISTURE in later:
            yield hour


# -- files -----------------------------------------------------------------------------------------


def path_of(folder: Path, node: str) -> Path:
    """Where the model of a node (its public id) is kept."""
    return folder / f"{quote(node, safe='')}.json"


def save(model: Model, path: Path) -> None:
    """Write it whole or not at all. Raises ModelFileError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".model", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(model.model_dump_json(indent=1) + "\n")
        os.replace(name, path)
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from error


def load(path: Path) -> Model | None:
    """The model in a file; None where there is none. Raises ModelFileError, one line."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from error
    if len(text) > MAX_FILE:
        raise ModelFileError(f"{path}: is longer than {MAX_FILE} bytes")
    try:
        data = json.loads(text)
        if isinstance(data, dict) and data.get("format") != FORMAT:
            raise ModelFileError(
                f"{path}: is of format {data.get('format')!r}, not {FORMAT}: train it again"
            )
        return Model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelFileError(f"{path}: {where or 'it'}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise ModelFileError(f"{path}: is not JSON") from None
