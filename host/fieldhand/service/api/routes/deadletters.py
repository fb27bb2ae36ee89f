"""Messages that were refused, for the operator: they are of no organisation."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from fieldhand.service.api.deps import NO_NUL, Operator, ReadDb
from fieldhand.service.store import deadletters
from fieldhand.service.store.deadletters import DeadLetter

router = APIRouter(tags=["operations"])

# Bytes of a payload shown in a list.
SHOWN = 200

_LETTER: dict[str, JsonValue] = {
    "id": 5,
    "topic": "devices/farm_001/pump-1/telemetry",
    "size": 17,
    "payload": '{"ph": "acidic"}',
    "reason": "ph: is no number",
    "dialect": "dese",
    "field": "ph",
    "received": 1781000000.4,
    "replayed": None,
}


class DeadLetterOut(BaseModel):
    """A refused message. `payload`: its beginning as text, what is none shown as \ufffd."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LETTER]})

    id: int
    topic: str
    size: int = Field(description="bytes of the payload as it came")
    payload: str
    reason: str
    dialect: str | None
    field: str | None
    received: float
    replayed: float | None


class WholeDeadLetter(DeadLetterOut):
    """`base64` has the bytes that were kept; all of them if `whole`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [_LETTER | {"base64": "eyJwaCI6ICJhY2lkaWMifQ==", "whole": True}]
        }
    )

    base64: str
    whole: bool


class DeadLetterPage(BaseModel):
    """The newest first. `next` is the `before` of the page that follows, null on the last."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dead_letters": [_LETTER], "total": 1, "next": None}]}
    )

    dead_letters: list[DeadLetterOut]
    total: int
    next: int | None


_NONE: dict[int | str, dict[str, Any]] = {404: {"description": "no dead letter 5"}}


@router.get("/dead-letters", summary="List refused messages")
def list_dead_letters(
    caller: Operator,
    connection: ReadDb,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    topic: Annotated[str | None, Query(max_length=1_000, pattern=NO_NUL)] = None,
    waiting: Annotated[bool, Query(description="only those not yet replayed")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> DeadLetterPage:
    """Why they were refused. `fieldhand dead-letter replay` sends them again."""
    rows = deadletters.listing(connection, before=before, topic=topic, waiting=waiting, limit=limit)
    return DeadLetterPage(
        dead_letters=[DeadLetterOut(**_told(letter)) for letter in rows],
        total=deadletters.count(connection),
        next=rows[-1].id if len(rows) == limit else None,
    )


@router.get("/dead-letters/{letter_id}", summary="One refused message", responses=_NONE)
def one_dead_letter(
    letter_id: Annotated[int, Path(ge=1, le=2**62)], caller: Operator, connection: ReadDb
) -> WholeDeadLetter:
    """With all of it that was kept."""
    letter = deadletters.get(connection, letter_id)
    if letter is None:
        raise HTTPException(404, f"no dead letter {letter_id}")
    shown = _told(letter, len(letter.payload))
    encoded = base64.b64encode(letter.payload).decode()
    return WholeDeadLetter(**shown, base64=encoded, whole=letter.whole)


def _told(letter: DeadLetter, shown: int = SHOWN) -> dict[str, Any]:
    return {
        "id": letter.id,
        "topic": letter.topic,
        "size": letter.size,
        "payload": letter.payload[:shown].decode("utf-8", "replace"),
        "reason": letter.reason,
        "dialect": letter.dialect,
        "field": letter.field,
        "received": letter.received,
        "replayed": letter.replayed,
    }
