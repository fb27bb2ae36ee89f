"""The sensors, actuators and alerts of a node's table in fleet.toml.

Their keys are those of node.json, checked by the very tables that the node checks them with
(`fieldproto.sensortypes`, `fieldproto.nodeconfig`); what is added here is the board: its default
pins. Which pins can do what is said in `pinrules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fieldhand import dialects as dialect_table
from fieldhand.boards import Board, pinrules
from fieldhand.errors import did_you_mean
from fieldhand.tomltable import Table
from fieldproto import sensortypes
from fieldproto.bands import check_band
from fieldproto.nodeconfig import ACTUATOR_FIELDS, FIELDS
from fieldproto.quantities import UNITS
from fieldproto.schema import Field, FieldError, read
from fieldproto.sensortable import COMMON, TYPES

_ALERT_FIELDS = tuple(field for field in FIELDS if field.name.startswith("alerts"))
# The node adds these to what it sends; no sensor yields them.
_OWN = ("uptime", "free_memory")


def sensors(table: Table, board: Board | None, dialect: str | None) -> tuple[dict[str, Any], ...]:
    """`sensors = [...]`, default pins filled in, each checked by itself."""
    before = len(table.problems)
    found = []
    for entry in table.tables("sensors"):
        sensor = dict(entry.data)
        found.append(sensor)
        kind = sensor.get("type")
        if not isinstance(kind, str) or kind not in TYPES:
            near = did_you_mean(kind, TYPES) if isinstance(kind, str) else ""
            entry.problem("type", f"{kind!r} is unknown{near}; allowed: {', '.join(sorted(TYPES))}")
            continue
        keys = TYPES[kind]["keys"]
        allowed = [*keys, *COMMON, "type"]
        unknown = [key for key in sensor if key not in allowed]
        for key in unknown:
            entry.problem(
                key, f"unknown key{did_you_mean(key, allowed)}; {kind} has: {', '.join(allowed)}"
            )
        if "pin" in keys and "pin" not in sensor and board is not None:
            pin = pinrules.default(board, kind, sensor.get("quantity"))
            if pin is not None:
                sensor["pin"] = pin
        if kind == "battery" and board is not None and "full_scale" in board.defaults:
            sensor.setdefault("full_scale", board.defaults["full_scale"])
        lacking = [key for key in keys if keys[key][1] and key not in sensor]
        for key in lacking:
            words = f", one of {', '.join(keys[key][2])}" if keys[key][0] == "choice" else ""
            entry.problem(key, f"is required: {keys[key][4]}{words}")
        if unknown or lacking:
            continue
        try:
            sensortypes.check([sensor], "")
        except sensortypes.SensorConfigError as error:
            entry.problem(error.path.removeprefix("[0]").lstrip("."), error.reason)
    if len(table.problems) == before:
        _check_complete(table, found, board, dialect)
    return tuple(found)


def _check_complete(
    table: Table, found: list[dict[str, Any]], board: Board | None, dialect: str | None
) -> None:
    try:
        sensortypes.check(found)
    except sensortypes.SensorConfigError as error:
        if board is None or not error.path.endswith(".pin"):  # see pinrules
            table.problem(error.path, error.reason)
        return
    if dialect is None:
        return
    have = {quantity for sensor in found for quantity in sensortypes.yields(sensor)}
    lacking = [name for name in required_quantities(dialect) if name not in have]
    if lacking:
        table.problem(
            "sensors",
            f"every {dialect} reading must carry {', '.join(lacking)}, which no sensor here yields",
        )


def required_quantities(dialect: str) -> tuple[str, ...]:
    """What the sensors of a node must yield between them for its readings to be valid."""
    for message in dialect_table.unbound(dialect).messages:
        if message.kind == "reading":
            return tuple(
                field.means
                for field in message.fields
                if field.required and field.means in UNITS and field.means not in _OWN
            )
    return ()


def actuators(table: Table, board: Board | None) -> tuple[dict[str, Any], ...]:
    """`actuators = [...]`; the first takes the board's relay pin when it names none."""
    first = {"pin": board.defaults["relay"]} if board is not None else {}
    found = tables(table, "actuators", ACTUATOR_FIELDS, first)
    if board is not None and board.defaults["relay_active_low"]:
        for actuator in found:
            actuator.setdefault("active_low", True)
    return found


def tables(
    table: Table, key: str, fields: tuple[Field, ...], first: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], ...]:
    """The list of tables `key`, each checked by `fields`; `first` fills in the first one."""
    found: list[dict[str, Any]] = []
    for entry in table.tables(key):
        values = dict(first or {}, **entry.data) if not found else dict(entry.data)
        found.append(values)
        allowed = [field.name for field in fields]
        unknown = [name for name in values if name not in allowed]
        for name in unknown:
            entry.problem(
                name, f"unknown key{did_you_mean(name, allowed)}; allowed: {', '.join(allowed)}"
            )
        if unknown:
            continue
        try:
            read(values, fields)
        except FieldError as error:
            entry.problem(error.field, error.reason)
    return tuple(found)


def led(table: Table, board: Board | None) -> dict[str, Any] | None:
    """`led = {pin = 2, active_low = false}`, `led = false` for none; else the board's."""
    value = table.raw("led")
    if value is False:
        return None
    if value is None:
        pin = board.defaults.get("led") if board is not None else None
        return {"pin": pin} if pin is not None else None
    inner = table.table("led")
    if inner is None:
        return None
    default = board.defaults.get("led") if board is not None else 0
    if default is None and "pin" not in inner.data:
        inner.problem("pin", "is required: this board has no LED that a node can drive")
    pin = inner.whole("pin", default or 0, 0, 48)
    found = {"pin": pin, "active_low": inner.flag("active_low", False)}
    inner.close()
    return found


def alerts(table: Table) -> dict[str, Any]:
    """`[node.NAME.alerts]`: quantity = {min = ..., max = ...}."""
    inner = table.table("alerts")
    if inner is None:
        return {}
    found: dict[str, Any] = {}
    for name, value in inner.data.items():
        if name not in UNITS:
            known = ", ".join(sorted(UNITS))
            inner.problem(
                name, f"is not a quantity{did_you_mean(name, UNITS)}; quantities: {known}"
            )
            continue
        if not isinstance(value, dict) or not value:
            inner.problem(name, "is not a table such as {min = 7.0, max = 7.8}")
            continue
        try:
            read({"alerts": {name: value}}, _ALERT_FIELDS)
            check_band(value, name)
        except FieldError as error:
            inner.problem(error.field.removeprefix("alerts."), error.reason)
            continue
        found[name] = value
    return found
