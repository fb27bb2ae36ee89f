"""What an analysis says, in the form in which it is told: no number without where it comes from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Source = Literal["measured", "set", "estimated", "computed"]


class Input(BaseModel):
    """A number that went into a result.

    Measured by the node, set by a person, computed from what `how` names, or, where none of these
    was to be had, estimated.
    """

    value: float
    unit: str
    source: Source
    how: str


class Error(BaseModel):
    """How far a model was off on this node's own history, in the result's unit, at `samples` hours.

    By time-series cross-validation in `folds`; 0 folds where nothing was trained: on all hours.
    """

    rmse: float
    mae: float
    samples: int
    folds: int


class Result(BaseModel):
    """A number or a class, how it came about, and of what. `missing`: why there is neither."""

    value: float | None = None
    unit: str = ""
    state: str | None = None
    details: dict[str, float | str] = Field(default_factory=dict)
    method: str
    inputs: dict[str, Input] = Field(default_factory=dict)
    error: Error | None = None
    missing: str | None = None


class Recommendation(BaseModel):
    """What to do about `subject`. `because` names the results that say so."""

    subject: Literal["irrigation", "fertilization", "ph", "salinity", "disease"]
    advice: str
    text: str
    amount: float | None = None
    unit: str = ""
    because: list[str]


class Analysis(BaseModel):
    """A farm's analysis at a time (ISO 8601, UTC)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "analysis": {"vpd": {"value": 1.33, "unit": "kPa", "method": "FAO-56"}},
                    "recommendations": [],
                    "timestamp": "2026-01-24T22:30:00Z",
                }
            ]
        }
    )

    analysis: dict[str, Result]
    recommendations: list[Recommendation]
    timestamp: str


def measured(value: float, unit: str, how: str) -> Input:
    return Input(value=_rounded(value), unit=unit, source="measured", how=how)


def given(value: float | None, unit: str, fallback: float, how: str) -> Input:
    """A setting, or what stands in for it."""
    if value is None:
        return Input(value=fallback, unit=unit, source="estimated", how=how)
    return Input(value=value, unit=unit, source="set", how="setting")


def estimated(value: float, unit: str, how: str) -> Input:
    return Input(value=_rounded(value), unit=unit, source="estimated", how=how)


def computed(value: float, unit: str, how: str) -> Input:
    return Input(value=_rounded(value), unit=unit, source="computed", how=how)


def result(
    value: float, unit: str, method: str, inputs: dict[str, Input], **more: object
) -> Result:
    return Result.model_validate(
        {"value": _rounded(value), "unit": unit, "method": method, "inputs": inputs, **more}
    )


def missing(method: str, why: str) -> Result:
    return Result(method=method, missing=why)


def _rounded(value: float) -> float:
    return round(value, 4) + 0.0  # no -0.0
