"""Who may come in, and what they may see.

There are operators (of no organisation: they see everything) and people and tokens of one
organisation each. While there is neither a person nor a token, programs on this machine are let in
as operator, and nobody else.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import threading
import time
import weakref
from dataclasses import dataclass, field

from fieldhand.errors import FieldhandError
from fieldhand.service.access import credentials
from fieldhand.service.access.credentials import SCOPES, Passwords
from fieldhand.service.access.ratelimit import RateLimit
from fieldhand.service.live.hub import LiveEvent
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import access as store
from fieldhand.service.store.database import Database, StoreError

# Wrong passwords: so many at once, then one in so many seconds.
LOGINS_PER_ACCOUNT, ACCOUNT_EVERY_S = 5, 30.0
LOGINS_PER_ADDRESS, ADDRESS_EVERY_S = 20, 6.0
# How long what was let in outlives what let it in, and how fresh `last_used` is.
HOUSEKEEPING_S = 2.0

_log = logging.getLogger(__name__)


class Unguarded(FieldhandError):
    """Others than this machine could come in, and there is nobody who may."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"listening on {host} needs somebody who may log in: 'fieldhand user add NAME' or "
            "'fieldhand token add NAME' first, or --open to let everybody in"
        )
        self.host = host


class WrongLogin(FieldhandError):
    """No such person, or not their password: which, is not told."""

    def __init__(self) -> None:
        super().__init__("the name or the password is wrong")


