"""Every route, stream and message: what is of one organisation is nowhere for another.

The service runs as a process with nodes of all dialects of two organisations; the routes are those
the application has, so that a new one is tried as well.
"""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e.nodes import Backend, backend
from fastapi.routing import APIRoute, APIWebSocketRoute
from service.running import WAIT_S, Serve, serving
from service.web import Answer, Web, part, token
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fieldhand.service import settings
from fieldhand.service.access import accounts
from fieldhand.service.api import deps, openapi
from fieldhand.service.api.app import create_app
from fieldhand.service.service import Service
from fieldhand.service.store.database import Database

OURS, THEIRS = "alpha", "beta"
# Only in what is stored of OURS; no request says it.
SECRETS = ("23.4567", "4711.5", "too sour for words", "9.9.9-ours")
DIALECTS = ("plantnanny", "solar", "dese", "iotnode", "farm")
STREAM = "text/event-stream"


def node(org: str, dialect: str) -> str:
    return f"{org}-{dialect}"


def public_id(org: str, dialect: str) -> str:
    tenant = f":{org}" if dialect in ("dese", "solar") else ""
    return f"{dialect}{tenant}:{node(org, dialect)}"


def said(org: str, shift: int = 0, value: float | None = None) -> list[tuple[str, dict[str, Any]]]:
    """A message of each dialect, as in the seed documents, with the organisation's own values."""
    if value is None:
        value = 23.4567 if org == OURS else 20.0
    firmware = "9.9.9-ours" if org == OURS else "1.0.0"
    epoch = int(time.time()) + shift
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    dese = node(org, "dese")
    return [
        (
            f"devices/{node(org, 'plantnanny')}/data",
            {"temperatureC": value, "humidityPct": 56.0, "luminosityPct": 75.5, "ts": epoch},
        ),
        (
            f"company/{org}/machine/{node(org, 'solar')}/telemetry",
            {"battery": value, "solar_v": 21.2, "solar_a": 4.5, "water": 80},
        ),
        (
            f"devices/{org}/{dese}/telemetry",
            {
                "device_id": dese,
                "timestamp": stamp,
                "organization_id": org,
                "sensors": {"ph": 7.2, "chlorine": 2.5, "temperature": value},
                "metadata": {"firmware_version": firmware},
            },
        ),
        (
            f"devices/{org}/{dese}/alert",
            {
                "severity": "warning",
                "message": "too sour for words" if org == OURS else "fine",
                "sensor": "ph",
                "value": 4711.5 if org == OURS else 7.0,
                "threshold": 7.0,
                "timestamp": stamp,
            },
        ),
        (
            f"iot/node/{node(org, 'iotnode')}/telemetry",
            {
                "node_id": f"node_{node(org, 'iotnode')}",
                "timestamp": epoch,
                "sensors": {"temperature": value, "humidity": 45.2},
                "wifi_rssi": -65,
                "uptime": 3600,
            },
        ),
        (
            "farm/telemetry",
            {
                "farm_id": node(org, "farm"),
                "timestamp": stamp,
                "moisture": 45.5,
                "temp": value,
                "humidity": 65.2,
                "npk": 420,
                "ec_salinity": 1.2,
                "wind_speed": 12.5,
                "soil_ph": 6.5,
            },
        ),
    ]


@dataclass
class Place:
    """A running service, and who may come."""

    serve: Serve
    mqtt: Backend
    operator: Web
    nobody: Web
    ours: dict[str, Web]
    theirs: Web
    routes: list[Any]

    def speak(self, org: str, shift: int = 0, value: float | None = None) -> None:
        for topic, payload in said(org, shift, value):
            self.mqtt.publish(topic, payload)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("tenants")
    database = Database(f"sqlite:///{folder}/.fieldhand/service.db")
    database.open()
    for org in (OURS, THEIRS):
        accounts.add_organisation(database, org)
    ours = {scope: token(database, scope, OURS) for scope in deps.SCOPES}
    theirs, operator = token(database, "admin", THEIRS), token(database, "admin")
    database.close()
    with serving(folder, "--broker-port", "0") as serve:
        with backend(serve.told["broker"]["port"]) as mqtt:
            made = Place(
                serve,
                mqtt,
                Web(serve.url, operator),
                Web(serve.url),
                {scope: Web(serve.url, word) for scope, word in ours.items()},
                Web(serve.url, theirs),
                openapi.routes(application(folder)),
            )
            for org in (OURS, THEIRS):
                made.speak(org)
            mqtt.publish(f"devices/{OURS}/{node(OURS, 'dese')}/telemetry", {"ph": "9.9.9-ours"})
            until(lambda: len(made.operator.get("/nodes").json()["nodes"]) == 2 * len(DIALECTS))
            for org in (OURS, THEIRS):
                for dialect in ("plantnanny", "iotnode", "farm"):
                    path = f"/nodes/{part(public_id(org, dialect))}"
                    changed = made.operator.ask("PATCH", path, {"organisation": org})
                    assert changed.status == 200, changed.text
            until(lambda: made.operator.get("/events").json()["events"])
            until(lambda: made.operator.get("/dead-letters").json()["total"])
            yield made


