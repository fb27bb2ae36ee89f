"""JSON Schema (draft 7) of a dialect's messages, from the field tables both ends decode with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from fieldproto.dialect import Dialect
from fieldproto.messages import EXT, MAX_ID, Command, Message
from fieldproto.schema import MAX_NUMBER, MAX_STRING, Field
from fieldproto.uplink import EXT_FIELDS, EXT_VERSION

# What `fieldproto.timestamps.parse_utc` reads.
UTC_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00:00)$"

# What the extension may carry in what a host sends: an unknown key may be a limit of a command.
_HOST_EXT_FIELDS = (Field("id", "string", lo=1, hi=MAX_ID, required=True),)

Schema = dict[str, Any]


def extension(message: Message) -> tuple[tuple[Field, ...], bool]:
    """The table of a message's extension key, and whether other keys are passed over there."""
    if message.sender == "host":
        return _HOST_EXT_FIELDS, False
    return EXT_FIELDS, True


def payload(dialect: Dialect, message: Message) -> Schema:
    """The schema of a message's payload, the extension key included."""
    if message.kind != "command":
        one = _with_extension(table(message.fields), message)
        if not message.batch:
            return one
        several = {"type": "array", "items": one, "minItems": 1, "maxItems": message.batch}
        return {"oneOf": [one, several]}
    found = [_command(message, command) for command in dialect.commands]
    return found[0] if len(found) == 1 else {"oneOf": found}


def table(fields: Iterable[Field], unknown: bool = False) -> Schema:
    """The schema of the object that a table of (dotted) fields describes.

    `unknown`: other keys are passed over; else they are refused.
    """
    return _object({field.name: field for field in fields}, "", unknown)


def _command(message: Message, command: Command) -> Schema:
    fields = {field.name: field for field in message.fields}
    prefix = f"{message.params}." if message.params else ""
    for param in command.params:
        fields[prefix + param.name] = param
    schema = _object(fields, "", False)
    key = next(field.name for field in message.fields if field.means == "command")
    schema["properties"][key] = {"const": command.name}
    schema["title"] = command.name
    if command.doc:
        schema["description"] = command.doc
    if message.params:
        inner = schema["properties"][message.params]
        inner["additionalProperties"] = False
        # Left out, `parameters` could hide that one of them is required.
        if any(param.required for param in command.params):
            schema["required"].append(message.params)
    return _with_extension(schema, message)


def _with_extension(schema: Schema, message: Message) -> Schema:
    fields, unknown = extension(message)
    inner = table(fields, unknown)
    inner["type"] = ["object", "null"]
    inner["description"] = "Fieldhand's extension: the command's id, which its answer names"
    if unknown:
        inner["description"] = (
            "Fieldhand's extension: provenance, correlation and answers; absent with extras off. "
            f"Keys that are not known are ignored; a `v` over {EXT_VERSION} is refused"
        )
    schema["properties"][EXT] = inner
    return schema


def _object(fields: dict[str, Field], prefix: str, unknown: bool) -> Schema:
    properties: Schema = {}
    required: list[str] = []
    other: Schema | bool = unknown
    is_open = False
    for name, field in fields.items():
        key = name.removeprefix(prefix)
        if not name.startswith(prefix) or "." in key:
            continue
        inner = _field(field, fields, f"{name}.", unknown)
        if key == "*":
            other, is_open = inner or True, True
            continue
        properties[key] = inner
        if field.required:
            required.append(key)
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": other,
    }
    if is_open:
        schema["propertyNames"] = {"minLength": 1, "maxLength": MAX_STRING}
    return schema


def _field(field: Field, fields: dict[str, Field], children: str, unknown: bool) -> Schema:
    schema: Schema
    if field.type == "object" and any(name.startswith(children) for name in fields):
        schema = _object(fields, children, unknown)
    else:
        schema = dict(_TYPES[field.type])
    if field.type in ("number", "int", "epoch"):
        schema["minimum"] = -MAX_NUMBER if field.lo is None else field.lo
        schema["maximum"] = MAX_NUMBER if field.hi is None else field.hi
    elif field.type == "string":
        schema["maxLength"] = math.floor(field.hi or MAX_STRING)
        if field.lo:
            schema["minLength"] = math.ceil(field.lo)
    if field.const is not None:
        schema = {"const": field.const}
    elif field.values:
        words = list(field.values)
        schema["examples" if field.open else "enum"] = words
    # An optional field that is null counts as absent.
    if not field.required and "type" in schema:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    elif not field.required and "const" in schema:
        schema = {"enum": [field.const, None]}
    if field.doc:
        schema["description"] = field.doc
    if field.unit:
        schema["x-unit"] = field.unit
    if field.means:
        schema["x-quantity" if field.unit else "x-means"] = field.means
    return schema


_TYPES: dict[str, Schema] = {
    "number": {"type": "number"},
    "int": {"type": "integer"},
    "epoch": {"type": "integer"},
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time", "pattern": UTC_PATTERN},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "any": {},
}
