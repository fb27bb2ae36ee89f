"""The routes of the seed systems' own front ends, for sending and registering.

PlantNanny's, the solar machines', DESE's and Smart Farming's. What a document leaves open (a path,
an answer's form) is chosen here, and said. Their streams are in `live`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from fieldhand.answers import DONE, ENDED
from fieldhand.errors import BrokerUnavailable
from fieldhand.service.api.deps import NO_NUL, Caller, Commander, Reader, ServiceDep, find_node
from fieldhand.service.api.registration import BadRegistration, Taken, register
from fieldhand.service.api.routes.commands import (
    NONE,
    SENT,
    Action,
    CommandId,
    CommandIn,
    CommandOut,
    IdempotencyKey,
    Params,
    command_out,
    in_url,
    sent,
)
from fieldhand.service.commands.lifecycle import CONFIG, view
from fieldhand.service.service import Service
from fieldhand.service.store import commands as store
from fieldhand.service.store import nodes
from fieldhand.service.store.nodes import NodeRow
from fieldproto.timestamps import format_utc

router = APIRouter(tags=["documents"])

Word = Annotated[str, Field(min_length=1, max_length=128, pattern=NO_NUL)]
Part = Annotated[str, Path(min_length=1, max_length=300, pattern=NO_NUL)]

TAKEN: dict[int | str, dict[str, Any]] = {
    200: {"description": "it was registered already"},
    409: {"description": "node 'esp32-001' cannot be registered: it is somebody else's"},
}


def registered(
    service: Service,
    caller: Caller,
    dialect: str,
    name: str,
    options: dict[str, Any],
    org: str | None,
    extras: bool = True,
) -> tuple[NodeRow, bool]:
    """Register for a route: for the caller's organisation, or the one an operator names."""
    if caller.org is not None and org not in (None, caller.org):
        raise HTTPException(422, "org: is another organisation's")
    try:
        return register(
            service,
            dialect,
            name,
            options,
            org=caller.org or org,
            by_operator=caller.org is None,
            extras=extras,
        )
    except BadRegistration as error:
        raise HTTPException(422, str(error)) from None
    except Taken as error:
        raise HTTPException(409, str(error)) from None


# -- any dialect -----------------------------------------------------------------------------------


class NodeIn(BaseModel):
    """A node to know. `options` are the dialect's, such as DESE's `org`."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"dialect": "farm", "name": "farm_001"}]}
    )

    dialect: Word
    name: Word
    options: Params = Field(default_factory=dict)
    org: Word | None = Field(None, description="whose it is: the operator's to say")
    extras: bool = Field(True, description="whether it takes the extension key `_fh`")


class Registered(BaseModel):
    """A node that is known now. `command` is the reading it was asked for, where it was."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "plantnanny:esp32-001",
                    "name": "esp32-001",
                    "dialect": "plantnanny",
                    "org": None,
                    "stream": "/devices/esp32-001/stream",
                    "command": None,
                }
            ]
        }
    )

    id: str
    name: str
    dialect: str
    org: str | None
    stream: str = Field(description="where what it says can be followed")
    command: CommandOut | None


@router.post("/nodes", status_code=201, responses=TAKEN)
def register_node(
    wanted: NodeIn, caller: Commander, service: ServiceDep, response: Response
) -> Registered:
    """Know a node before it is heard."""
    row, fresh = registered(
        service, caller, wanted.dialect, wanted.name, wanted.options, wanted.org, wanted.extras
    )
    response.status_code = 201 if fresh else 200
    return _registered(row, f"/live?node={in_url(row.public_id)}", None)


def _registered(row: NodeRow, stream: str, command: CommandOut | None) -> Registered:
    return Registered(
        id=row.public_id,
        name=row.name,
        dialect=row.dialect,
        org=row.org,
        stream=stream,
        command=command,
    )


# -- PlantNanny ------------------------------------------------------------------------------------


