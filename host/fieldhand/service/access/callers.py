"""Who sends a request: by its token, its cookie, or where it comes from.

A browser sends cookies along whoever made it ask, and asks this machine for any page that is open
in it. So a changing request with a cookie has to bring the session's CSRF word, a WebSocket with
one has to come from our own page, and so has all that comes without either.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.requests import HTTPConnection

from fieldhand.service.access import credentials
from fieldhand.service.access.access import Access, Caller, is_loopback

CSRF_HEADER = "X-CSRF-Token"
COOKIE = "fieldhand_session"
# Browsers take a cookie of this name only from this very host, and over https.
SECURE_COOKIE = "__Host-fieldhand_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# A proxy sent this on: the address it comes from says nothing.
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def caller_of(connection: HTTPConnection, access: Access) -> Caller:
    """Who asks. Raises HTTPException 401, or 403 for what another site made a browser send."""
    given = connection.headers.get("authorization")
    if given is not None:
        return _by_token(given, access)
    cookie = connection.cookies.get(cookie_name(connection))
    if cookie:
        caller = access.by_cookie(cookie)
        if caller is not None:
            _check_intent(connection, cookie)
            return caller
    caller = _by_place(connection, access)
    if caller is None:
        raise HTTPException(401, "log in, or send a token as 'Authorization: Bearer'", _CHALLENGE)
    return caller


def cookie_name(connection: HTTPConnection) -> str:
    """What the cookie is called here."""
    return SECURE_COOKIE if is_secure(connection) else COOKIE


def is_secure(connection: HTTPConnection) -> bool:
    """Whether it comes over TLS, be it to a proxy that is believed."""
    return connection.url.scheme in ("https", "wss")


def address_of(connection: HTTPConnection) -> str:
    """The address it comes from, "" where there is none."""
    return connection.client.host if connection.client is not None else ""


def from_elsewhere(connection: HTTPConnection) -> bool:
    """Whether a browser sends it for a page that is not ours."""
    origin = connection.headers.get("origin")
    if origin is None:
        return False
    return urlsplit(origin).netloc.lower() != connection.headers.get("host", "").lower()


def _by_token(given: str, access: Access) -> Caller:
    scheme, _, word = given.partition(" ")
    caller = access.by_token(word.strip()) if scheme.lower() == "bearer" else None
    if caller is None:
        raise HTTPException(
            401,
            "the token is wrong, has expired or was revoked",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return caller


def _check_intent(connection: HTTPConnection, cookie: str) -> None:
    if connection.scope["type"] == "websocket":
        if from_elsewhere(connection):
            raise HTTPException(403, "this comes from a page that is not ours")
    elif connection.scope["method"] not in SAFE_METHODS:
        word = connection.headers.get(CSRF_HEADER, "")
        if not credentials.same(word, credentials.csrf_of(cookie)):
            raise HTTPException(403, f"a change needs the header {CSRF_HEADER}: /me tells it")


def _by_place(connection: HTTPConnection, access: Access) -> Caller | None:
    if from_elsewhere(connection):
        return None
    if not access.open:
        if any(name in connection.headers for name in FORWARDED):
            return None
        # Any name may be made to mean this machine: only its own names are ours.
        host = urlsplit("//" + connection.headers.get("host", "")).hostname
        if host is None or not is_loopback(host):
            return None
    return access.by_place(address_of(connection))