class TooOften(FieldhandError):
    """Too many wrong passwords; `seconds` until it may be tried again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, math.ceil(seconds))
        super().__init__(f"too many wrong passwords; try again in {self.seconds} s")


class Grant:
    """What let a caller in: a token, a session, or the place they call from. `ended`: no more."""

    __slots__ = ("__weakref__", "ended", "session", "token")

    def __init__(self, token: int | None = None, session: str | None = None) -> None:
        self.token = token
        self.session = session
        self.ended = False


@dataclass(frozen=True)
class Caller:
    """Who asks. `org` None: the operator, who sees every organisation."""

    name: str
    org: str | None
    scopes: frozenset[str]
    grant: Grant | None = field(default=None, compare=False)

    def may_see(self, org: str | None) -> bool:
        """Whether what belongs to `org` (None: nobody) is theirs to see."""
        return self.org is None or org == self.org

    def still_allowed(self) -> bool:
        """Whether what let them in is good yet: not revoked, expired or taken away."""
        return self.grant is None or not self.grant.ended

    def wants(self, event: LiveEvent) -> bool:
        """Whether a live event is theirs to see."""
        return self.still_allowed() and self.may_see(event.org)


# Whoever is let in without being asked.
LOCAL = Caller("local", None, frozenset(SCOPES))


@dataclass(frozen=True)
class LoggedIn:
    """`cookie` is told to the browser, once. `expires`: Unix seconds."""

    caller: Caller
    cookie: str
    expires: float


class Access:
    """The one who knows everybody. A part of the service; any thread may ask."""

    def __init__(self, database: Database, settings: ServiceSettings) -> None:
        self._database = database
        self._settings = settings
        self._passwords = Passwords()
        self._accounts = RateLimit(LOGINS_PER_ACCOUNT, ACCOUNT_EVERY_S)
        self._addresses = RateLimit(LOGINS_PER_ADDRESS, ADDRESS_EVERY_S)
        self._grants: weakref.WeakSet[Grant] = weakref.WeakSet()
        self._used: dict[int, float] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    # -- life ------------------------------------------------------------------------------------

    def check_bind(self) -> None:
        """Raises Unguarded when strangers could come in."""
        host = self._settings.host
        if self._settings.open or is_loopback(host):
            return
        if not self._anyone():
            raise Unguarded(host)

    def start(self) -> None:
        if not self._anyone():
            _log.warning(
                "there is no person and no token yet: %s; 'fieldhand user add NAME' changes that",
                "everybody is let in" if self._settings.open else "only this machine is let in",
            )
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="access", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # -- who is it -------------------------------------------------------------------------------

    def by_token(self, secret: str) -> Caller | None:
        """Whose token it is; None when it is wrong, expired or revoked. Raises StoreError."""
        if not secret.startswith(credentials.TOKEN_PREFIX) or len(secret) > credentials.MAX_TOKEN:
            return None
        now = time.time()
        with self._database.reading() as connection:
            found = store.token_of(connection, credentials.digest_of(secret))
        if found is None or not found.valid(now):
            return None
        with self._lock:
            self._used[found.id] = now
        return self._caller(f"token {found.name}", found.org, found.scopes, Grant(token=found.id))

    def by_cookie(self, secret: str) -> Caller | None:
        """Who is logged in with it, None for nobody. Raises StoreError."""
        found = self.session(secret)
        if found is None:
            return None
        person = found.person
        return self._caller(person.name, person.org, person.scopes, Grant(session=found.digest))

    def session(self, cookie: str) -> store.Session | None:
        """The session of a cookie. Raises StoreError."""
        if len(cookie) > credentials.MAX_TOKEN:
            return None
        with self._database.reading() as connection:
            return store.session(connection, credentials.digest_of(cookie), time.time())

    def by_place(self, address: str | None) -> Caller | None:
        """The operator, if there is nobody yet and `address` may do without. Raises StoreError."""
        if not self._settings.open and (address is None or not is_loopback(address)):
            return None
        if self._anyone():
            return None
        return self._caller(LOCAL.name, None, " ".join(SCOPES), Grant())

    @property
    def open(self) -> bool:
        """Whether everybody is let in while there is nobody."""
        return self._settings.open

    # -- in and out ------------------------------------------------------------------------------

    def log_in(self, name: str, password: str, address: str) -> LoggedIn:
        """Raises WrongLogin, TooOften, credentials.Busy, StoreError."""
        account = name.casefold()
        wait = self._addresses.take(network_of(address))
        if wait:
            raise TooOften(wait)
        wait = self._accounts.take(account)
        if wait:
            raise TooOften(wait)
        with self._database.reading() as connection:
            person = store.person(connection, name)
        right = self._passwords.check(None if person is None else person.password, password)
        if person is None or not right or person.disabled:
            raise WrongLogin
        self._addresses.give_back(network_of(address))
        self._accounts.give_back(account)
        fresh = self._passwords.outdated(person.password)
        kept = self._passwords.hash(password) if fresh else None
        cookie = credentials.new_token()
        digest = credentials.digest_of(cookie)
        expires = time.time() + self._settings.session_s
        with self._database.writing() as connection:
            if kept is not None:
                store.set_password(connection, person.id, kept, log_out=False)
            store.forget_sessions(connection, time.time())
            store.add_session(connection, digest, person.id, expires)
        grant = Grant(session=digest)
        return LoggedIn(
            self._caller(person.name, person.org, person.scopes, grant), cookie, expires
        )

    def log_out(self, caller: Caller) -> None:
        """End the session of this caller, if they have one. Raises StoreError."""
        grant = caller.grant
        if grant is None or grant.session is None:
            return
        with self._database.writing() as connection:
            store.end_session(connection, grant.session)

    # -- inside ----------------------------------------------------------------------------------

    def _anyone(self) -> bool:
        with self._database.reading() as connection:
            return store.anyone(connection)

    def _caller(self, name: str, org: str | None, scopes: str, grant: Grant) -> Caller:
        self._grants.add(grant)
        return Caller(name, org, frozenset(scopes.split()), grant)

    def _run(self) -> None:
        while not self._ended.wait(HOUSEKEEPING_S):
            self.tidy()
        self.tidy()

    def tidy(self) -> None:
        """End what has expired or been revoked, also for streams that are open; note who was here.

        Does not raise: a database that is away is tried again.
        """
        now = time.time()
        with self._lock:
            used, self._used = self._used, {}
        grants = [grant for grant in list(self._grants) if not grant.ended]
        tokens = {grant.token for grant in grants if grant.token is not None}
        sessions = {grant.session for grant in grants if grant.session is not None}
        try:
            with self._database.reading() as connection:
                good = store.still(connection, sorted(tokens), sorted(sessions), now)
                nobody = not store.anyone(connection)
            for grant in grants:
                if grant.token is not None:
                    grant.ended = grant.token not in good[0]
                elif grant.session is not None:
                    grant.ended = grant.session not in good[1]
                else:
                    grant.ended = not nobody
            if used:
                with self._database.writing() as connection:
                    store.used(connection, used)
        except StoreError:
            with self._lock:
                self._used = used | self._used


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def network_of(address: str) -> str:
    """Whom an address counts for: itself, or its /64, which is one customer in IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
