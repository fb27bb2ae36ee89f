"""A Telegraf configuration: every dialect's readings from the broker into InfluxDB.

One `inputs.mqtt_consumer` a dialect, with the `json_v2` parser; the topic's placeholders become
tags. Read with the parser's documentation of Telegraf 1.25; newer ones know the same options.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fieldhand import dialects as dialect_table
from fieldhand.connection import BrokerAddress
from fieldhand.export import series
from fieldhand.influxurl import InfluxUrl
from fieldproto.dialect import Dialect
from fieldproto.messages import ATTRIBUTES, EXT, Message

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
    tagged: set[str] = set()
    for template in message.topics:
        levels = template.split("/")
        words = [level[1:-1] if level.startswith("{") else "_" for level in levels]
        if any(word != "_" for word in words):
            tagged |= set(words)
            lines += _table(f"[{INPUT}.topic_parsing]", topic=_wild(template), tags="/".join(words))
    lines += _parser(dialect, message)
    lines += _tags(dialect, message, tagged)
    for one in series.series_of(message):
        lines += _field(one.path, one.quantity)
    lines += _open_maps(message)
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


def _parser(dialect: Dialect, message: Message) -> list[str]:
    values: dict[str, Any] = {"measurement_name": dialect.name}
    for field in message.fields:
        if field.means == "time" and "*" not in field.name:
            values["timestamp_path"] = field.name
            values["timestamp_format"] = "unix" if field.type == "epoch" else ISO_8601
    return _table(f"[{INPUT}.json_v2]", **values)


def _tags(dialect: Dialect, message: Message, tagged: set[str]) -> Iterator[str]:
    """Those that stand in the payload, where the topic does not have them."""
    for tag in series.tags(dialect):
        for field in message.fields:
            if field.means == tag and tag not in tagged:
                yield from _table(f"[{INPUT}.json_v2.tag]", path=field.name, rename=tag)


def _field(path: str, name: str, kind: str = "float") -> list[str]:
    return _table(f"[{INPUT}.json_v2.field]", path=path, rename=name, type=kind, optional=True)


def _open_maps(message: Message) -> Iterator[str]:
    """Quantities a user names: under a wildcard of the document, and in the extension key."""
    for field in message.fields:
        above, _, last = field.name.rpartition(".")
        if last == "*" and above and series.is_measured(field):
            known = [
                f.name.removeprefix(above + ".")
                for f in message.fields
                if f.name.startswith(above + ".") and not f.name.endswith("*")
            ]
            yield from _object(above, known)
    yield from _object(f"{EXT}.also", list(ATTRIBUTES))


def _object(path: str, excluded: list[str]) -> list[str]:
    return _table(
        f"[{INPUT}.json_v2.object]",
        path=path,
        optional=True,
        disable_prepend_keys=True,
        excluded_keys=excluded,
    )


def _broker_input(name: str, message: Message, address: BrokerAddress) -> str:
    lines = [
        f"# what `fieldhand monitor` publishes ({name} {message.name})",
        *_consumer(message.name.replace("_", "-"), message, address),
        *_parser(dialect_table.unbound(name), message),
    ]
    lines = [
        line.replace(f'measurement_name = "{name}"', f'measurement_name = "{series.BROKER}"')
        for line in lines
    ]
    for field in series.broker_fields(message):
        lines += _field(field, field)
    return "\n".join(lines)


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
