"""The OpenAPI document is complete, and the application does what it says: schemathesis tries."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from service.web import token

from fieldhand.service import settings
from fieldhand.service.access import accounts
from fieldhand.service.api import deps, openapi
from fieldhand.service.api.app import create_app
from fieldhand.service.service import Service
from fieldhand.service.store import deadletters, events, nodes, readings, schema

# Requests to each operation, valid and invalid; always the same ones.
TRIES = 4
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
PROBLEM = "application/problem+json"
NODE = "dese:farm_001:pump-1"


def application(url: str) -> tuple[Service, FastAPI]:
    chosen = settings.load({"database": url}, environment={})
    service = Service(chosen, embedded_port=0)
    return service, create_app(service)


# Asked for its routes only, when tests are collected.
DOCUMENT = openapi.document(application("sqlite:////nonexistent/unused.db")[1])
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]
IDS = [f"{method} {path}" for path, method in OPERATIONS]


class Api:
    """A running service with a little of everything in it, and its application."""

    def __init__(self, folder: Path) -> None:
        self.service, self.app = application(f"sqlite:///{folder}/service.db")

    def fill(self) -> None:
        database = self.service.database
        accounts.add_organisation(database, "farm_001")
        with database.writing() as connection:
            key = nodes.key_of("dese", {"org": "farm_001"}, "pump-1")
            node = nodes.register(connection, database, key)
            reading = {
                "node_id": node.id,
                "boot": "3-9f2c61d0",
                "at": 1781000000.0,
                "time": 1781000000,
                "received": 1781000000.4,
                "quality": "synced",
                "quantities": {"ph": 7.2},
                "attributes": None,
            }
            rows = [{**reading, "seq": seq, "at": reading["at"] + seq} for seq in (1, 2, 4)]
            readings.insert(connection, database, schema.reading, rows)
            alert = {
                "node_id": node.id,
                "kind": "alert",
                "boot": "3-9f2c61d0",
                "seq": 1,
                "at": 1781000000.0,
                "time": 1781000000,
                "received": 1781000000.4,
                "name": "warning",
                "state": "raised",
                "message": "too sour",
                "sensor": "ph",
                "value": 6.1,
                "threshold": 7.0,
                "data": None,
            }
            readings.insert(connection, database, schema.event, [alert], events.KEY)
            refused = deadletters.row_of("devices/x", b"{", "is not JSON", 1781000000.0)
            deadletters.add(connection, [refused])
        token(database, "read")
        # Streams end as soon as they begin, as they do when the service stops.
        self.service.hub.bind = lambda loop: self.service.hub.close()  # type: ignore[method-assign]

    def headers(self) -> dict[str, str]:
        """With a token of its own each time: one of the routes revokes them."""
        return {"Authorization": f"Bearer {token(self.service.database, 'admin')}"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(tmp_path_factory.mktemp("api"))
    with made.service:
        made.fill()
        yield made


# -- the document ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=IDS)
def test_every_operation_says_what_it_is(path, method):
    operation = DOCUMENT["paths"][path][method]
    assert operation["tags"] and operation["summary"] and operation["description"]
    assert operation["summary"][0].isupper() and len(operation["summary"]) <= 60
    for parameter in operation.get("parameters", ()):
        assert parameter["schema"], parameter
    good = [response for status, response in operation["responses"].items() if status < "400"]
    assert good
    for status, response in operation["responses"].items():
        if status == "204" or status.startswith("3"):
            continue
        assert response["content"], status
        for kind, content in response["content"].items():
            assert content.get("schema"), (status, kind)


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=IDS)
def test_every_operation_says_how_it_refuses(path, method):
    operation = DOCUMENT["paths"][path][method]
    responses = operation["responses"]
    if path not in deps.PUBLIC:
        assert {"401", "403", "503"} <= set(responses)
        assert operation["security"] and operation["x-fieldhand-scope"] in deps.SCOPES
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= set(responses)
    for status, response in responses.items():
        if status >= "400" and "Health" not in json.dumps(response):
            content = response["content"][PROBLEM]
            assert content["schema"]["$ref"] == "#/components/schemas/Problem"
            assert content["example"]["status"] == int(status)


def test_every_route_is_in_the_document():
    _, app = application("sqlite:////nonexistent/unused.db")
    for route in openapi.routes(app):
        if isinstance(route, APIRoute) and not route.path.startswith("/docs"):
            assert route.path_format in DOCUMENT["paths"], route.path


EXAMPLES = [
    (name, model, example)
    for name, model in DOCUMENT["components"]["schemas"].items()
    for example in model.get("examples", ())
]


@pytest.mark.parametrize(
    ("name", "model", "example"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES]
)
def test_an_example_is_what_the_schema_says(name, model, example):
    whole = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    Draft202012Validator(whole).validate(example)


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=IDS)
def test_what_is_sent_and_answered_has_an_example(path, method):
    operation = DOCUMENT["paths"][path][method]
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    bodies += [r for status, r in operation["responses"].items() if status < "300"]
    for body in bodies:
        content = body.get("content", {}).get("application/json")
        if content is not None:
            assert has_example(content) or has_example(content["schema"]), (path, content)


def has_example(schema: dict[str, Any]) -> bool:
    if "example" in schema or "examples" in schema:
        return True
    if "$ref" in schema:
        return has_example(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    parts = [schema.get("items"), *schema.get("anyOf", ())]
    return any(has_example(part) for part in parts if part)


# -- the application -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=IDS)
def test_schemathesis_finds_nothing(api, path, method, mode):
    described = schemathesis.openapi.from_dict(open_to_all(DOCUMENT))
    described.app = api.app
    operation = described[path][method.upper()]
    if mode is GenerationMode.NEGATIVE and not takes_something(path, method):
        return

    # Every other time of a node that there is.
    known = [{}, there(operation.path)] if mode is GenerationMode.POSITIVE else [{}]
    statuses = []
    # What a stream's events are like is beyond OpenAPI 3.1.
    stream = "text/event-stream" in json.dumps(DOCUMENT["paths"][path][method])
    checks = [check for check in CHECKS if not (stream and check is response_schema_conformance)]

    @hypothesis_settings(
        max_examples=TRIES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of([operation.as_strategy(generation_mode=mode, **one) for one in known]))
    def tried(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(headers=api.headers(), checks=checks)
        statuses.append(answer.status_code)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tried()
        except Unsatisfiable:
            # Any word will do in this path: there is nothing invalid to be sent.
            assert mode is GenerationMode.NEGATIVE
            return
    assert statuses and 405 not in statuses
    assert 401 not in statuses or path == "/login"
    if mode is GenerationMode.NEGATIVE:
        assert max(statuses) >= 400, statuses


def open_to_all(document: dict[str, Any]) -> dict[str, Any]:
    """Without what is said of tokens: schemathesis would make up some of its own."""
    copy = json.loads(json.dumps(document))
    del copy["components"]["securitySchemes"]
    for item in copy["paths"].values():
        for operation in item.values():
            operation.pop("security", None)
    return copy


def there(path: str) -> dict[str, Any]:
    """What a path names, such that it is there."""
    known = {"node_id": NODE, "org_id": "farm_001", "device_id": "pump-1", "letter_id": 1}
    found = {name: value for name, value in known.items() if f"{{{name}}}" in path}
    return {"path_parameters": found} if found else {}


def takes_something(path: str, method: str) -> bool:
    operation = DOCUMENT["paths"][path][method]
    places = {parameter["in"] for parameter in operation.get("parameters", ())}
    return "query" in places or "requestBody" in operation
