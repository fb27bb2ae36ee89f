"""Tokens of programs: made, listed and revoked by an admin of the organisation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field

from fieldhand.service.access import accounts
from fieldhand.service.api.deps import NO_NUL, Admin, ReadDb, WriteDb
from fieldhand.service.store import access as store
from fieldhand.service.store.access import MAX_NAME, Token

router = APIRouter(tags=["access"])

# Tokens of one organisation, revoked ones too.
MAX_TOKENS = 1_000
MAX_DAYS = 36_500

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=NO_NUL)]
TokenId = Annotated[int, Path(ge=1, le=2**62)]

_NONE: dict[int | str, dict[str, Any]] = {404: {"description": "no token 7"}}


class NewToken(BaseModel):
    """What a token is to be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "irrigation script", "scope": "command", "expires_days": 365}]
        },
    )

    name: Name
    scope: Literal["read", "command", "admin"] = Field(
        "read", description="each includes those before it"
    )
    organisation: Name | None = Field(
        None, description="the operator's choice; else one's own. null: an operator's token"
    )
    expires_days: Annotated[float, Field(gt=0, le=MAX_DAYS, allow_inf_nan=False)] | None = None


_TOKEN: dict[str, Any] = {
    "id": 7,
    "name": "irrigation script",
    "organisation": "farm_001",
    "scopes": ["read", "command"],
    "created": 1781000000.0,
    "expires": None,
    "last_used": 1781003600.0,
    "revoked": None,
}


class TokenOut(BaseModel):
    """A token, without itself. Times are Unix seconds."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TOKEN]})

    id: int
    name: str
    organisation: str | None
    scopes: list[str]
    created: float
    expires: float | None
    last_used: float | None = Field(description="to within some seconds")
    revoked: float | None


class MadeToken(TokenOut):
    """`token` is shown this once: it is not kept."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_TOKEN,
                    "last_used": None,
                    "token": "fh_q3J0m1vT9y6bWc5xUe8hKz2nRd7sLp4gFa1iOj3kXyE",
                }
            ]
        }
    )

    token: str


@router.get("/tokens", summary="List tokens")
def list_tokens(caller: Admin, connection: ReadDb) -> list[TokenOut]:
    """Those of one's organisation, the operator's all; revoked ones too."""
    return [TokenOut(**_told(token)) for token in store.tokens(connection, caller.org)]


@router.post("/tokens", summary="Make a token", status_code=201)
def make_token(wanted: NewToken, caller: Admin, connection: WriteDb) -> MadeToken:
    """The answer has the token itself, this once."""
    org = wanted.organisation
    if caller.org is not None:
        if org not in (None, caller.org):
            raise HTTPException(403, "an admin makes tokens of their own organisation")
        org = caller.org
    if len(store.tokens(connection, caller.org, MAX_TOKENS)) >= MAX_TOKENS:
        raise HTTPException(422, f"there are {MAX_TOKENS} tokens already")
    try:
        secret, made = accounts.make_token(
            connection, wanted.name, wanted.scope, org, wanted.expires_days
        )
    except accounts.UnknownAccount as error:
        raise HTTPException(422, str(error)) from None
    return MadeToken(**_told(made), token=secret)


@router.delete("/tokens/{token_id}", summary="Revoke a token", status_code=204, responses=_NONE)
def revoke_token(token_id: TokenId, caller: Admin, connection: WriteDb) -> None:
    """It opens nothing any more; streams it opened end within seconds."""
    accounts.revoke_token(connection, token_id, caller.org)


def _told(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "organisation": token.org,
        "scopes": token.scopes.split(),
        "created": token.created,
        "expires": token.expires,
        "last_used": token.last_used,
        "revoked": token.revoked,
    }
