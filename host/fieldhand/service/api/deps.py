"""What routes depend on: the service, the caller and what they may, the node in the path.

`current_caller` is the one place that says who asks; every route takes `Reader`, `Commander`,
`Admin`, `Operator` or `NodeDep`, which need it, or is one of `PUBLIC`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, HTTPException, Path
from starlette.requests import HTTPConnection

from fieldhand.service.access import callers
from fieldhand.service.access.access import LOCAL, Caller
from fieldhand.service.access.credentials import ADMIN, COMMAND, READ, SCOPES
from fieldhand.service.service import Service
from fieldhand.service.store import nodes
from fieldhand.service.store.nodes import NodeRow

__all__ = [
    "ADMIN",
    "COMMAND",
    "LOCAL",
    "NO_NUL",
    "PUBLIC",
    "READ",
    "SCOPES",
    "Admin",
    "Caller",
    "CallerDep",
    "Commander",
    "NodeDep",
    "NodeWord",
    "Operator",
    "ReadDb",
    "Reader",
    "ServiceDep",
    "WriteDb",
    "current_caller",
    "find_node",
    "get_service",
    "need",
    "operator",
    "read_connection",
    "reader_node",
    "write_connection",
]

# What anybody may ask.
PUBLIC = frozenset({"/healthz", "/readyz", "/metrics", "/login", "/docs", "/openapi.json"})


async def get_service(connection: HTTPConnection) -> Service:
    """The service behind the app, for HTTP and WebSocket routes; takes no thread."""
    service = connection.app.state.service
    assert isinstance(service, Service)
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


def current_caller(connection: HTTPConnection, service: ServiceDep) -> Caller:
    """Who asks. Raises HTTPException 401 for nobody we know, 403 for a forged request."""
    return callers.caller_of(connection, service.access)


CallerDep = Annotated[Caller, Depends(current_caller)]


def need(scope: str) -> Callable[[Caller], Caller]:
    """A dependency that gives the caller, who must have this scope (else 403)."""

    def check(caller: CallerDep) -> Caller:
        if scope not in caller.scopes:
            raise HTTPException(403, f"this needs the scope '{scope}'")
        return caller

    check.scope = scope  # type: ignore[attr-defined]  # told in the OpenAPI document
    return check


Reader = Annotated[Caller, Depends(need(READ))]
Commander = Annotated[Caller, Depends(need(COMMAND))]
Admin = Annotated[Caller, Depends(need(ADMIN))]


def operator(caller: Admin) -> Caller:
    """An admin of no organisation: for what belongs to none (else 403)."""
    if caller.org is not None:
        raise HTTPException(403, "this is for the operator, who is of no organisation")
    return caller


Operator = Annotated[Caller, Depends(operator)]


def read_connection(service: ServiceDep) -> Iterator[sa.Connection]:
    """A connection to read with; for `def` routes, which run in threads."""
    with service.database.reading() as connection:
        yield connection


def write_connection(service: ServiceDep) -> Iterator[sa.Connection]:
    """A connection in a transaction that is committed when the route returns."""
    with service.database.writing() as connection:
        yield connection


# Ended before the answer is sent: what it says has been committed, and no stream holds one open.
ReadDb = Annotated[sa.Connection, Depends(read_connection, scope="function")]
WriteDb = Annotated[sa.Connection, Depends(write_connection, scope="function")]

# PostgreSQL's text has no NUL.
NO_NUL = r"^[^\x00]+$"

NodeWord = Annotated[
    str,
    Path(
        description="a node's id, or its name where only one has it",
        max_length=300,
        pattern=NO_NUL,
        examples=["dese:farm_001:pump-1"],
    ),
]


def find_node(service: Service, word: str, caller: Caller, dialect: str | None = None) -> NodeRow:
    """The node that `word` means, among those the caller may see; of this dialect, if one is named.

    Raises HTTPException 404, or 409 with the ids when several have the name.
    """
    with service.database.reading() as connection:
        found = nodes.find(connection, word, caller.org, dialect)
    if not found:
        raise HTTPException(404, f"no node '{word}'" + (f" of {dialect}" if dialect else ""))
    if len(found) > 1:
        ids = ", ".join(row.public_id for row in found)
        raise HTTPException(409, f"several nodes are called '{word}': {ids}")
    return found[0]


def reader_node(node_id: NodeWord, caller: Reader, service: ServiceDep) -> NodeRow:
    return find_node(service, node_id, caller)


# The node of a path parameter `node_id`, for a caller who may read.
NodeDep = Annotated[NodeRow, Depends(reader_node, scope="function")]
