"""Requests as nobody should send them: each is refused in one line, and nothing breaks."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from service.running import serving
from service.web import part

from fieldhand.service import settings
from fieldhand.service.api import guard
from fieldhand.service.api.app import create_app
from fieldhand.service.service import Service
from fieldhand.service.store import nodes
from fieldhand.service.store.database import Database

NAMES = [
    "'; DROP TABLE node; --",
    '" OR 1=1 --',
    "<script>alert(1)</script>",
    "%s%s%s",
    "../../etc/passwd",
    "..%2f..",
    "\u202e\u0000"[:1],
    "ü" * 150,
    "💧",
    "a\nb",
    "{{7*7}}",
    "?",
]
COMMANDS = "/nodes/f/commands"
PATHS = ["", "/latest", "/readings", "/history", "/events", "/outages", "/gaps", "/commands"]


def client(database: Database) -> TestClient:
    chosen = settings.load({"database": str(database.url)}, environment={})
    service = Service(chosen, embedded_port=0)
    service.database = database
    service.access._database = database
    app = create_app(service)
    return TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 9))


@pytest.fixture
def web(database) -> TestClient:
    """With a database of each kind in turn."""
    return client(database)


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Iterator[TestClient]:
    """For what is refused before it comes to a database."""
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('web')}/service.db")
    made.open()
    with made.writing() as connection:
        nodes.ensure(connection, made, nodes.key_of("farm", {}, "f"), 1.0)
    yield client(made)
    made.close()


def is_problem(answer, *statuses):
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code and told["title"] and "\n" not in told["detail"]


@pytest.mark.parametrize("name", NAMES)
def test_a_node_may_be_called_anything(web, database, name):
    for path in PATHS:
        is_problem(web.get(f"/nodes/{part(name)}{path}"), 404)
    with database.writing() as connection:
        nodes.ensure(connection, database, nodes.key_of("farm", {}, name), 1.0)
    if "/" not in name and "%2f" not in name:
        assert web.get(f"/nodes/{part(name)}").json()["name"] == name
        assert web.get(f"/nodes/{part('farm:' + name)}/gaps").status_code == 200
    assert [one["name"] for one in web.get("/nodes").json()["nodes"]] == [name]


def test_a_name_that_several_have_is_told_with_the_ids_to_choose_from(web, database):
    with database.writing() as connection:
        for dialect, tenant in (("dese", {"org": "a"}), ("dese", {"org": "b"}), ("farm", {})):
            nodes.ensure(connection, database, nodes.key_of(dialect, tenant, "pump"), 1.0)
    ids = ["dese:a:pump", "dese:b:pump", "farm:pump"]
    for path in ("", "/latest", "/commands"):
        answer = web.get(f"/nodes/pump{path}")
        is_problem(answer, 409)
        told = answer.json()["detail"]
        assert sorted(told.partition("'pump': ")[2].split(", ")) == ids
    for each in ids:
        assert web.get(f"/nodes/{each}").json()["id"] == each


@pytest.mark.parametrize("path", PATHS)
def test_a_nul_in_a_name(web, path):
    is_problem(web.get(f"/nodes/a%00b{path}"), 422)
    is_problem(web.get("/nodes/%00"), 422)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=10001",
        "limit=99999999999999999999999999",
        "limit=1e3",
        "limit=-1",
        "limit=",
        "since=NaN",
        "since=inf",
        "since=1e300",
        "since=x",
        "after=1",
        "after=1,2,3",
        "after=9999999999999,1",
        "after=1,9999999999999999999",
        "after=1e5,1",
        "after=%00",
        "resolution=1s",
        "quantity=%00",
        "quantity=" + "x" * 65,
        "&".join(["quantity=a"] * 51),
        "order=up",
    ],
)
def test_a_wrong_question(one, query):
    answers = [one.get(f"/nodes/f/{path}?{query}") for path in ("history", "readings")]
    name = query.partition("=")[0]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    for answer in refused:
        is_problem(answer, 422)
        assert answer.json()["errors"][0]["field"].startswith(f"query.{name}")


def post(web, body: bytes, kind: str | None = "application/json", path="/login"):
    headers = {"Content-Type": kind} if kind is not None else {}
    return web.post(path, content=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"", (422,)),
        (b"{", (422,)),
        (b"null", (422,)),
        (b"[]", (422,)),
        (b'"x"', (422,)),
        (b"\xff\xfe", (400, 422)),
        (b'{"name": "\\ud800", "password": "x"}', (422,)),
        (b'{"name": "a\\u0000", "password": "x"}', (422,)),
        (b'{"name": 1e400, "password": "x"}', (422,)),
        (b'{"name": ' + b"9" * 5_000 + b', "password": "x"}', (400, 422)),
        (b'{"name": "a", "password": "x", "admin": true}', (422,)),
        (b'{"name": "' + b"a" * 101 + b'", "password": "x"}', (422,)),
        (b'{"name": "a", "password": "' + b"x" * 1001 + b'"}', (422,)),
        (b"[" * 100_000 + b"]" * 100_000, (400, 422)),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, (400, 422)),
    ],
    ids=range(15),
)
def test_a_wrong_body(one, body, statuses):
    is_problem(post(one, body), *statuses)


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "x" * 1000,
        ";",
    ],
)
def test_a_body_that_is_not_called_json(one, kind):
    """Nor could another site's page send JSON without being asked."""
    is_problem(post(one, b'{"name": "a", "password": "b"}', kind), 415)
    is_problem(post(one, b'{"id": "x"}', kind, "/organisations"), 415)
    assert one.get("/organisations").json() == []


