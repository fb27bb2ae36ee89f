"""A Telegraf configuration: every dialect's readings from the broker into InfluxDB.

One `inputs.mqtt_consumer` a dialect, with the `json_v2` parser; the topic's placeholders become
tags. What the parser does with each option is told in its README and its source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fieldhand import dialects as dialect_table
from fieldhand.connection import BrokerAddress
from fieldhand.export import series
from fieldhand.influxurl import InfluxUrl
from fieldproto.messages import Message

# Go's reference time, as ISO 8601; a fraction of a second is read all the same.
ISO_8601 = "2006-01-02T15:04:05Z07:00"
# Of the secrets only the names of environment variables are written.
MQTT_PASSWORD = "${FIELDHAND_MQTT_PASSWORD}"
INFLUX_PASSWORD = "${FIELDHAND_INFLUX_PASSWORD}"
INFLUX_TOKEN = "${FIELDHAND_SERVICE_INFLUX_TOKEN}"
INPUT = "inputs.mqtt_consumer"


def configuration(
    names: Sequence[str] = (),
    broker: BrokerAddress | None = None,
    influx: InfluxUrl | None = None,
) -> str:
    """The text of a file for telegraf.d; of all dialects unless `names` says which.

    Without `influx` it has no output: that stands in another file. Raises FieldhandError.
    """
    address = BrokerAddress() if broker is None else broker
    blocks = ["# Made by `fieldhand export telegraf`; secrets come from the environment."]
    for name in names or dialect_table.names():
        blocks += [_input(name, message, address) for message in series.readings(name)]
        statistics = series.broker_message(name)
        if statistics is not None:
            blocks.append(_broker_input(name, statistics, address))
    if influx is not None:
        blocks.append(_output(influx))
    return "\n\n".join(blocks) + "\n"


def _input(name: str, message: Message, address: BrokerAddress) -> str:
    dialect = dialect_table.unbound(name)
    lines = [f"# {name} {message.name}", *_consumer(f"{name}-{message.name}", message, address)]
    in_topic: set[str] = set()
    for template in message.topics:
        levels = template.split("/")
        words = [level[1:-1] if level.startswith("{") else "_" for level in levels]
        if any(word != "_" for word in words):
            in_topic |= set(words)
            lines += _table(f"[{INPUT}.topic_parsing]", topic=_wild(template), tags="/".join(words))
    wanted = [tag for tag in series.tags(dialect) if tag not in in_topic]
    tags = {f.name: f.means for f in message.fields if f.means in wanted}
    names = {one.path.replace(".", "_"): one.quantity for one in series.series_of(message)}
    # What else comes on the topic gives points without fields, which Telegraf drops.
    known = {f.name for f in message.fields}
    others = [
        f.name
        for other in dialect.messages
        if other is not message and set(other.topics) & set(message.topics)
        for f in other.fields
        if f.name not in known
    ]
    lines += _parser(dialect.name, message, tags, names, others)
    return "\n".join(lines)


def _broker_input(name: str, message: Message, address: BrokerAddress) -> str:
    lines = [
        f"# what `fieldhand monitor` publishes ({name} {message.name})",
        *_consumer(message.name.replace("_", "-"), message, address),
        *_parser(series.BROKER, message, {}, {}),
    ]
    return "\n".join(lines)


def _consumer(suffix: str, message: Message, address: BrokerAddress) -> list[str]:
    scheme = "tcp" if address.tls_ca is None else "ssl"
    host = f"[{address.host}]" if ":" in address.host else address.host
    values: dict[str, Any] = {
        "servers": [f"{scheme}://{host}:{address.port}"],
        "topics": sorted({_wild(template) for template in message.topics}),
        "topic_tag": "",
        "qos": message.qos,
        # What comes while Telegraf is away waits at the broker.
        "persistent_session": True,
        "client_id": f"fieldhand-telegraf-{suffix}",
    }
    if address.user is not None:
        values |= {"username": address.user, "password": MQTT_PASSWORD}
    if address.tls_ca:
        values["tls_ca"] = address.tls_ca
    return _table(f"[{INPUT}]", **values, data_format="json_v2")


def _parser(
    measurement: str,
    message: Message,
    tags: Mapping[str, str],
    names: Mapping[str, str],
    others: Sequence[str] = (),
) -> list[str]:
    """One object, the whole payload; a list of readings gives a point each.

    `timestamp_path` would refuse a reading without a time, `timestamp_key` takes the arrival's.
    Nothing below the first level is left out: the parser loses a message whose last part is an
    object of which it takes nothing.
    """
    values: dict[str, Any] = {"path": "@this", "disable_prepend_keys": True}
    left_out = list(others)
    for field in message.fields:
        if "." in field.name or field.name == "*" or field.name in tags:
            continue
        if field.means == "time":
            values["timestamp_key"] = field.name
            values["timestamp_format"] = "unix" if field.type == "epoch" else ISO_8601
        elif field.type not in ("object", "any") and (
            not series.is_measured(field) or field.const is not None
        ):
            left_out.append(field.name)
    if tags:
        values["tags"] = sorted(tags)
    if left_out:
        values["excluded_keys"] = left_out
    lines = _table(f"[{INPUT}.json_v2]", measurement_name=measurement)
    lines += _table(f"[{INPUT}.json_v2.object]", **values)
    renamed = {**tags, **{path: name for path, name in names.items() if path != name}}
    if renamed:
        lines.append(f"    [{INPUT}.json_v2.object.renames]")
        lines += [f"      {json.dumps(path)} = {json.dumps(renamed[path])}" for path in renamed]
    return lines


def _output(target: InfluxUrl) -> str:
    # `host` would be Telegraf's own.
    common: dict[str, Any] = {"urls": [target.url], "tagexclude": ["host"]}
    if target.database is None:
        where = {"organization": target.org, "bucket": target.bucket, "token": INFLUX_TOKEN}
        return "\n".join(_table("[outputs.influxdb_v2]", **common, **where))
    values: dict[str, Any] = {**common, "database": target.database}
    if target.policy is not None:
        values["retention_policy"] = target.policy
    if target.user is not None:
        values |= {"username": target.user, "password": INFLUX_PASSWORD}
    return "\n".join(_table("[outputs.influxdb]", **values))


def _wild(template: str) -> str:
    return "/".join("+" if level.startswith("{") else level for level in template.split("/"))


def _table(header: str, **values: Any) -> list[str]:
    """An element of an array of tables, indented by its depth."""
    indent = "  " * max(0, header.count(".") - 1)
    lines = [f"{indent}[{header}]"]
    # A string of JSON is one of TOML too.
    lines += [f"{indent}  {k} = {json.dumps(v, ensure_ascii=False)}" for k, v in values.items()]
    return lines