class DeviceIn(BaseModel):
    """A PlantNanny device."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"device_id": "esp32-001"}]}
    )

    device_id: Word
    org: Word | None = Field(None, description="whose it is: the operator's to say")


@router.post("/devices", status_code=201, responses=TAKEN)
def register_device(
    wanted: DeviceIn, caller: Commander, service: ServiceDep, response: Response
) -> Registered:
    """PlantNanny's "Device Registration Flow": Frontend "Register" -> Server, Server "send_now" ->
    Broker -> ESP32, ESP32 "sensor data" -> Server, Server "SSE: data" -> Frontend.

    The document gives no path and no body. The reading comes on GET /devices/{device_id}/stream. A
    device that is not reached is registered all the same; `command` says what became of `send_now`.
    """
    row, fresh = registered(service, caller, "plantnanny", wanted.device_id, {}, wanted.org)
    response.status_code = 201 if fresh else 200
    command = None
    try:
        asked, _ = service.commands.send(row, "send_now", {}, caller=caller.name, org=caller.org)
        command = command_out(asked, row)
    except BrokerUnavailable:
        with service.database.reading() as connection:
            last = store.history(connection, row.id, limit=1)
        command = command_out(last[0], row) if last else None
    return _registered(row, f"/devices/{in_url(row.public_id)}/stream", command)


# -- Solar -----------------------------------------------------------------------------------------


class SolarCommand(BaseModel):
    """The document's "3. Command": {"command": "start_cleaning", "params": {"speed": 5, ...}}."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"command": "start_cleaning", "params": {"speed": 5, "mode": "auto"}}]
        },
    )

    command: Action
    params: Params = Field(default_factory=dict)


@router.post("/machines/{machine_id}/command", status_code=201, responses=SENT)
def solar_command(
    machine_id: Part,
    wanted: SolarCommand,
    caller: Commander,
    service: ServiceDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> CommandOut:
    """The solar document's "Flutter Frontend: ... uses REST APIs to send commands" and "Sent from
    the dashboard to trigger actions on the machine", with the body of its "3. Command".

    It gives no path; this one has the words of its topic company/{c_id}/machine/{m_id}/command.
    """
    node = find_node(service, machine_id, caller, "solar")
    asked = CommandIn(action=wanted.command, params=wanted.params)
    return sent(service, caller, node, asked, response, idempotency_key)


# -- DESE ------------------------------------------------------------------------------------------


class DeseCommand(BaseModel):
    """The document's "2. Commands", without what the backend adds to it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"command": "set_ph_target", "parameters": {"target_ph": 7.2}}]
        },
    )

    command: Action
    parameters: Params = Field(default_factory=dict)


class DeseSent(BaseModel):
    """The document's "2. Commands" as it went out, and the state: 30 s on, `timeout`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "command_id": "cmd-12345",
                    "device_id": "esp32-001",
                    "command": "toggle_pump",
                    "parameters": {"state": "on", "duration": 300},
                    "timestamp": "2025-01-27T10:00:00Z",
                    "state": "sent",
                }
            ]
        }
    )

    command_id: str
    device_id: str
    command: str
    parameters: dict[str, Any]
    timestamp: str
    state: str


class DeseResponse(BaseModel):
    """The document's "3. Command Response"; `success` is null while there is none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "command_id": "cmd-12345",
                    "success": True,
                    "response": {"state": "on"},
                    "error": None,
                    "timestamp": "2025-01-27T10:00:05Z",
                    "state": "done",
                }
            ]
        }
    )

    command_id: str
    success: bool | None
    response: dict[str, Any] | None
    error: str | None
    timestamp: str | None
    state: str


class DeseConfig(BaseModel):
    """The document's "5. Configuration Update", without what the backend adds to it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "config": {
                        "telemetry_interval": 30000,
                        "sensor_calibration": {"ph": {"offset": 0.2, "scale": 1.0}},
                    }
                }
            ]
        },
    )

    config: Params


