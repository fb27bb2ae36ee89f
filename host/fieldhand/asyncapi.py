"""A dialect as an AsyncAPI 3.0 document, seen from the host: it receives what nodes send."""

from __future__ import annotations

from typing import Any

from fieldhand import dialects as dialect_table
from fieldhand import payloadschema
from fieldhand.dialectdoc import summary
from fieldproto.dialect import Dialect
from fieldproto.messages import Message

VERSION = "3.0.0"
# Of the documents, not of the dialects' own.
DOCUMENT_VERSION = "1.0.0"
# Of the AsyncAPI MQTT bindings.
BINDING_VERSION = "0.2.0"

_KINDS = {
    "reading": "A reading of a node.",
    "status": "What a node says of itself, or its broker of it (the Last Will).",
    "reply": "The answer to a command.",
    "alert": "A quantity left its limits.",
    "command": "A command to a node.",
    "config": "New settings for a node.",
    "broker": "The health of the broker.",
}


def document(name: str) -> dict[str, Any]:
    """The AsyncAPI document of the dialect `name`, JSON-ready. Raises FieldhandError."""
    dialect = dialect_table.unbound(name)
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for message in dialect.messages:
        messages[message.name] = _message(dialect, message)
        for variant, topic in enumerate(message.topics):
            channel = _channel_id(channels, topic)
            entry = channels.setdefault(channel, _channel(dialect, topic))
            entry["messages"][message.name] = {"$ref": f"#/components/messages/{message.name}"}
            suffix = "" if variant == 0 else f"_{variant + 1}"
            operations[f"{_verb(message)}_{message.name}{suffix}"] = _operation(message, channel)
    return {
        "asyncapi": VERSION,
        "info": {
            "title": f"Fieldhand dialect {name}",
            "version": DOCUMENT_VERSION,
            "description": summary(dialect),
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _verb(message: Message) -> str:
    return "receive" if message.sender == "node" else "send"


def _channel_id(channels: dict[str, Any], topic: str) -> str:
    """A name for a topic: its fixed levels, "devices_data", numbered where that is taken."""
    name = "_".join(level for level in topic.split("/") if not level.startswith("{")) or "root"
    found, number = name, 1
    while found in channels and channels[found]["address"] != topic:
        number += 1
        found = f"{name}_{number}"
    return found


def _channel(dialect: Dialect, topic: str) -> dict[str, Any]:
    docs = {field.name: field.doc for field in dialect.option_fields}
    parameters = {}
    for level in topic.split("/"):
        if level.startswith("{"):
            key = level[1:-1]
            parameters[key] = {"description": docs.get(key) or "id of the node"}
    channel: dict[str, Any] = {"address": topic, "messages": {}}
    if parameters:
        channel["parameters"] = parameters
    return channel


def _message(dialect: Dialect, message: Message) -> dict[str, Any]:
    found = {
        "name": message.name,
        "title": f"{dialect.name} {message.name}",
        "summary": _KINDS[message.kind],
        "contentType": "application/json",
        "payload": payloadschema.payload(dialect, message),
    }
    if message.max_bytes:
        found["description"] = f"Under {message.max_bytes} bytes."
    return found


def _operation(message: Message, channel: str) -> dict[str, Any]:
    return {
        "action": _verb(message),
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message.name}"}],
        "bindings": {
            "mqtt": {
                "qos": message.qos,
                "retain": message.retain,
                "bindingVersion": BINDING_VERSION,
            }
        },
    }
