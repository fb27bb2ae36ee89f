"""What went wrong, in one form for all routes: RFC 9457, application/problem+json."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from fieldhand import errors
from fieldhand.records import printable
from fieldhand.service.access.access import TooOften, WrongLogin
from fieldhand.service.access.accounts import NameTaken, UnknownAccount
from fieldhand.service.access.credentials import Busy, WeakPassword
from fieldhand.service.store.database import Silent, StoreError

MEDIA_TYPE = "application/problem+json"
# Fields named in one answer.
MAX_ERRORS = 20
# Which answer a FieldhandError becomes where no route says otherwise; the first that fits.
ANSWERS: tuple[tuple[type[errors.FieldhandError], int], ...] = (
    (WrongLogin, 401),
    (TooOften, 429),
    (Busy, 503),
    (WeakPassword, 422),
    (UnknownAccount, 404),
    (NameTaken, 409),
    (errors.UnknownNode, 404),
    (errors.UnknownAction, 422),
    (errors.BadParameter, 422),
    (errors.BrokerUnavailable, 503),
    (StoreError, 503),
    (errors.CommandFailed, 409),
    (errors.CommandTimeout, 504),
    (errors.FieldhandError, 400),
)
RETRY_AFTER_S = 5
AWAY = "the database is of no use at present; the log says why"

_log = logging.getLogger(__name__)


class FieldProblem(BaseModel):
    """What is wrong with one part of a request."""

    field: str = Field(description="where it stands: query.limit, body.name ...")
    reason: str


class Problem(BaseModel):
    """Why a request was not done (RFC 9457). `detail` is one line for a person."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "no node 'greenhouse'",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str = Field(description="what the status means")
    status: int
    detail: str
    errors: list[FieldProblem] | None = Field(None, description="of each part that is wrong")


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldProblem] | None = None,
) -> JSONResponse:
    """The answer that says it."""
    body = Problem(
        title=title_of(status),
        status=status,
        detail=printable(detail),
        errors=list(errors) if errors else None,
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, media_type=MEDIA_TYPE)


def title_of(status: int) -> str:
    """What a status is called."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def install(app: FastAPI) -> None:
    """Every error of the app becomes a problem."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        detail = _of_body(error) or str(error.detail)
        return problem(error.status_code, detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        if any(item["loc"] == ("body",) for item in found) and not _is_json(request):
            return problem(415, "the body has to be JSON: Content-Type: application/json")
        return invalid(found)

    @app.exception_handler(WebSocketRequestValidationError)
    async def wrong_socket(
        socket: WebSocket, error: WebSocketRequestValidationError
    ) -> JSONResponse:
        return invalid(error.errors())

    @app.exception_handler(errors.FieldhandError)
    async def translated(request: Request, error: errors.FieldhandError) -> JSONResponse:
        status = next(code for kind, code in ANSWERS if isinstance(error, kind))
        headers = {}
        if isinstance(error, TooOften):
            headers["Retry-After"] = str(error.seconds)
        elif status == 503:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        if isinstance(error, StoreError):
            # Where the database is, is nobody's business outside. That it is silent is told once.
            if not isinstance(error, Silent):
                _log.warning("%s %s: %s", request.scope.get("method", "-"), request.url.path, error)
            return problem(status, AWAY, headers)
        return problem(status, str(error), headers)


def invalid(found: Sequence[Any]) -> JSONResponse:
    """422 from pydantic's errors: all that is wrong, without what was sent."""
    fields = [_field(item) for item in found[:MAX_ERRORS]]
    first = f"{fields[0].field}: {fields[0].reason}" if fields else "the request is not valid"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return problem(422, first + more, errors=fields)


def _field(item: Any) -> FieldProblem:
    """What is wrong, where pydantic's words would not say it to whoever wrote the request."""
    where, kind, reason = list(item["loc"]), item["type"], _one_line(item["msg"])
    if kind == "json_invalid":
        what = _one_line(item.get("ctx", {}).get("error", "it ends too early"))
        reason = f"is not JSON: {what}, at character {where.pop() + 1}"
    elif where == ["body"] and kind == "missing":
        reason = "is missing"
    elif where == ["body"] and kind.endswith("_type"):
        reason = "has to be a JSON object"
    elif kind == "finite_number":
        # JSON has no infinity: that is what a number beyond a double's range is read as.
        too_large = isinstance(item["input"], float) and math.isinf(item["input"])
        reason = "is too large a number" if too_large else "has to be a finite number"
    elif kind == "value_error":
        reason = reason.removeprefix("value error, ")
    return FieldProblem(field=".".join(str(part) for part in where), reason=reason)


def _of_body(error: HTTPException) -> str | None:
    """Why a body could not be read at all, where FastAPI keeps that to itself."""
    cause = error.__cause__
    if isinstance(cause, RecursionError):
        return "the body is not JSON anybody can read: it is nested too deep"
    if isinstance(cause, UnicodeDecodeError):
        return f"the body is not UTF-8: {cause.reason} at byte {cause.start + 1}"
    if isinstance(cause, ValueError):
        return "the body has a number of too many digits"
    return None


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].lower() + text[1:]


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
