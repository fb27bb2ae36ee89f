"""Passwords, tokens, sessions, and who is let in while there is nobody."""

import hashlib
import threading
import time

import argon2
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from service.running import WAIT_S, Sse, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fieldhand.service import settings
from fieldhand.service.access import access as access_module
from fieldhand.service.access import accounts, credentials
from fieldhand.service.access.access import Access, Unguarded, is_loopback, network_of
from fieldhand.service.access.callers import COOKIE
from fieldhand.service.access.ratelimit import RateLimit
from fieldhand.service.api import guard, streams
from fieldhand.service.api.app import create_app
from fieldhand.service.live.hub import LiveEvent
from fieldhand.service.service import Service
from fieldhand.service.store import access as store
from fieldhand.service.store import schema
from fieldhand.service.store.database import Database

PASSWORD = "correct horse battery"
HERE = ("127.0.0.1", 50_000)
AWAY = ("192.0.2.7", 50_000)


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """argon2 with the least there is, but where its cost is what is tested."""
    if not any(word in request.node.name for word in ("rfc_9106", "costs_a_hash")):
        monkeypatch.setattr(credentials, "RFC_9106_LOW_MEMORY", argon2.profiles.CHEAPEST)


def service_of(database: Database, **given) -> Service:
    chosen = settings.load({"database": str(database.url), **given}, environment={})
    service = Service(chosen, embedded_port=0)
    service.database = database
    service.access = Access(database, chosen)
    return service


@pytest.fixture
def opened(tmp_path):
    made = Database(f"sqlite:///{tmp_path}/service.db")
    made.open()
    yield made
    made.close()


def client(database, address=HERE, base="http://127.0.0.1:8000", **given) -> TestClient:
    app = create_app(service_of(database, **given))
    return TestClient(app, base_url=base, client=address)


def token(database, scope="read", org=None, days=None) -> str:
    with database.writing() as connection:
        return accounts.make_token(connection, "t", scope, org, days)[0]


