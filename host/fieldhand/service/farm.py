"""What a farm is, as far as its node cannot measure it: [service.agronomy.NAME] of fleet.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

# The name under which settings hold for every farm that says nothing else.
EVERY = "*"


class FarmSettings(BaseModel):
    """A farm's place, crop and soil. Defaults are FAO-56's where it has one, and told as such."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latitude: float | None = Field(None, ge=-90, le=90, description="degrees, north positive")
    longitude: float | None = Field(None, ge=-180, le=180, description="degrees, east positive")
    altitude: float | None = Field(None, ge=-430, le=6000, description="m above the sea")
    coastal: bool = Field(False, description="kRs of eq. 50 is 0.19 rather than 0.16")
    radiation: float | None = Field(None, ge=0, le=50, description="Rs, MJ/m² per day")
    wind_height: float | None = Field(None, ge=0.5, le=100, description="m, of the anemometer")
    crop_coefficient: float | None = Field(None, ge=0.01, le=2, description="Kc, FAO-56 table 12")
    root_depth: float | None = Field(None, ge=0.01, le=5, description="m, FAO-56 table 22")
    depletion_fraction: float | None = Field(
        None, ge=0.01, le=0.99, description="p, FAO-56 table 22"
    )
    field_capacity: float | None = Field(
        None, gt=0, le=100, description="the soil sensor's % a day after rain, FAO-56 table 19"
    )
    wilting_point: float | None = Field(
        None, ge=0, lt=100, description="the soil sensor's % where plants wilt, FAO-56 table 19"
    )
    irrigation_efficiency: float | None = Field(
        None, ge=0.05, le=1, description="share of the water that reaches the roots"
    )
    npk_low: float | None = Field(
        None, ge=0, le=1023, description="raw NPK value below which the soil is poor"
    )

    @model_validator(mode="after")
    def _soil(self) -> FarmSettings:
        high = self.field_capacity if self.field_capacity is not None else FIELD_CAPACITY
        low = self.wilting_point if self.wilting_point is not None else WILTING_POINT
        if low > high - NARROWEST:
            raise ValueError(
                f"wilting_point ({low:g} %) is not a point below field_capacity ({high:g} %)"
            )
        return self


# Points between wilting and field capacity: less is no soil.
NARROWEST = 1.0

# Where nothing is said; each appears in a result's inputs as "estimated", with these words.
ALTITUDE = 0.0
ALTITUDE_HOW = "not set: sea level"
WIND = 2.0
WIND_HOW = "not measured: 2 m/s, FAO-56 chapter 3, the mean of 2000 stations"
# Also in a calm the ground warms the air, which rises and takes vapour with it.
CALM = 0.5
CALM_HOW = "calm: reckoned with 0.5 m/s, FAO-56 chapter 3"
WIND_HEIGHT = 2.0
WIND_HEIGHT_HOW = "not set: 2 m, FAO-56's standard"
CROP_COEFFICIENT = 1.0
CROP_COEFFICIENT_HOW = "not set: 1, the reference grass"
ROOT_DEPTH = 0.5
ROOT_DEPTH_HOW = "not set: 0.5 m, vegetables of FAO-56 table 22"
DEPLETION_FRACTION = 0.5
DEPLETION_FRACTION_HOW = "not set: 0.5, FAO-56 chapter 8"
# FAO-56 table 19: loam 20-30 and 7-17 %.
FIELD_CAPACITY = 25.0
FIELD_CAPACITY_HOW = "not set: 25 %, loam of FAO-56 table 19"
WILTING_POINT = 12.0
WILTING_POINT_HOW = "not set: 12 %, loam of FAO-56 table 19"
EFFICIENCY = 0.75
EFFICIENCY_HOW = "not set: 0.75, sprinklers, FAO Training Manual 4 (1989) table 8"


def farm_of(
    settings: Mapping[str, FarmSettings], name: str, options: Mapping[str, Any]
) -> FarmSettings:
    """A farm's settings: those of every farm, its own, and its node's option `agronomy`.

    The later win. Raises ValueError for an option that is wrong.
    """
    values: dict[str, Any] = {}
    for key in (EVERY, name):
        if key in settings:
            values |= settings[key].model_dump(exclude_unset=True)
    own = options.get("agronomy")
    if isinstance(own, Mapping):
        values |= own
    try:
        return FarmSettings.model_validate(values)
    except ValidationError as error:
        item = error.errors()[0]
        where = ".".join(["agronomy", *(str(part) for part in item["loc"])])
        raise ValueError(f"{where}: {item['msg']}") from None
