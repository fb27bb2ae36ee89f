"""Command parameters as a person types them: `durationMs=3000 mode=auto`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fieldhand.errors import BadParameter, did_you_mean
from fieldproto.messages import Command
from fieldproto.schema import Field


def parse(node: str, command: Command, words: Iterable[str]) -> dict[str, Any]:
    """The parameters in `words`, each converted as the command's table says.

    Raises BadParameter. Ranges are not checked here: the dialect does that when it encodes.
    """
    fields = {field.name: field for field in command.params}
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise BadParameter(node, command.name, word, "is not NAME=VALUE")
        if name not in fields:
            takes = ", ".join(describe(field) for field in command.params) or "none"
            hint = did_you_mean(name, fields)
            raise BadParameter(
                node, command.name, name, f"is not a parameter{hint}; it takes: {takes}"
            )
        if name in found:
            raise BadParameter(node, command.name, name, "is given twice")
        try:
            found[name] = _convert(fields[name], text)
        except ValueError as error:
            raise BadParameter(node, command.name, name, str(error)) from None
    return found


def _convert(field: Field, text: str) -> Any:
    if field.type in ("int", "epoch"):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"'{text}' is not a whole number") from None
    if field.type == "number":
        try:
            return int(text) if text.lstrip("+-").isdigit() else float(text)
        except ValueError:
            raise ValueError(f"'{text}' is not a number") from None
    if field.type == "bool":
        if text not in ("true", "false"):
            raise ValueError(f"'{text}' is not true or false")
        return text == "true"
    return text


def describe(field: Field) -> str:
    """A parameter in a few words: `durationMs (whole number, 1 to 86400000 ms)`."""
    if field.values:
        facts = " or ".join(str(word) for word in field.values)
    else:
        facts = {"int": "whole number", "epoch": "Unix seconds", "string": "text"}.get(
            field.type, field.type
        )
        if field.type in ("int", "number") and (field.lo is not None or field.hi is not None):
            facts += ", " + bounds(field)
        elif field.unit:
            facts += f", {field.unit}"
    return f"{field.name} ({facts}{', required' if field.required else ''})"


def bounds(field: Field) -> str:
    """The range of a number with its unit: "0 to 14", "at least 0 ppm"."""
    unit = f" {field.unit}" if field.unit else ""
    if field.lo is None and field.hi is None:
        return unit.strip()
    if field.hi is None:
        return f"at least {field.lo}{unit}"
    if field.lo is None:
        return f"at most {field.hi}{unit}"
    return f"{field.lo} to {field.hi}{unit}"
