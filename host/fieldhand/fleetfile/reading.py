"""fleet.toml: the one file a user writes.

    [broker]            where the nodes and this host meet
    [wifi]              what the nodes join
    [defaults]          what every node has unless its own table says otherwise
    [node.NAME]         one table per node; NAME is its id on the wire
    [service]           settings of `fieldhand serve`, which checks them

`load` checks all of it, against the board and the dialect of each node too, and lists every
problem it finds; nothing is returned unless there is none.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldhand import boards
from fieldhand import dialects as dialect_table
from fieldhand.boards import pinrules
from fieldhand.errors import ConfigError, FieldhandError, did_you_mean
from fieldhand.fleetfile import secretref, sensors
from fieldhand.fleetfile.config import BrokerConfig, FleetFile, NodeConfig, WifiConfig
from fieldhand.fleetfile.nodejson import node_json
from fieldhand.fleetfile.secretref import Secret
from fieldhand.tomltable import Table
from fieldproto.controlconfig import DOSING_FIELDS, SCHEDULE_FIELDS

DEFAULT_NAME = "fleet.toml"
MAX_BYTES = 1_000_000
MAX_NODE_NAME = 64


def load(path: Path, need_nodes: bool = True) -> FleetFile:
    """Read and check a fleet file. Raises ConfigError with everything that is wrong.

    One without a node is wrong too with `need_nodes`; a server's has perhaps only [service].
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "; 'fieldhand init' writes one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(str(path), [f"{error.strerror or error}{hint}"]) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(str(path), [f"is larger than {MAX_BYTES} bytes"])
    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(path), [f"is not TOML: {error}"]) from error
    return check(data, path, need_nodes)


def check(data: Mapping[str, Any], path: Path, need_nodes: bool = True) -> FleetFile:
    """As `load`, for a file already parsed; `path` names it and says where `.env` is."""
    problems: list[str] = []
    top = Table(problems, "", data)
    folder = path.absolute().parent
    broker = _broker(top.table("broker", "[broker]"), folder)
    wifi = _wifi(top.table("wifi", "[wifi]"), folder)
    defaults = top.table("defaults", "[defaults]") or Table(problems, "[defaults]", {})
    base = _Defaults(defaults)
    ntp_host = defaults.text("ntp_host", "pool.ntp.org") or ""
    defaults.close()
    nodes: dict[str, NodeConfig] = {}
    tables = top.table("node", "[node]") or Table(problems, "[node]", {})
    for name, value in tables.data.items():
        if not isinstance(value, dict):
            tables.problem(name, f"is not a table; write [node.{name}]")
            continue
        node = _node(name, Table(problems, f"[node.{name}]", value), base, folder)
        if node is not None:
            nodes[name] = node
    if need_nodes and not tables.data:
        top.problem("node", "no node: write a table [node.NAME]")
    service = top.raw("service", {})
    if not isinstance(service, dict):
        top.problem("service", "is not a table; write [service]")
    top.close()
    if problems:
        raise ConfigError(str(path), problems)
    _check_builds(FleetFile(path, broker, wifi, ntp_host, nodes))
    return FleetFile(path, broker, wifi, ntp_host, nodes, service)


def _check_builds(file: FleetFile) -> None:
    """What only the finished node.json shows: a pin used twice."""
    problems = []
    for node in file.nodes.values():
        try:
            node_json(file, node, for_check=True)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(str(file.path), problems)


def _broker(table: Table | None, folder: Path) -> BrokerConfig:
    if table is None:
        return BrokerConfig()
    host = table.text("host", "127.0.0.1") or ""
    tls_ca = None
    tls = table.table("tls", "[broker.tls]")
    if tls is not None:
        ca = tls.text("ca")
        if ca is not None and not (folder / ca).is_file():
            tls.problem("ca", f"no file {ca} beside the fleet file")
        tls_ca = str(folder / ca) if ca is not None else ""
        tls.close()
    broker = BrokerConfig(
        host=host,
        port=table.whole("port", 1883 if tls is None else 8883, 1, 65535),
        node_host=table.text("node_host", host) or "",
        user=_open_text(table, "user", folder),
        secret=_secret(table, "password", "MQTT_PASSWORD", folder),
        tls_ca=tls_ca,
        keepalive_s=table.duration("keepalive", 60_000, 5_000, 65_535_000) // 1000,
    )
    if broker.secret is not None and broker.user is None:
        table.problem("user", "is required with a password")
    table.close()
    return broker


def _wifi(table: Table | None, folder: Path) -> WifiConfig | None:
    if table is None:
        return None
    ssid = table.text("ssid", required=True)
    if ssid is not None and len(ssid.encode()) > 32:
        table.problem("ssid", "is longer than 32 bytes")
    wifi = WifiConfig(ssid or "", _secret(table, "password", "WIFI_PASSWORD", folder))
    table.close()
    return wifi