@router.post("/devices/{org_id}/{device_id}/commands", status_code=201, responses=SENT)
def dese_command(
    org_id: Part,
    device_id: Part,
    wanted: DeseCommand,
    caller: Commander,
    service: ServiceDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> DeseSent:
    """DESE's "2. Remote Command Execution: Backend -> MQTT Broker -> Device (commands)".

    The path is the document's topic devices/{org_id}/{device_id}/commands.
    """
    node = _pool(service, org_id, device_id, caller)
    asked = CommandIn(action=wanted.command, params=wanted.parameters)
    made = sent(service, caller, node, asked, response, idempotency_key)
    place = f"/devices/{in_url(org_id)}/{in_url(device_id)}"
    response.headers["Location"] = f"{place}/command_response/{made.id}"
    return _dese_sent(made, device_id)


@router.get(
    "/devices/{org_id}/{device_id}/command_response/{command_id}",
    responses=NONE,
)
def dese_response(
    org_id: Part, device_id: Part, command_id: CommandId, caller: Reader, service: ServiceDep
) -> DeseResponse:
    """DESE's "Device -> MQTT Broker -> Backend (command_response)", as far as it has come.

    "Backend marks command as `timeout`", "Device should still send response if command was
    processed": a late one is shown, and the state stays `timeout`.
    """
    node = _pool(service, org_id, device_id, caller)
    with service.database.reading() as connection:
        row = store.get(connection, command_id)
        if row is None or row.node_id != node.id or row.action == CONFIG:
            raise HTTPException(404, f"no command '{command_id}'")
        came = [a for a in store.answers(connection, row.id) if a["state"] in ENDED]
    if not came:
        return DeseResponse(
            command_id=row.id,
            success=None,
            response=None,
            error=row.error,
            timestamp=None,
            state=row.state,
        )
    answer = came[0]
    at = answer["time"] if answer["time"] is not None else int(answer["received"])
    return DeseResponse(
        command_id=row.id,
        success=answer["state"] == DONE,
        response=answer["data"],
        error=answer["error"],
        timestamp=format_utc(at),
        state=row.state,
    )


@router.post("/devices/{org_id}/{device_id}/config", status_code=201, responses=SENT)
def dese_config(
    org_id: Part, device_id: Part, wanted: DeseConfig, caller: Commander, service: ServiceDep
) -> DeseSent:
    """DESE's "5. Configuration Update (`config`): Backend -> Device", sensor calibration and alert
    thresholds included. The path is the document's topic devices/{org_id}/{device_id}/config.
    """
    node = _pool(service, org_id, device_id, caller)
    row, _ = service.commands.configure(node, wanted.config, caller=caller.name)
    return _dese_sent(CommandOut(**view(row, node)), device_id)


def _pool(service: Service, org: str, name: str, caller: Caller) -> NodeRow:
    return find_node(service, nodes.public_id("dese", {"org": org}, name), caller, "dese")


def _dese_sent(made: CommandOut, device_id: str) -> DeseSent:
    return DeseSent(
        command_id=made.id,
        device_id=device_id,
        command=made.action,
        parameters=made.params,
        timestamp=format_utc(int(made.created)),
        state=made.state,
    )


# -- Smart Farming ---------------------------------------------------------------------------------


class Control(BaseModel):
    """The body of the document's "STEP 1: User Action (Frontend)"."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"farm_id": "farm_001", "action": "irrigation", "value": True, "mode": "manual"}
            ]
        },
    )

    farm_id: Word
    action: Action
    value: bool
    mode: Word | None = Field(None, description="not sent on: the document's message has no place")


@router.post("/iot/control", status_code=201, responses=SENT)
def farm_control(
    wanted: Control,
    caller: Commander,
    service: ServiceDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> CommandOut:
    """Smart Farming's "POST /iot/control { "farm_id": ..., "action": "irrigation", "value": true,
    "mode": "manual" }" and its "STEP 2: Backend Safety Check: if action == "fertilization" and
    value == True: if wind_speed > 20: raise HTTPException(status_code=403)"; "If BLOCKED: Return
    403 to frontend, Display error message, Command NOT sent to ESP32".

    Sent is {"type": "ACTUATE", "device": "irrigation", "state": 1, ...}. Blocked too while the wind
    is not known or was measured long ago: see `fieldhand.service.commands.guards`.
    """
    node = find_node(service, wanted.farm_id, caller, "farm")
    asked = CommandIn(action=wanted.action, params={"state": int(wanted.value)})
    return sent(service, caller, node, asked, response, idempotency_key)
