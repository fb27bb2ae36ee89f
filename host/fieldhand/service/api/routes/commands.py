"""Commands of any node: sent, looked at, and what a node can be told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, HTTPException, Path, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from fieldhand import dialects
from fieldhand.answers import MAX_RETRIES, MAX_TIMEOUT_S
from fieldhand.service.api.deps import (
    NO_NUL,
    Caller,
    Commander,
    NodeDep,
    NodeWord,
    ReadDb,
    ServiceDep,
    find_node,
)
from fieldhand.service.commands import guards
from fieldhand.service.commands.lifecycle import view
from fieldhand.service.service import Service
from fieldhand.service.store import commands as store
from fieldhand.service.store.commands import CommandRow
from fieldhand.service.store.nodes import NodeRow

router = APIRouter(tags=["commands"])

# Levels of objects and lists within parameters, far more than any document has.
MAX_DEPTH = 8

State = Literal["sending", "sent", "accepted", "done", "failed", "timeout", "refused"]


def storable(value: Any, depth: int = 0) -> Any:
    """What both databases can store as JSON, as it is. Raises ValueError."""
    if depth > MAX_DEPTH:
        raise ValueError("goes too deep")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise ValueError("has a character that is none")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            storable(key, depth)
            storable(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            storable(item, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("has a number that is NaN or too large")
    return value


Params = Annotated[dict[str, Any], AfterValidator(storable)]
Action = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_NUL)]
CommandId = Annotated[str, Path(max_length=64, pattern=NO_NUL)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="a word of the caller's own: what is sent twice under it is one command",
    ),
]
BLOCKED = "node 'farm_001': fertilization is blocked: wind 24.5 km/h is above 20 km/h"
SENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "this idempotency key has been used: the command that was sent then"},
    403: {"description": BLOCKED},
    404: {"description": "no node 'greenhouse'"},
    409: {"description": "several nodes are called 'pump': dese:a:pump, dese:b:pump"},
    503: {"description": "broker 127.0.0.1:1883: not connected"},
}
NONE: dict[int | str, dict[str, Any]] = {404: {"description": "no command 'cmd-1'"}}


class CommandIn(BaseModel):
    """What a node is to do, by the names of its dialect's document."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"action": "pump_water", "params": {"durationMs": 3000}}]},
    )

    action: Action
    params: Params = Field(default_factory=dict)
    timeout: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False)] | None = Field(
        default=None, description="seconds an answer may take; null: as the service is set"
    )
    retries: Annotated[int, Field(ge=0, le=MAX_RETRIES)] | None = Field(
        default=None, description="how often it is sent again, under its id, when no answer came"
    )


_COMMAND: dict[str, JsonValue] = {
    "id": "cmd-7f3a",
    "node": "plantnanny:greenhouse",
    "action": "pump_water",
    "params": {"durationMs": 3000},
    "state": "done",
    "caller": "ada",
    "created": 1781000000.0,
    "sent": 1781000000.1,
    "accepted": 1781000000.4,
    "ended": 1781000003.5,
    "deadline": 1781000030.1,
    "timeout": 30.0,
    "retries": 0,
    "attempts": 1,
    "error": None,
    "data": {"ran_ms": 3000},
}


class CommandOut(BaseModel):
    """A command. Times are Unix seconds; `data` is what the node answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [_COMMAND]})

    id: str
    node: str
    action: str
    params: dict[str, Any]
    state: State
    caller: str
    created: float
    sent: float | None
    accepted: float | None
    ended: float | None
    deadline: float | None
    timeout: float
    retries: int
    attempts: int
    error: str | None
    data: dict[str, Any] | None


class Step(BaseModel):
    """What happened to a command: a state it went into, `retried`, or `late`."""

    at: float
    step: str
    detail: str | None


class AnswerOut(BaseModel):
    """What a node answered. `late`: after the command had ended."""

    state: str
    error: str | None
    data: dict[str, Any] | None
    late: bool
    time: int | None
    received: float


class CommandDetail(CommandOut):
    """A command with all that happened to it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_COMMAND,
                    "steps": [{"at": 1781000000.1, "step": "sent", "detail": None}],
                    "answers": [
                        {
                            "state": "done",
                            "error": None,
                            "data": {"ran_ms": 3000},
                            "late": False,
                            "time": 1781000003,
                            "received": 1781000003.5,
                        }
                    ],
                }
            ]
        }
    )

    steps: list[Step]
    answers: list[AnswerOut]