class _Defaults:
    """The values of [defaults], and the same keys read again for each node."""

    def __init__(self, table: Table) -> None:
        self.board = table.choice("board", boards.names(), "esp32-devkitc")
        self.extras = True
        self.interval_ms = 30_000
        self.status_interval_ms = 60_000
        self.watchdog_ms = 60_000
        self.outbox_bytes = 262_144
        self.outbox_flush_s = 360
        self.utc_offset_min = 0
        self.clean_session = True
        for name, value in self.read(table).items():
            setattr(self, name, value)

    def read(self, table: Table) -> dict[str, Any]:
        day = 86_400_000
        return {
            "extras": table.flag("extras", self.extras),
            "interval_ms": table.duration("interval", self.interval_ms, 1000, day),
            "status_interval_ms": table.duration(
                "status_interval", self.status_interval_ms, 1000, day
            ),
            "watchdog_ms": table.duration("watchdog", self.watchdog_ms, 5000, 600_000),
            "outbox_bytes": table.whole("outbox_bytes", self.outbox_bytes, 16_384, 1_048_576),
            "outbox_flush_s": table.duration("outbox_flush", self.outbox_flush_s * 1000, 1000, day)
            // 1000,
            "utc_offset_min": table.whole("utc_offset_min", self.utc_offset_min, -720, 840),
            "clean_session": table.flag("clean_session", self.clean_session),
        }


def _node(name: str, table: Table, base: _Defaults, folder: Path) -> NodeConfig | None:
    before = len(table.problems)
    if (
        not 0 < len(name) <= MAX_NODE_NAME
        or any(c in name for c in "/+#$\0")
        or name != name.strip()
    ):
        table.problem("", "the name stands in topics: no /, +, #, $ or outer blanks, 64 at most")
    board_name = table.choice("board", boards.names(), base.board or "")
    dialect_name = table.choice("dialect", dialect_table.names())
    options = _options(table, dialect_name)
    values = base.read(table)
    user = _open_text(table, "mqtt_user", folder)
    secret = _secret(table, "mqtt_password", "MQTT_PASSWORD", folder)
    board = boards.load(board_name) if board_name is not None else None
    node = NodeConfig(
        name=name,
        board=board_name or "",
        dialect=dialect_name or "",
        options=options,
        led=sensors.led(table, board),
        sensors=sensors.sensors(table, board, dialect_name),
        actuators=sensors.actuators(table, board),
        dosing=sensors.tables(table, "dosing", DOSING_FIELDS),
        schedules=sensors.tables(table, "schedules", SCHEDULE_FIELDS),
        alerts=sensors.alerts(table),
        mqtt_user=user,
        mqtt_secret=secret,
        **values,
    )
    if board is not None:
        found = pinrules.uses(board, node.sensors, node.actuators, node.led)
        for problem in (
            *pinrules.check_count(board, len(node.actuators)),
            *pinrules.check(board, found),
        ):
            table.problem(problem.key, problem.text)
    table.close()
    return node if len(table.problems) == before else None


def _options(table: Table, dialect: str | None) -> dict[str, Any]:
    options = table.raw("options", {})
    if not isinstance(options, dict):
        table.problem("options", 'is not a table, such as { org = "org-123" }')
        return {}
    if dialect is None:
        return options
    known = [field.name for field in dialect_table.unbound(dialect).option_fields]
    unknown = [key for key in options if key not in known]
    for key in unknown:
        allowed = ", ".join(known) or "none"
        table.problem(
            f"options.{key}",
            f"unknown{did_you_mean(key, known)}; options of {dialect}: {allowed}",
        )
    if not unknown:
        try:
            dialect_table.load(dialect, options)
        except FieldhandError as error:
            table.problem("options", str(error))
    return options


def _open_text(table: Table, key: str, folder: Path) -> str | None:
    """A text that is no secret but may be a reference all the same."""
    text = table.text(key)
    reference = secretref.parse(text, folder) if text is not None else None
    if reference is None:
        return text
    try:
        return reference.value()
    except ConfigError as error:
        table.problem(key, "; ".join(error.problems))
        return None


def _secret(table: Table, key: str, example: str, folder: Path) -> Secret | None:
    text = table.raw(key)
    if text is None:
        return None
    secret = secretref.parse(text, folder) if isinstance(text, str) else None
    if secret is None:
        table.problem(
            key,
            f'a secret must not stand in this file; write {key} = "${{{example}}}" and put '
            f"{example}=... into the .env file beside it (or into the environment)",
        )
    return secret
