"""The dialects there are, for a form to register a node with, and the units of quantities."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from fieldhand import dialectdoc, dialects
from fieldhand.service.api.deps import Reader
from fieldproto.quantities import UNITS

router = APIRouter(tags=["nodes"])


class OptionOut(BaseModel):
    """What a node of the dialect is to be told beside its name, such as whose it is."""

    name: str
    type: str
    required: bool
    default: Any
    doc: str


class DialectOut(BaseModel):
    """A dialect. What its nodes can be told is at /nodes/{node_id}/actions."""

    name: str
    summary: str
    options: list[OptionOut]


class Dialects(BaseModel):
    """All dialects, and canonical quantity -> unit."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dialects": [
                        {
                            "name": "dese",
                            "summary": "DESE: pools",
                            "options": [
                                {
                                    "name": "org",
                                    "type": "string",
                                    "required": True,
                                    "default": None,
                                    "doc": "",
                                }
                            ],
                        }
                    ],
                    "units": {"soil_moisture": "%"},
                }
            ]
        }
    )

    dialects: list[DialectOut]
    units: dict[str, str] = Field(description="what quantities are measured in")


@router.get("/dialects", summary="List dialects")
def list_dialects(caller: Reader) -> Dialects:
    """Those this service speaks, with their options, and the units of quantities."""
    return Dialects(
        dialects=[_dialect(name) for name in dialects.names()],
        units=dict(UNITS),
    )


def _dialect(name: str) -> DialectOut:
    found = dialects.unbound(name)
    return DialectOut(
        name=name,
        summary=dialectdoc.summary(found),
        options=[
            OptionOut(
                name=field.name,
                type=field.type,
                required=field.required,
                default=field.default,
                doc=field.doc,
            )
            for field in found.option_fields
        ],
    )
