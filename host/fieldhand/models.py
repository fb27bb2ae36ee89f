"""Pydantic models of a dialect's messages, from the same field tables as everything else.

For programs that want typed payloads, a web framework's request bodies, or a second opinion on a
message. `Dialect.decode` is what decides; a test holds the two to the same verdict.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    create_model,
)

from fieldhand import dialects as dialect_table
from fieldhand.errors import FieldhandError
from fieldhand.payloadschema import extension
from fieldproto import schema
from fieldproto.messages import EXT, Message
from fieldproto.timestamps import parse_utc


class Payload(BaseModel):
    """Base of all generated models: nothing is converted, nothing unknown accepted, but for keys
    of the extension that a newer firmware may have: they are left out.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class _Extension(Payload):
    model_config = ConfigDict(extra="ignore")


class _Open(Payload):
    model_config = ConfigDict(extra="allow")


@cache
def adapter(dialect: str, message: str) -> TypeAdapter[Any]:
    """Validates whatever payload a message may have: its model, or a list of them where the
    dialect sends several in one. Raises FieldhandError as `model`.
    """
    one: Any = model(dialect, message)
    limit = _message(dialect, message).batch
    if limit:
        one = one | Annotated[list[one], Field(min_length=1, max_length=limit)]
    return TypeAdapter(one)


@cache
def model(dialect: str, message: str) -> type[Payload]:
    """The model of a message: `model("dese", "telemetry").model_validate_json(payload)`.

    Attribute names are those of the document; one that is a word of Python's or pydantic's own has
    an underscore behind. Raises FieldhandError for an unknown dialect or message. Commands are not
    covered: their parameters depend on the command.
    """
    found = _message(dialect, message)
    name = f"{dialect}_{message}"
    table, unknown = extension(found)
    inner = _model(
        f"{name}{EXT}", {f.name: f for f in table}, "", _Extension if unknown else Payload
    )
    more = {"fh": (inner | None, Field(None, alias=EXT))}
    return _model(name, {f.name: f for f in found.fields}, "", Payload, more)


def _message(dialect: str, message: str) -> Message:
    for found in dialect_table.unbound(dialect).messages:
        if found.name == message and found.kind != "command":
            return found
    raise FieldhandError(f"dialect {dialect} has no message {message} with a model")


def _model(
    name: str,
    fields: dict[str, schema.Field],
    prefix: str,
    closed: type[Payload],
    more: dict[str, Any] | None = None,
) -> type[Payload]:
    """`closed` is the base of objects that have no open map, `more` are attributes of their own."""
    attributes: dict[str, Any] = {}
    base = closed
    for full, field in fields.items():
        key = full.removeprefix(prefix)
        if not full.startswith(prefix) or "." in key:
            continue
        kind = _type(f"{name}_{key}", field, fields, f"{full}.", closed)
        if key == "*":
            extra: Any = kind if field.type == "any" else kind | None
            space = {
                "__annotations__": {"__pydantic_extra__": dict.__class_getitem__((str, extra))}
            }
            base = type(f"{name}_open", (_Open,), space)
            continue
        attributes[_attribute(key)] = (
            (kind, Field(alias=key, description=field.doc or None))
            if field.required
            else (kind | None, Field(None, alias=key, description=field.doc or None))
        )
    return create_model(name, __base__=base, **attributes, **(more or {}))


def _attribute(key: str) -> str:
    import keyword

    spelled = "".join(c if c.isalnum() or c == "_" else "_" for c in key).lstrip("_")
    return f"{spelled}_" if keyword.iskeyword(spelled) or hasattr(BaseModel, spelled) else spelled


def _type(
    name: str,
    field: schema.Field,
    fields: dict[str, schema.Field],
    children: str,
    closed: type[Payload],
) -> Any:
    if field.type == "object" and any(full.startswith(children) for full in fields):
        return _model(name, fields, children, closed)
    if field.const is not None:
        return Literal[field.const]
    if field.values and not field.open:
        words: Any = Literal.__getitem__(tuple(field.values))
        return Annotated[words, BeforeValidator(_no_lookalike)]
    if field.type in ("number", "int", "epoch"):
        limits = Field(
            ge=-schema.MAX_NUMBER if field.lo is None else field.lo,
            le=schema.MAX_NUMBER if field.hi is None else field.hi,
        )
        if field.type == "number":
            return Annotated[float, limits]
        return Annotated[int, BeforeValidator(_whole), limits]
    if field.type == "string":
        limits = Field(min_length=int(field.lo or 0), max_length=int(field.hi or schema.MAX_STRING))
        return Annotated[str, limits]
    if field.type == "time":
        return Annotated[str, AfterValidator(_utc)]
    return {"bool": bool, "list": list[Any], "object": dict[str, Any], "any": Any}[field.type]


def _whole(value: Any) -> Any:
    # JSON has one kind of number: 25.0 is the whole number 25.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _no_lookalike(value: Any) -> Any:
    # Literal compares with ==, and in Python 1 == True.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _utc(text: str) -> str:
    parse_utc(text)
    return text
