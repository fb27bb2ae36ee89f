"""From a node of the fleet file and its board to its node.json."""

from __future__ import annotations

from typing import Any

from fieldhand import boards
from fieldhand.errors import ConfigError
from fieldhand.fleetfile.config import LOOPBACK, FleetFile, NodeConfig
from fieldproto import nodeconfig
from fieldproto.schema import FieldError
from fieldproto.sensortypes import address

# Where the node looks for the certificate of the broker's authority.
CA_ON_NODE = "ca.pem"


def node_json(
    file: FleetFile,
    node: NodeConfig,
    *,
    broker: tuple[str, int] | None = None,
    for_check: bool = False,
) -> dict[str, Any]:
    """The node.json of a node, without its secrets (see `build.secrets`).

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