def application(folder: Path) -> Any:
    """The same application, only to be asked for its routes."""
    chosen = settings.load({"database": f"sqlite:///{folder}/unused.db"}, environment={})
    return create_app(Service(chosen, embedded_port=0))


def until(wanted: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def dialect_of(path: str) -> str:
    """Whose document a route is from."""
    if path.startswith(("/machines", "/realtime")):
        return "solar"
    if path.startswith("/devices/{org"):
        return "dese"
    if path.startswith(("/ws", "/iot")):
        return "farm"
    return "plantnanny"


def filled(path: str, org: str, dialect: str) -> str:
    """A route's path with the organisation's node in it."""
    known = {
        "node_id": public_id(org, dialect) if path.startswith("/nodes") else node(org, dialect),
        "org_id": org,
        "organisation": org,
        "letter_id": "1",
        "token_id": "1",
        "command_id": "c-1",
    }
    parts = []
    for word in path.split("/"):
        name = word[1:-1].partition(":")[0] if word.startswith("{") else None
        parts.append(word if name is None else part(known.get(name, node(org, dialect))))
    return "/".join(parts)


def body_for(place: Place, route: APIRoute, method: str, org: str, dialect: str) -> Any:
    """The example of the document, with the organisation's node wherever one is named."""
    document = place.operator.get("/openapi.json").json()
    operation = document["paths"][route.path_format][method.lower()]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    schema = document["components"]["schemas"].get(name, content["schema"])
    examples = schema.get("examples") or [{}]
    return {key: named(key, value, org, dialect) for key, value in examples[0].items()}


def named(key: str, value: Any, org: str, dialect: str) -> Any:
    if key in ("organisation", "organization", "org", "company", "organization_id"):
        return org
    if isinstance(value, str) and key.endswith(("_id", "Id", "node", "device", "machine", "farm")):
        return node(org, dialect)
    return value


def requests(place: Place) -> Iterator[tuple[APIRoute, str, str]]:
    """(route, method, dialect) of every HTTP route, of each dialect where any will do."""
    for route in place.routes:
        if isinstance(route, APIRoute):
            for method in sorted(route.methods - {"HEAD", "OPTIONS"}):
                several = route.path.startswith("/nodes/{")
                for dialect in DIALECTS if several else (dialect_of(route.path),):
                    yield route, method, dialect


def public(path: str) -> bool:
    return path in deps.PUBLIC or path.startswith("/docs/")


def first_of(web: Web, path: str) -> Answer:
    """As `Web.get`, but of a stream no more than its beginning."""
    parts = urlsplit(web.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=WAIT_S)
    connection.request("GET", path, headers={"Authorization": f"Bearer {web.token}"})
    answer = connection.getresponse()
    stream = answer.headers.get("Content-Type", "").startswith(STREAM)
    body = answer.readline() if stream else answer.read()
    connection.close()
    return Answer(answer.status, answer.headers, body)


def test_the_routes_are_found(place):
    paths = {route.path for route in place.routes}
    assert {"/nodes/{node_id}/readings", "/live", "/ws/{farm_id}", "/iot/control"} <= paths
    assert len(paths) >= 30


def test_ours_is_there_for_us(place):
    """Or else nothing would be found below for want of it."""
    web = place.ours["admin"]
    seen = web.get("/nodes").text + web.get("/events").text
    assert all(secret in seen for secret in SECRETS)
    for dialect in DIALECTS:
        path = f"/nodes/{part(public_id(OURS, dialect))}/history"
        assert "23.4567" in web.get(path).text


def test_without_a_token_nobody_comes_in(place):
    for route, method, dialect in requests(place):
        path = filled(route.path, OURS, dialect)
        answer = place.nobody.ask(method, path)
        if public(route.path):
            assert answer.status != 401 or method == "POST", path
            continue
        assert answer.status == 401, (method, path, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        wrong = Web(place.serve.url, "fh_" + "A" * 43)
        assert wrong.ask(method, path).status == 401


def test_a_scope_too_small_is_403(place):
    tried = 0
    for route, method, dialect in requests(place):
        scope = openapi.scope_of(route)
        if scope not in ("command", "admin"):
            continue
        smaller = deps.SCOPES[deps.SCOPES.index(scope) - 1]
        path = filled(route.path, OURS, dialect)
        answer = place.ours[smaller].ask(method, path)
        assert answer.status == 403, (method, path, answer.text)
        assert "scope" in answer.json()["detail"]
        tried += 1
    assert tried >= 10


def test_what_changes_something_needs_more_than_read(place):
    for route, method, _ in requests(place):
        if method != "GET" and not public(route.path) and route.path != "/logout":
            assert openapi.scope_of(route) in ("command", "admin"), (method, route.path)


def test_another_organisation_finds_nothing_of_ours(place):
    """With all scopes, on every route, with our nodes' names in path and body."""
    mark = place.mqtt.mark()
    before = [place.operator.get(f"/nodes/{part(public_id(OURS, d))}").json() for d in DIALECTS]
    for route, method, dialect in requests(place):
        if public(route.path) or route.path == "/logout":
            continue
        path = filled(route.path, OURS, dialect)
        body = body_for(place, route, method, OURS, dialect)
        if method == "GET":
            answer = first_of(place.theirs, path)
        else:
            answer = place.theirs.ask(method, path, body)
        what = (method, path, body, answer.status, answer.text)
        assert answer.status < 500, what
        assert not any(secret in answer.text for secret in SECRETS), what
        if "{" in route.path:
            assert answer.status in (403, 404, 409, 422), what
        elif method == "GET":
            assert OURS not in answer.text, what
    # Nor was anything of ours changed, or anything sent to our nodes.
    after = [place.operator.get(f"/nodes/{part(public_id(OURS, d))}").json() for d in DIALECTS]
    assert after == before
    for dialect in DIALECTS:
        sent = place.ours["admin"].get(f"/nodes/{part(public_id(OURS, dialect))}/commands")
        assert "c-1" not in sent.text and sent.json() in ([], {"commands": [], "next": None})
    topics = [topic for topic, _, _ in place.mqtt.messages[mark:]]
    assert not [topic for topic in topics if OURS in topic], topics


def test_a_name_means_ones_own_node(place):
    """Two may call a node the same."""
    name = f"/nodes/{node(THEIRS, 'dese')}"
    assert place.theirs.get(name).status == 200
    assert place.ours["admin"].get(name).status == 404


def test_a_stream_has_ones_own_only(place):
    """Every Server-Sent Events route that gives another organisation a stream at all."""
    parts = urlsplit(place.serve.url)
    opened = []
    for route, method, dialect in requests(place):
        stream = STREAM in str(route.responses.get(200, ""))
        if method != "GET" or not stream:
            continue
        for org in (OURS, THEIRS):
            connection = http.client.HTTPConnection(parts.netloc, timeout=WAIT_S)
            path = filled(route.path, org, dialect)
            token = {"Authorization": f"Bearer {place.theirs.token}"}
            connection.request("GET", path, headers=token)
            answer = connection.getresponse()
            if answer.status == 200:
                opened.append((path, answer, connection))
            else:
                assert org == OURS and answer.status == 404, (path, answer.status)
                connection.close()
    assert len(opened) >= 2
    place.speak(OURS, 60)
    place.speak(THEIRS, 120, 21.5)
    for path, answer, connection in opened:
        heard = b""
        while b"21.5" not in heard:
            line = answer.readline()
            assert line, (path, heard)
            heard += line
        assert OURS.encode() not in heard and not any(s.encode() in heard for s in SECRETS), path
        connection.close()


def test_a_websocket_has_ones_own_only(place):
    url = place.serve.url.replace("http", "ws", 1)
    sockets = [route for route in place.routes if isinstance(route, APIWebSocketRoute)]
    assert len(sockets) >= 3
    header = {"Authorization": f"Bearer {place.theirs.token}"}
    opened = []
    for route in sockets:
        dialect = dialect_of(route.path)
        for headers in ({}, {"Authorization": "Bearer fh_wrong"}):
            with pytest.raises(InvalidStatus) as refused:
                connect(url + filled(route.path, OURS, dialect), additional_headers=headers)
            assert refused.value.response.status_code == 401
        for org in (OURS, THEIRS):
            path = filled(route.path, org, dialect)
            try:
                client = connect(url + path, additional_headers=header, open_timeout=WAIT_S)
            except InvalidStatus as error:
                assert org == OURS and error.response.status_code in (403, 404), path
                continue
            opened.append((path, client))
    assert len(opened) >= 3
    place.speak(OURS, 180)
    place.speak(THEIRS, 240, 22.5)
    for path, client in opened:
        heard = ""
        try:
            while "22.5" not in heard:
                heard += str(client.recv(timeout=WAIT_S))
        except ConnectionClosed:
            assert OURS in path, path
        assert OURS not in heard and not any(secret in heard for secret in SECRETS), (path, heard)
        client.close()


def test_a_page_of_another_site_opens_no_websocket_with_our_cookie(place):
    serve = place.serve
    database = Database(f"sqlite:///{serve.folder}/.fieldhand/service.db")
    accounts.add_person(database, "ada", "correct horse battery", "read", OURS)
    database.close()
    entered = place.nobody.ask(
        "POST", "/login", {"name": "ada", "password": "correct horse battery"}
    )
    cookie = entered.headers["Set-Cookie"].partition(";")[0]
    url = serve.url.replace("http", "ws", 1) + "/live"
    with connect(url, additional_headers={"Cookie": cookie}, origin=serve.url) as client:
        assert json.loads(client.recv(timeout=WAIT_S))["data"]["node_id"].endswith(tuple(DIALECTS))
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers={"Cookie": cookie}, origin="https://evil.example")
    assert refused.value.response.status_code == 403
