"""Passwords, tokens and cookies: how they are made, and what is kept of them.

A password is kept as argon2id (RFC 9106, its second choice: 64 MiB, 3 passes). A token or cookie is
256 random bits and kept as its SHA-256: nobody guesses it, so a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from fieldhand.errors import FieldhandError

READ, COMMAND, ADMIN = "read", "command", "admin"
# Each may what those before it may.
SCOPES = (READ, COMMAND, ADMIN)

TOKEN_PREFIX = "fh_"
TOKEN_BYTES = 32
# Longer ones are not even hashed.
MAX_TOKEN = 128

MIN_PASSWORD, MAX_PASSWORD = 10, 1_000
# Each hash takes 64 MiB and a core for some 0.1 s.
HASHES_AT_ONCE = 2
HASHES_WAITING = 8
HASH_WAIT_S = 5.0


class WeakPassword(FieldhandError):
    """A password that is too short, or too long to be hashed."""


class Busy(FieldhandError):
    """Too many passwords are being checked at this moment."""

    def __init__(self) -> None:
        super().__init__("too many log in at this moment; try again")


def scopes_up_to(scope: str) -> frozenset[str]:
    """`scope` and those it includes. Raises ValueError for one that is none."""
    return frozenset(SCOPES[: SCOPES.index(scope) + 1])


def scopes_text(scopes: Iterable[str]) -> str:
    """How scopes stand in the database: "read command"."""
    wanted = set(scopes)
    return " ".join(scope for scope in SCOPES if scope in wanted)


def new_token() -> str:
    """A token: 256 random bits, and how to tell that it is one."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(secret: str) -> str:
    """What is kept of a token or cookie."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def csrf_of(cookie: str) -> str:
    """The word that changing requests with this cookie have to bring along.

    It follows from the cookie, which no script can read, and does not give it away.
    """
    return hmac.new(cookie.encode(), b"csrf", hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two words are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape")
    )


class Passwords:
    """Hashes and checks passwords, a few at a time."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._running = threading.BoundedSemaphore(HASHES_AT_ONCE)
        self._places = threading.BoundedSemaphore(HASHES_AT_ONCE + HASHES_WAITING)
        self._nobody: str | None = None

    def hash(self, password: str) -> str:
        """What is kept of a password. Raises WeakPassword, Busy."""
        if len(password) < MIN_PASSWORD:
            raise WeakPassword(f"a password has {MIN_PASSWORD} characters or more")
        if len(password) > MAX_PASSWORD:
            raise WeakPassword(f"a password has {MAX_PASSWORD} characters at most")
        with self._place():
            return self._hasher.hash(password)

    def check(self, kept: str | None, password: str) -> bool:
        """Whether it is the password. `kept` None (there is no such person) takes as long.

        Raises Busy.
        """
        with self._place():
            if kept is None:
                if self._nobody is None:
                    self._nobody = self._hasher.hash(secrets.token_hex())
                kept = self._nobody
            try:
                return self._hasher.verify(kept, password)
            except (VerificationError, InvalidHashError):
                return False

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with less than is usual now."""
        return self._hasher.check_needs_rehash(kept)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            if not self._running.acquire(timeout=HASH_WAIT_S):
                raise Busy
            try:
                yield
            finally:
                self._running.release()
        finally:
            self._places.release()
