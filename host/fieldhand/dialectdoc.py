"""A dialect's tables as plain data, for `fieldhand dialect show`."""

from __future__ import annotations

import sys
from typing import Any

from fieldhand.parameters import bounds
from fieldproto.dialect import Dialect
from fieldproto.schema import Field


def summary(dialect: Dialect) -> str:
    """The first line of the dialect's module."""
    doc = sys.modules[f"fieldproto.dialects.{dialect.name}"].__doc__ or ""
    return doc.strip().split("\n")[0].rstrip(".")


def describe(dialect: Dialect) -> dict[str, Any]:
    """JSON-ready: options, messages with topics and fields, commands with parameters."""
    return {
        "name": dialect.name,
        "summary": summary(dialect),
        "options": [_field(field) for field in dialect.option_fields],
        "messages": [
            {
                "name": message.name,
                "kind": message.kind,
                "sender": message.sender,
                "topics": list(message.topics),
                "qos": message.qos,
                "retain": message.retain,
                "batch": message.batch,
                "fields": [_field(field) for field in message.fields],
            }
            for message in dialect.messages
        ],
        "commands": [
            {
                "name": command.name,
                "doc": command.doc,
                "params": [_field(field) for field in command.params],
                "reply": [_field(field) for field in command.reply],
            }
            for command in dialect.commands
        ],
    }


def _field(field: Field) -> dict[str, Any]:
    facts = []
    if field.const is not None:
        facts.append(f'always "{field.const}"')
    elif field.values:
        words = [
            str(word).lower() if isinstance(word, bool) else str(word) for word in field.values
        ]
        facts.append(" | ".join(words) + (" | ..." if field.open else ""))
    if field.type in ("int", "number", "epoch"):
        facts.append(bounds(field))
    found: dict[str, Any] = {
        "name": field.name,
        "type": field.type,
        "required": bool(field.required),
        "facts": ", ".join(fact for fact in facts if fact),
        "doc": field.doc,
    }
    for key in ("means", "unit", "lo", "hi"):
        value = getattr(field, key)
        if value not in (None, ""):
            found[key] = value
    return found
