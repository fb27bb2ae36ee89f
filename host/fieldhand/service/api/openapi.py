"""The OpenAPI document, completed: what every route may answer, and who may ask.

FastAPI knows what a route returns. That it may refuse follows from what it depends on, and is said
here once instead of at every route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import BaseRoute

from fieldhand.service.access.callers import COOKIE, CSRF_HEADER
from fieldhand.service.api import deps
from fieldhand.service.api.problems import AWAY, MEDIA_TYPE, FieldProblem, Problem, title_of

DESCRIPTION = f"""\
Everything but logging in and the probes needs a token (`Authorization: Bearer fh_...`) or the
cookie of `POST /login`. With the cookie, a change needs the header `{CSRF_HEADER}` too.
While there is neither a person nor a token, programs on the same machine are let in without.

What is of another organisation is not there: its nodes are 404. Times are Unix seconds. Errors are
`application/problem+json`.
"""

_REF = "#/components/schemas/"
_DETAILS = {
    400: "the body cannot be read",
    401: "log in, or send a token as 'Authorization: Bearer'",
    403: "this needs the scope 'command'",
    404: "no node 'greenhouse'",
    409: "several nodes are called 'pump': dese:a:pump, dese:b:pump",
    413: "the body is larger than 262144 bytes",
    415: "the body has to be JSON: Content-Type: application/json",
    422: "query.limit: input should be greater than or equal to 1",
    429: "too many wrong passwords; try again in 30 s",
    503: AWAY,
    504: "node 'greenhouse': pump_water: no answer within 30 s",
}


def install(app: FastAPI) -> None:
    """`app.openapi()` gives the whole document, made once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def document(app: FastAPI) -> dict[str, Any]:
    """The document of this app."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (Problem, FieldProblem):
        schemas[model.__name__] = model.model_json_schema(ref_template=_REF + "{model}")
        schemas[model.__name__].pop("$defs", None)
    for schema in schemas.values():
        for example in schema.get("examples", ()):
            _restore_nulls(example, schema, schemas)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "fieldhand token add NAME"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    for route in routes(app):
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            operation = made["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                _complete(operation, route)
    return made


def _restore_nulls(value: Any, schema: Any, schemas: dict[str, Any]) -> None:
    """FastAPI leaves every null out of the document, also of an example that has to have it."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].removeprefix(_REF)]
    for choice in schema.get("anyOf", ()):
        _restore_nulls(value, choice, schemas)
    if isinstance(value, list):
        for item in value:
            _restore_nulls(item, schema.get("items", {}), schemas)
    elif isinstance(value, dict):
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value and _may_be_null(properties[name]):
                value[name] = None
        others = schema.get("additionalProperties")
        for name, item in value.items():
            _restore_nulls(
                item, properties.get(name) or (others if isinstance(others, dict) else {}), schemas
            )


def _may_be_null(schema: dict[str, Any]) -> bool:
    if "anyOf" in schema:
        return {"type": "null"} in schema["anyOf"]
    return not {"type", "$ref", "enum", "const", "allOf", "oneOf"} & set(schema)


def routes(app: FastAPI) -> list[APIRoute | APIWebSocketRoute]:
    """Every route that somebody wrote, those of included routers too."""
    return list(_written(app.routes))


def _written(found: Iterable[BaseRoute]) -> Iterator[APIRoute | APIWebSocketRoute]:
    for route in found:
        if isinstance(route, APIRoute | APIWebSocketRoute):
            yield route
        # Newer FastAPI keeps an included router as it is.
        router = getattr(route, "original_router", None)
        if router is not None:
            yield from _written(router.routes)


def scope_of(route: APIRoute | APIWebSocketRoute) -> str | None:
    """The scope a route needs; None when it asks for none, "" when any caller will do."""
    calls = list(_calls(route.dependant))
    found: list[str] = [call.scope for call in calls if hasattr(call, "scope")]
    if found:
        return max(found, key=deps.SCOPES.index)
    return "" if deps.current_caller in calls else None


def _complete(operation: dict[str, Any], route: APIRoute) -> None:
    responses = operation["responses"]
    for status in _statuses(operation, route):
        responses.setdefault(str(status), {})
    for status, response in responses.items():
        if status.isdigit() and int(status) >= 400:
            _as_problem(int(status), response)
    usual = responses.get(str(route.status_code or 200), {}).get("content")
    for status, response in responses.items():
        # The same thing, come about another way.
        if usual and status.startswith("2") and status != "204":
            response.setdefault("content", usual)
    scope = scope_of(route)
    if scope is not None:
        operation["security"] = [{"token": []}, {"cookie": []}]
        operation["x-fieldhand-scope"] = scope or "read"
    operation["responses"] = dict(sorted(responses.items()))


def _statuses(operation: dict[str, Any], route: APIRoute) -> Iterator[int]:
    calls = list(_calls(route.dependant))
    if deps.current_caller in calls:
        yield from (401, 403)
    if deps.reader_node in calls:
        yield from (404, 409)
    if operation.get("parameters") or "requestBody" in operation:
        yield 422
    if "requestBody" in operation:
        yield from (400, 413, 415)
    if deps.get_service in calls:
        yield 503


def _as_problem(status: int, response: dict[str, Any]) -> None:
    content = response.get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if content and not schema.get("$ref", "").endswith("/HTTPValidationError"):
        return  # a form of its own
    detail = response.get("description")
    usual = title_of(status)
    if not detail or detail in (usual, "Validation Error", "Additional Response"):
        detail = _DETAILS.get(status, usual)
    response["description"] = usual
    example = {"type": "about:blank", "title": usual, "status": status, "detail": detail}
    response["content"] = {
        MEDIA_TYPE: {"schema": {"$ref": _REF + Problem.__name__}, "example": example}
    }


def _calls(dependant: Dependant) -> Iterator[Any]:
    for part in dependant.dependencies:
        yield part.call
        yield from _calls(part)
