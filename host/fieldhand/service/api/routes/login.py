"""Logging in and out on the web page, and who one is."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from fieldhand.service.access import callers, credentials
from fieldhand.service.access.access import Caller
from fieldhand.service.api.deps import NO_NUL, CallerDep, ServiceDep
from fieldhand.service.store.access import MAX_NAME

router = APIRouter(tags=["access"])


class Login(BaseModel):
    """A person's name and password."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "ada", "password": "correct horse battery"}]},
    )

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=NO_NUL)]
    password: Annotated[str, Field(min_length=1, max_length=credentials.MAX_PASSWORD)]


class Me(BaseModel):
    """Who asks. `csrf` and `expires` (Unix seconds) are null without a session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "ada",
                    "organisation": "farm_001",
                    "scopes": ["read", "command"],
                    "csrf": "6d1f5b0e7a",
                    "expires": 1782000000.0,
                }
            ]
        }
    )

    name: str
    organisation: str | None = Field(description="null: the operator, who sees all of them")
    scopes: list[str]
    csrf: str | None = Field(description="for the header X-CSRF-Token of changing requests")
    expires: float | None


_WRONG: dict[int | str, dict[str, Any]] = {
    401: {"description": "the name or the password is wrong"},
    403: {"description": "this comes from a page that is not ours"},
    429: {"description": "too many wrong passwords; try again in 30 s"},
}


@router.post("/login", summary="Log in", responses=_WRONG)
def log_in(login: Login, request: Request, response: Response, service: ServiceDep) -> Me:
    """Sets a cookie that no script can read; what the page needs beside it is in the answer.

    Wrong passwords are counted per name and per address: too many are 429 with Retry-After.
    """
    if callers.from_elsewhere(request):
        raise HTTPException(403, "this comes from a page that is not ours")
    found = service.access.log_in(login.name, login.password, callers.address_of(request))
    response.set_cookie(
        callers.cookie_name(request),
        found.cookie,
        max_age=int(found.expires - time.time()),
        path="/",
        secure=callers.is_secure(request),
        httponly=True,
        samesite="strict",
    )
    return _me(found.caller, credentials.csrf_of(found.cookie), found.expires)


@router.post("/logout", summary="Log out", status_code=204)
def log_out(caller: CallerDep, request: Request, response: Response, service: ServiceDep) -> None:
    """Ends the session of the cookie, also for streams that are open. A token is not touched."""
    service.access.log_out(caller)
    response.delete_cookie(
        callers.cookie_name(request),
        path="/",
        secure=callers.is_secure(request),
        httponly=True,
        samesite="strict",
    )


@router.get("/me", summary="Who am I")
def me(caller: CallerDep, request: Request, service: ServiceDep) -> Me:
    """The caller, and what their session needs. 401 says that one has to log in."""
    if caller.grant is None or caller.grant.session is None:
        return _me(caller, None, None)
    cookie = request.cookies[callers.cookie_name(request)]
    session = service.access.session(cookie)
    expires = session.expires if session is not None else None
    return _me(caller, credentials.csrf_of(cookie), expires)


def _me(caller: Caller, csrf: str | None, expires: float | None) -> Me:
    return Me(
        name=caller.name,
        organisation=caller.org,
        scopes=[scope for scope in credentials.SCOPES if scope in caller.scopes],
        csrf=csrf,
        expires=expires,
    )