def bearer(word: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {word}"}


# -- what is kept ----------------------------------------------------------------------------------


def test_a_password_is_kept_as_argon2id_of_rfc_9106(opened):
    accounts.add_person(opened, "ada", PASSWORD, "admin")
    with opened.reading() as connection:
        kept = store.person(connection, "ada").password
    # RFC 9106, section 4, second recommended option: t=3, m=2^16 KiB, p=4
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    accounts.add_person(opened, "bob", PASSWORD, "admin")
    with opened.reading() as connection:
        assert store.person(connection, "bob").password != kept


def test_a_token_is_kept_as_its_hash_and_nowhere_else(database):
    secret = token(database)
    body = secret.removeprefix("fh_")
    # 256 bits in base64url without padding: 43 characters
    assert len(body) == 43 and secret != token(database)
    with database.reading() as connection:
        rows = [
            str(tuple(row))
            for table in schema.metadata.sorted_tables
            for row in connection.execute(sa.select(table))
        ]
        kept = connection.execute(
            sa.select(schema.token.c.digest).where(schema.token.c.id == 1)
        ).scalar_one()
    assert not any(body in row for row in rows)
    assert kept == hashlib.sha256(secret.encode()).hexdigest()


@pytest.mark.parametrize("password", ["", "short", "x" * 9, "x" * 1_001])
def test_a_weak_password_is_refused(opened, password):
    with pytest.raises(credentials.WeakPassword, match="characters"):
        accounts.add_person(opened, "ada", password, "read")


def test_scopes_are_a_ladder():
    assert credentials.scopes_up_to("read") == {"read"}
    assert credentials.scopes_up_to("command") == {"read", "command"}
    assert credentials.scopes_up_to("admin") == {"read", "command", "admin"}
    with pytest.raises(ValueError):
        credentials.scopes_up_to("root")


def test_an_account_of_an_organisation_that_is_none(opened):
    accounts.add_organisation(opened, "farm_001")
    with pytest.raises(accounts.UnknownAccount, match="did you mean 'farm_001'"):
        accounts.add_person(opened, "ada", PASSWORD, "read", "farm_01")
    with pytest.raises(accounts.NameTaken):
        accounts.add_organisation(opened, "farm_001")


# -- tokens ----------------------------------------------------------------------------------------


def test_a_token_opens_until_it_expires_or_is_revoked(database):
    access = Access(database, settings.load({}, environment={}))
    for_long, expired, revoked = (
        token(database, "command"),
        token(database, days=1),
        token(database),
    )
    with database.writing() as connection:
        hour_ago = time.time() - 3600
        connection.execute(
            schema.token.update().where(schema.token.c.id == 2).values(expires=hour_ago)
        )
        accounts.revoke_token(connection, 3)
    caller = access.by_token(for_long)
    assert caller is not None
    assert (caller.name, caller.org, caller.scopes) == ("token t", None, {"read", "command"})
    assert access.by_token(expired) is None and access.by_token(revoked) is None
    wrong = ["", "fh_", for_long[:-1], for_long.lower(), for_long + "A", "fh_" + "A" * 1000]
    wrong += ["fh_\0", "fh_ü" * 9, "' OR 1=1 --"]
    assert [word for word in wrong if access.by_token(word) is not None] == []


def test_when_a_token_was_used_is_noted(database):
    access = Access(database, settings.load({}, environment={}))
    secret = token(database)
    before = time.time()
    access.by_token(secret)
    access.tidy()
    with database.reading() as connection:
        assert before <= store.tokens(connection)[0].last_used <= time.time()


def test_open_streams_hear_nothing_more_when_what_opened_them_is_gone(database):
    access = Access(database, settings.load({}, environment={}))
    here = access.by_place("127.0.0.1")
    accounts.add_person(database, "ada", PASSWORD, "read")
    secret = token(database)
    by_token = access.by_token(secret)
    entered = access.log_in("ada", PASSWORD, "192.0.2.1")
    event = LiveEvent("reading", {})
    access.tidy()
    assert not here.wants(event)
    assert by_token.wants(event) and entered.caller.wants(event)
    with database.writing() as connection:
        accounts.revoke_token(connection, 1)
    accounts.set_password(database, "ada", PASSWORD + "!")
    access.tidy()
    assert not by_token.wants(event) and not entered.caller.wants(event)


@pytest.fixture
def guarded(tmp_path):
    """A running service with a token and somebody who is logged in, and their headers."""
    with serving(tmp_path, "--broker-port", "0") as running:
        made = Database(f"sqlite:///{tmp_path}/.fieldhand/{settings.DATABASE_NAME}")
        made.open()
        secret = token(made)
        accounts.add_person(made, "ada", PASSWORD, "read")
        entered = Access(made, settings.load({}, environment={})).log_in("ada", PASSWORD, "::1")
        yield running, made, bearer(secret), {"Cookie": f"{COOKIE}={entered.cookie}"}
        made.close()


def test_open_streams_end_when_what_opened_them_is_gone(guarded):
    """Soon, and though nothing happens; a browser and a program are told that it is for good."""
    running, database, program, person = guarded
    address = running.url.replace("http", "ws", 1) + "/live"

    def opened(headers):
        origin = {"Origin": running.url}
        return Sse(running.url, "/live", headers), connect(
            address, additional_headers={**headers, **origin}, open_timeout=WAIT_S
        )

    stream, socket = opened(program)
    other_stream, other_socket = opened(person)
    with database.writing() as connection:
        accounts.revoke_token(connection, 1)
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=WAIT_S)
    assert socket.close_code == streams.SHUT_OUT and socket.close_reason
    assert stream.wait_end()
    # Who still may, listens still: both were looked at together.
    assert not other_stream.ended and other_socket.close_code is None
    accounts.remove_person(database, "ada")
    with pytest.raises(ConnectionClosed):
        other_socket.recv(timeout=WAIT_S)
    assert other_socket.close_code == streams.SHUT_OUT
    assert other_stream.wait_end()


# -- nobody yet ------------------------------------------------------------------------------------


def test_this_machine_alone_is_let_in_while_there_is_nobody(opened):
    me = client(opened).get("/me")
    assert me.status_code == 200
    assert me.json() == {
        "name": "local",
        "organisation": None,
        "scopes": ["read", "command", "admin"],
        "csrf": None,
        "expires": None,
    }
    assert client(opened, AWAY).get("/me").status_code == 401
    assert client(opened, ("::1", 9), "http://localhost:8000").get("/me").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "192.0.2.7"},
        {"Forwarded": "for=192.0.2.7"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_what_only_seems_to_come_from_this_machine_is_not_let_in(opened, headers):
    """A proxy's requests, a name that was made to mean this machine, another site's page."""
    assert client(opened).get("/me", headers=headers).status_code == 401


def test_our_own_page_is_let_in(opened):
    headers = {"Origin": "http://127.0.0.1:8000"}
    assert client(opened).get("/me", headers=headers).status_code == 200


def test_the_first_account_shuts_the_door(opened):
    inside = client(opened)
    assert inside.get("/nodes").status_code == 200
    secret = token(opened)
    assert inside.get("/nodes").status_code == 401
    assert inside.get("/nodes", headers=bearer(secret)).status_code == 200
    with opened.writing() as connection:
        accounts.revoke_token(connection, 1)
    # A revoked token opens nothing, and does not open the door again.
    assert inside.get("/nodes").status_code == 401


def test_open_lets_everybody_in_while_there_is_nobody(opened):
    away = client(opened, AWAY, "http://farm.example", open=True)
    assert away.get("/nodes").status_code == 200
    forged = away.post("/organisations", json={"id": "x"}, headers={"Origin": "http://evil"})
    assert forged.status_code == 401
    token(opened)
    assert away.get("/nodes").status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "farm.example"])
