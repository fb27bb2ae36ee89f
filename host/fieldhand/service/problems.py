"""What went wrong, in one form for all routes: RFC 9457, application/problem+json."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from fieldhand import errors
from fieldhand.records import printable
from fieldhand.service.access import TooOften, WrongLogin
from fieldhand.service.accounts import NameTaken, UnknownAccount
from fieldhand.service.credentials import Busy, WeakPassword
from fieldhand.service.store.database import StoreError

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
        return problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        if any(item["loc"] == ("body",) for item in found) and not _is_json(request):
            return problem(415, "the body has to be JSON: Content-Type: application/json")
        return invalid(found)

    @app.exception_handler(errors.FieldhandError)
    async def translated(request: Request, error: errors.FieldhandError) -> JSONResponse:
        status = next(code for kind, code in ANSWERS if isinstance(error, kind))
        headers = {}
        if isinstance(error, TooOften):
            headers["Retry-After"] = str(error.seconds)
        elif status == 503:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        if isinstance(error, StoreError):
            # Where the database is, is nobody's business outside.
            _log.warning("%s %s: %s", request.scope.get("method", "-"), request.url.path, error)
            return problem(status, "the database does not answer; the log says why", headers)
        return problem(status, str(error), headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "something is broken in the service; its log has the rest")


def invalid(found: Sequence[Any]) -> JSONResponse:
    """422 from pydantic's errors: all that is wrong, without what was sent."""
    fields = [
        FieldProblem(
            field=".".join(str(part) for part in item["loc"]), reason=_one_line(item["msg"])
        )
        for item in found[:MAX_ERRORS]
    ]
    first = f"{fields[0].field}: {fields[0].reason}" if fields else "the request is not valid"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return problem(422, first + more, errors=fields)


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].lower() + text[1:]


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