@pytest.mark.parametrize(
    ("path", "body", "field", "reason"),
    [
        ("/login", b"", "body", "is missing"),
        ("/login", b"null", "body", "has to be a JSON object"),
        ("/login", b"[]", "body", "has to be a JSON object"),
        # Counted by hand, from 1: where there is no JSON any more.
        ("/login", b"{", "body", "at character 2"),
        ("/login", b'{"name": "a",', "body", "at character 14"),
        ("/login", b'{"name": 1}x', "body", "is not JSON: extra data, at character 12"),
        (COMMANDS, b'{"action": "x", "timeout": 1e400}', "body.timeout", "is too large a number"),
        (COMMANDS, b'{"action": "x", "timeout": NaN}', "body.timeout", "has to be a finite number"),
        (COMMANDS, b'{"action": "x", "timeout": 86401}', "body.timeout", "less than or equal to"),
        (COMMANDS, b'{"action": "x", "params": {"a": 1e400}}', "body.params", "NaN or too large"),
    ],
)
def test_a_wrong_body_is_told_what_is_wrong_and_where(one, path, body, field, reason):
    answer = post(one, body, path=path)
    is_problem(answer, 422)
    told = answer.json()
    assert told["errors"][0]["field"] == field and reason in told["errors"][0]["reason"]
    assert told["detail"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"name": ' + b"9" * 5_000 + b', "password": "x"}', "too many digits"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        (b'{"a": "\xc3("}', "not UTF-8: invalid continuation byte at byte 8"),
    ],
)
def test_a_body_that_cannot_be_read_is_told_why(one, body, reason):
    answer = post(one, body)
    is_problem(answer, 400)
    assert reason in answer.json()["detail"]


def test_every_answer_keeps_a_browser_safe(one, monkeypatch):
    web = TestClient(
        one.app,
        base_url="https://127.0.0.1",
        client=("127.0.0.1", 9),
        raise_server_exceptions=False,
    )

    def broken(*_, **__):
        raise RuntimeError("a mistake of ours")

    answers = [web.get("/nodes"), web.get("/nodes/nobody"), web.get("/nodes?limit=x")]
    answers += [web.get("/static/nothing"), web.request("BREW", "/nodes")]
    answers += [post(web, b" " * 300_000), post(web, b"", kind=None)]
    monkeypatch.setattr(nodes, "listing", broken)
    answers.append(web.get("/nodes"))
    is_problem(answers[-1], 500)
    assert {answer.status_code for answer in answers} >= {200, 404, 405, 413, 422, 500}
    for answer in answers:
        missing = {name for name in guard.HEADERS if name not in answer.headers}
        assert not missing and "Strict-Transport-Security" in answer.headers, answer
    assert "no-store" in answers[-1].headers["cache-control"]


def test_a_body_of_a_megabyte(one):
    is_problem(post(one, b'{"name": "' + b"a" * 1_000_000 + b'"}'), 413)
    is_problem(one.post("/organisations", content=b" " * 1_000_000), 413)
    # Its length is not told beforehand.
    pieces = (b" " * 10_000 for _ in range(100))
    headers = {"Content-Type": "application/json"}
    is_problem(one.post("/organisations", content=pieces, headers=headers), 413)
    assert post(one, b" " * 200_000 + b'{"name": "a", "password": "b"}').status_code == 401


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_a_wrong_method(one, method):
    answer = one.request(method, "/events")
    is_problem(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("given", ["Bearer", "Bearer ", "Basic YTpi", "fh_x", "Bearer \xff", "\0x"])
def test_a_wrong_authorization(one, given):
    is_problem(one.get("/nodes", headers={"Authorization": given.encode("latin-1")}), 401)


def test_a_service_survives_what_no_client_library_would_send(tmp_path):
    wrong = [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /nodes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"GET /nodes HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /nodes/%ED%A0%80 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"GET /nodes HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: fieldhand_session=\xff;=;\xfe\r\n"
        b"Connection: close\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ]
    with serving(tmp_path, "--broker-port", "0") as serve:
        parts = urlsplit(serve.url)
        for sent in wrong:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
            connection.connect()
            connection.sock.sendall(sent)
            connection.sock.shutdown(1)
            told = b""
            while piece := connection.sock.recv(65_536):
                told += piece
            connection.close()
            assert not told.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5")) or b"/nodes " in sent, told
            assert not told or b"content-security-policy: " in told.lower(), told
        assert serve.get("/healthz")["status"] == "ok"
        assert json.loads(json.dumps(serve.get("/nodes"))) == {"nodes": [], "next": None}
        assert "Traceback" not in serve.log