def test_others_may_not_come_while_there_is_nobody(opened, host):
    access = Access(opened, settings.load({"host": host}, environment={}))
    with pytest.raises(Unguarded, match="fieldhand user add") as caught:
        access.check_bind()
    assert "\n" not in str(caught.value)
    Access(opened, settings.load({"host": host, "open": True}, environment={})).check_bind()
    token(opened)
    access.check_bind()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_what_means_this_machine(host, expected):
    assert is_loopback(host) is expected


# -- logging in ------------------------------------------------------------------------------------


@pytest.fixture
def ada(opened):
    accounts.add_organisation(opened, "alpha")
    accounts.add_person(opened, "ada", PASSWORD, "admin", "alpha")
    return opened


def enter(web: TestClient, name="ada", password=PASSWORD, **headers):
    return web.post("/login", json={"name": name, "password": password}, headers=headers)


def test_a_person_logs_in_and_out(ada):
    web = client(ada, AWAY, "http://farm.example")
    entered = enter(web)
    assert entered.status_code == 200
    told = entered.json()
    assert told["name"] == "ada" and told["organisation"] == "alpha"
    assert told["expires"] == pytest.approx(time.time() + 604_800, abs=60)
    cookie = entered.headers["set-cookie"]
    assert cookie.startswith("fieldhand_session=fh_")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts and "secure" not in parts
    assert web.get("/me").json() == told
    assert web.post("/logout").status_code == 403
    left = web.post("/logout", headers={"X-CSRF-Token": told["csrf"]})
    assert left.status_code == 204
    web.cookies.set("fieldhand_session", cookie.partition("=")[2].partition(";")[0])
    assert web.get("/me").status_code == 401


def test_over_https_the_cookie_is_for_https_and_this_host(ada):
    web = client(ada, AWAY, "https://farm.example")
    entered = enter(web)
    cookie = entered.headers["set-cookie"]
    # RFC 6265bis: a __Host- cookie is Secure, has Path=/ and no Domain
    assert cookie.startswith("__Host-fieldhand_session=")
    assert "; Secure" in cookie and "; Path=/" in cookie and "Domain" not in cookie
    assert entered.headers["strict-transport-security"] == "max-age=31536000"
    assert web.get("/me").status_code == 200


def test_a_change_with_the_cookie_needs_the_csrf_word(ada):
    web = client(ada, AWAY, "http://farm.example")
    csrf = enter(web).json()["csrf"]
    wanted = {"name": "script"}
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": csrf[:-1]}, {"X-CSRF-Token": "ü"}):
        sent = {name: value.encode() for name, value in headers.items()}
        assert web.post("/tokens", json=wanted, headers=sent).status_code == 403
    assert web.get("/tokens").json() == []
    made = web.post("/tokens", json=wanted, headers={"X-CSRF-Token": csrf})
    assert made.status_code == 201
    # A token comes with no cookie, so nobody else's page can send it.
    other = client(ada, AWAY)
    assert other.get("/nodes", headers=bearer(made.json()["token"])).status_code == 200


def test_a_wrong_login_tells_nothing(ada):
    web = client(ada, AWAY)
    wrong = enter(web, password="wrong horse battery")
    nobody = enter(web, name="eve")
    assert wrong.status_code == nobody.status_code == 401
    assert wrong.json() == nobody.json()
    assert "set-cookie" not in wrong.headers


def test_nobody_there_costs_a_hash_as_well(ada, monkeypatch):
    """Or the time would tell who there is."""
    passwords = credentials.Passwords()
    checked = []
    verify = type(passwords._hasher).verify

    def counted(hasher, kept, password):
        checked.append(kept)
        return verify(hasher, kept, password)

    monkeypatch.setattr(type(passwords._hasher), "verify", counted)
    assert passwords.check(None, PASSWORD) is False
    assert len(checked) == 1 and checked[0].startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_wrong_passwords_are_limited_per_account_and_the_right_one_waits_too(ada):
    web = client(ada, AWAY)
    burst = access_module.LOGINS_PER_ACCOUNT
    answers = [enter(web, password=f"wrong horse {n}").status_code for n in range(burst)]
    assert answers == [401] * burst
    late = enter(web)
    assert late.status_code == 429
    assert 1 <= int(late.headers["retry-after"]) <= access_module.ACCOUNT_EVERY_S
    assert late.headers["content-type"] == "application/problem+json"