class CommandPage(BaseModel):
    """`next` is the `before` of the page that follows, null on the last."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"commands": [_COMMAND], "next": None}]}
    )

    commands: list[CommandOut]
    next: str | None


class ParameterOut(BaseModel):
    """A parameter of a command, as the document has it."""

    name: str
    type: str
    required: bool
    unit: str | None
    minimum: float | None
    maximum: float | None
    values: list[Any] | None


class ActionOut(BaseModel):
    """Something a node can be told to do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "action": "pump_water",
                    "doc": "run the pump",
                    "params": [
                        {
                            "name": "durationMs",
                            "type": "int",
                            "required": True,
                            "unit": "ms",
                            "minimum": 1,
                            "maximum": 300000,
                            "values": None,
                        }
                    ],
                }
            ]
        }
    )

    action: str
    doc: str
    params: list[ParameterOut]


class ConfigIn(BaseModel):
    """Settings by their names in the dialect's document."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"config": {"telemetry_interval": 30000}}]}
    )

    config: Params


def command_out(row: CommandRow, node: NodeRow) -> CommandOut:
    return CommandOut(**view(row, node))


def in_url(word: str) -> str:
    """One part of an address; names may have any character."""
    return quote(word, safe=":")


def sent(
    service: Service,
    caller: Caller,
    node: NodeRow,
    wanted: CommandIn,
    response: Response,
    key: str | None,
) -> CommandOut:
    """Send it for a route. HTTPException 403 with the reason when a guard blocks it."""
    try:
        row, fresh = service.commands.send(
            node,
            wanted.action,
            wanted.params,
            caller=caller.name,
            org=caller.org,
            timeout=wanted.timeout,
            retries=wanted.retries,
            key=key,
        )
    except guards.Blocked as error:
        raise HTTPException(403, str(error)) from None
    response.status_code = 201 if fresh else 200
    response.headers["Location"] = f"/nodes/{in_url(node.public_id)}/commands/{row.id}"
    return command_out(row, node)


@router.post("/nodes/{node_id}/commands", status_code=201, responses=SENT)
def send_command(
    node_id: NodeWord,
    wanted: CommandIn,
    caller: Commander,
    service: ServiceDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> CommandOut:
    """Send a command. Nothing is kept back for later: 503 when the broker is away.

    The answer is there as soon as the broker has the command, in the state `sent`; what becomes of
    it is told by its own address and, as `command`, by the live streams.
    """
    return sent(
        service, caller, find_node(service, node_id, caller), wanted, response, idempotency_key
    )


@router.get("/nodes/{node_id}/commands")
def list_commands(
    node: NodeDep,
    connection: ReadDb,
    state: State | None = None,
    before: Annotated[
        str | None, Query(pattern=r"^\d{1,12}(\.\d{1,9})?,[A-Za-z0-9-]{1,64}$")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> CommandPage:
    """A node's commands, the newest first, whoever sent them by this service."""
    place = None
    if before is not None:
        created, _, id = before.partition(",")
        place = (float(created), id)
    rows = store.history(connection, node.id, state=state, before=place, limit=limit)
    last = f"{rows[-1].created!r},{rows[-1].id}" if len(rows) == limit else None
    return CommandPage(commands=[command_out(row, node) for row in rows], next=last)


@router.get("/nodes/{node_id}/commands/{command_id}", responses=NONE)
def one_command(node: NodeDep, connection: ReadDb, command_id: CommandId) -> CommandDetail:
    """A command with its steps and answers, late ones included."""
    row = store.get(connection, command_id)
    if row is None or row.node_id != node.id:
        raise HTTPException(404, f"no command '{command_id}'")
    return CommandDetail(
        **view(row, node),
        steps=[Step(**step) for step in store.steps(connection, row.id)],
        answers=[AnswerOut(**answer) for answer in store.answers(connection, row.id)],
    )


@router.get("/nodes/{node_id}/actions")
def list_actions(node: NodeDep) -> list[ActionOut]:
    """What the node can be told to do, and with which parameters, as its document has it."""
    return [
        ActionOut(
            action=command.name,
            doc=command.doc,
            params=[
                ParameterOut(
                    name=field.name,
                    type=field.type,
                    required=field.required,
                    unit=field.unit or None,
                    minimum=field.lo,
                    maximum=field.hi,
                    values=list(field.values) if field.values is not None else None,
                )
                for field in command.params
            ],
        )
        for command in dialects.unbound(node.dialect).commands
    ]


@router.post("/nodes/{node_id}/config", status_code=201, responses=SENT)
def push_config(
    node_id: NodeWord, wanted: ConfigIn, caller: Commander, service: ServiceDep
) -> CommandOut:
    """Send settings, where the dialect has a message for them (DESE).

    No dialect answers one: it is on record as the command `config`, done when the broker has it.
    """
    node = find_node(service, node_id, caller)
    row, _ = service.commands.configure(node, wanted.config, caller=caller.name)
    return command_out(row, node)
