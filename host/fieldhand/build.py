"""From a node of the fleet file and its board to what is on the node: node.json, NVS, flash."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from fieldhand import boards, credentials, mpy, paths, pinrules
from fieldhand.errors import ConfigError, FieldhandError
from fieldhand.fleetfile import LOOPBACK, FleetFile, NodeConfig
from fieldproto import nodeconfig
from fieldproto.schema import FieldError
from fieldproto.sensortypes import address, yields

# Where the node looks for the certificate of the broker's authority.
CA_ON_NODE = "ca.pem"
_START = ("boot.py", "main.py")  # MicroPython runs these by their names: never compiled


def node_json(
    file: FleetFile,
    node: NodeConfig,
    *,
    broker: tuple[str, int] | None = None,
    for_check: bool = False,
) -> dict[str, Any]:
    """The node.json of a node, without its secrets (see `secrets`).

    `broker` (host, port) stands in for the file's, as the simulator needs it. Raises ConfigError
    for what would not work on the board.
    """
    board = boards.load(node.board)
    where = f"[node.{node.name}]"
    host, port = broker or (file.broker.node_host, file.broker.port)
    if not (for_check or board.simulated or broker) and host in LOOPBACK:
        raise ConfigError(
            str(file.path),
            [
                f"[broker] node_host: a node on a real board cannot reach {host}; "
                "give this machine's address on the network"
            ],
        )
    if not (for_check or board.simulated) and file.wifi is None:
        raise ConfigError(str(file.path), [f"[wifi]: is required for {where}, a real board"])
    settings: dict[str, Any] = {
        "version": nodeconfig.VERSION,
        "node": node.name,
        "dialect": node.dialect,
        "options": dict(node.options),
        "extras": node.extras,
        "wifi": {"ssid": file.wifi.ssid if file.wifi is not None else "simulated"},
        "broker": {
            "host": host,
            "port": port,
            "keepalive_s": file.broker.keepalive_s,
            "clean_session": node.clean_session,
        },
        "ntp_host": file.ntp_host,
        "interval_ms": node.interval_ms,
        "status_interval_ms": node.status_interval_ms,
        "watchdog_ms": node.watchdog_ms,
        "outbox_bytes": node.outbox_bytes,
        "outbox_flush_s": node.outbox_flush_s,
        "utc_offset_min": node.utc_offset_min,
        "sensors": [dict(sensor) for sensor in node.sensors],
        "actuators": [dict(actuator) for actuator in node.actuators],
        "dosing": [dict(loop) for loop in node.dosing],
        "schedules": [dict(schedule) for schedule in node.schedules],
        "alerts": {name: dict(limits) for name, limits in node.alerts.items()},
    }
    if file.broker.tls_ca is not None and broker is None:
        settings["broker"]["tls"] = {"ca": CA_ON_NODE} if file.broker.tls_ca else {}
    if node.led is not None:
        settings["led"] = dict(node.led)
    if any(address(sensor) is not None for sensor in settings["sensors"]):
        settings["i2c"] = dict(board.defaults["i2c"])
    try:
        nodeconfig.load(settings)
    except FieldError as error:
        raise ConfigError(str(file.path), [f"{where} {error.field}: {error.reason}"]) from None
    return settings


def secrets(file: FleetFile, node: NodeConfig) -> dict[str, str]:
    """What belongs into the node's NVS namespace "fieldhand". Raises ConfigError when unset.

    A node for which the file names no user has the credentials that were made for it, and without
    them those of [broker].
    """
    found = {"id": node.name}
    if file.wifi is not None:
        found["wifi_ssid"] = file.wifi.ssid
        if file.wifi.secret is not None:
            found["wifi_pass"] = file.wifi.secret.value()
    made = None
    if node.mqtt_user is None:
        made = credentials.load(credentials.path_for(file.path)).get(node.name)
    if made is not None:
        return found | {"mqtt_user": made.user, "mqtt_pass": made.password}
    user = node.mqtt_user or file.broker.user
    secret = node.mqtt_secret if node.mqtt_user else file.broker.secret
    if user:
        found["mqtt_user"] = user
    if secret is not None:
        found["mqtt_pass"] = secret.value()
    return found


def write(file: FleetFile, node: NodeConfig, folder: Path, *, source: bool = False) -> list[Path]:
    """Write into `folder` all that a node's flash holds: firmware, node.json, secrets.json, CA.

    The firmware is compiled, or .py with `source`; the other kind of an earlier build goes, since
    MicroPython would take a .py before its .mpy. Returns what is at the top of `folder`. Raises
    ConfigError, and FieldhandError, of which MissingPart.
    """
    settings, hidden = node_json(file, node), secrets(file, node)
    packages = (paths.firmware() / "fieldnode", paths.protocol() / "fieldproto")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for package in packages:
            shutil.rmtree(folder / package.name, ignore_errors=True)
        for name in _START:
            shutil.copyfile(paths.firmware() / name, folder / name)
        if source:
            for name, path in mpy.modules(*packages):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name)
        else:
            mpy.write(folder, *packages, short=True)
        text = json.dumps(settings, indent=2, ensure_ascii=False)
        (folder / "node.json").write_text(text + "\n", "utf-8")
        if file.broker.tls_ca and "tls" in settings["broker"]:
            shutil.copyfile(file.broker.tls_ca, folder / CA_ON_NODE)
        private = folder / "secrets.json"
        private.touch(mode=0o600)
        private.chmod(0o600)
        private.write_text(json.dumps(hidden, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise FieldhandError(f"{error.filename or folder}: {error.strerror or error}") from error
    return sorted(folder.iterdir())


def warnings(node: NodeConfig) -> list[str]:
    """Pins that may be used but had better not be, thresholds that nothing can cross."""
    board = boards.load(node.board)
    uses = pinrules.uses(board, node.sensors, node.actuators, node.led)
    found = [f"[node.{node.name}] {p.key}: {p.text}" for p in pinrules.warnings(board, uses)]
    measured = {name for sensor in node.sensors for name in yields(dict(sensor))}
    found += [
        f"[node.{node.name}.alerts] {name}: no sensor measures it, so no alert can come of it"
        for name in node.alerts
        if name not in measured
    ]
    return found