def test_right_passwords_do_not_count(ada):
    web = client(ada, AWAY)
    for _ in range(access_module.LOGINS_PER_ACCOUNT + 2):
        assert enter(web).status_code == 200
    with ada.reading() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(schema.session)).scalar()
    assert count == access_module.LOGINS_PER_ACCOUNT + 2


def test_many_names_from_one_address_are_limited(ada, monkeypatch):
    monkeypatch.setattr(access_module, "LOGINS_PER_ADDRESS", 3)
    app = create_app(service_of(ada))
    one, other = (TestClient(app, client=address) for address in (AWAY, ("192.0.2.8", 1)))
    assert [enter(one, name=f"eve{n}").status_code for n in range(4)] == [401, 401, 401, 429]
    assert enter(other).status_code == 200


def test_another_sites_page_logs_nobody_in(ada):
    web = client(ada, AWAY, "http://farm.example")
    assert enter(web, Origin="http://evil.example").status_code == 403
    assert enter(web, Origin="http://farm.example").status_code == 200


def test_a_new_password_ends_the_sessions(ada):
    web = client(ada, AWAY)
    enter(web)
    assert web.get("/me").status_code == 200
    accounts.set_password(ada, "ada", PASSWORD + "!")
    assert web.get("/me").status_code == 401
    assert enter(web).status_code == 401
    assert enter(web, password=PASSWORD + "!").status_code == 200
    accounts.remove_person(ada, "ada")
    assert web.get("/me").status_code == 401


def test_the_oldest_of_too_many_sessions_ends(database):
    accounts.add_person(database, "ada", PASSWORD, "read")
    with database.writing() as connection:
        for number in range(store.MAX_SESSIONS + 1):
            store.add_session(connection, f"d{number}", 1, time.time() + 100)
            time.sleep(0.002)
        assert store.session(connection, "d0", time.time()) is None
        assert store.session(connection, "d1", time.time()).person.name == "ada"
        assert store.session(connection, "d1", time.time() + 101) is None


def test_hashes_are_few_at_a_time(monkeypatch):
    monkeypatch.setattr(credentials, "HASH_WAIT_S", 0.05)
    passwords = credentials.Passwords()
    inside = threading.Semaphore(0)
    go_on = threading.Event()

    def hold(hasher, kept, password):
        inside.release()
        go_on.wait(20)
        return True

    monkeypatch.setattr(type(passwords._hasher), "verify", hold)
    threads = [
        threading.Thread(target=passwords.check, args=("kept", "x"))
        for _ in range(credentials.HASHES_AT_ONCE)
    ]
    for thread in threads:
        thread.start()
        assert inside.acquire(timeout=20)
    try:
        with pytest.raises(credentials.Busy):
            passwords.check("kept", "x")
    finally:
        go_on.set()
        for thread in threads:
            thread.join()
    assert passwords.check("kept", "x")


# -- limits and headers ----------------------------------------------------------------------------


def test_a_rate_limit_by_hand():
    now = [0.0]
    limit = RateLimit(2, 10.0, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(3)] == [0, 0, 10]
    assert limit.take("b") == 0
    now[0] = 4
    assert limit.take("a") == 6
    now[0] = 10
    assert [limit.take("a"), limit.take("a")] == [0, 10]
    limit.give_back("a")
    assert limit.take("a") == 0
    now[0] = 1000
    assert [limit.take("a") for _ in range(3)] == [0, 0, 10]


def test_a_rate_limit_stays_small():
    limit = RateLimit(1, 10.0, keys=100, clock=lambda: 0.0)
    for number in range(1_000):
        limit.take(number)
    assert len(limit._paid) == 100


def test_ipv6_counts_by_its_network():
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2:ffff::1")
    assert network_of("2001:db8:1:3::1") != network_of("2001:db8:1:2::1")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")


@pytest.mark.parametrize("path", ["/me", "/healthz", "/nothing", "/docs", "/openapi.json"])
def test_every_answer_has_the_headers(opened, path):
    answer = client(opened).get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in answer.headers
    assert {name.lower() for name in guard.HEADERS} <= set(answer.headers)


def test_the_reference_runs_under_its_own_policy(opened):
    """No inline script, nothing from elsewhere, and what it names is there."""
    web = client(opened)
    page = web.get("/docs").text
    assert "<script>" not in page and "http" not in page and "style=" not in page
    for path in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"):
        assert f"docs/files/{path}" in page
        assert web.get(f"/docs/files/{path}").status_code == 200
    assert web.get("/docs/start.js").headers["content-type"].startswith("text/javascript")
