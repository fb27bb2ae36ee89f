"""What a checked fleet.toml says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldhand.fleetfile.secretref import Secret

if TYPE_CHECKING:
    from fieldhand.connection import BrokerAddress

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class BrokerConfig:
    """[broker]. `node_host` is the address by which the nodes reach it."""

    host: str = "127.0.0.1"
    port: int = 1883
    node_host: str = "127.0.0.1"
    user: str | None = None
    secret: Secret | None = None
    tls_ca: str | None = None
    keepalive_s: int = 60

    def address(self) -> BrokerAddress:
        """For a client on this host, the password looked up. Raises ConfigError without it."""
        from fieldhand.connection import BrokerAddress

        password = self.secret.value() if self.secret is not None else None
        return BrokerAddress(self.host, self.port, self.user, password, self.tls_ca)


@dataclass(frozen=True)
class WifiConfig:
    """[wifi]."""

    ssid: str
    secret: Secret | None = None


@dataclass(frozen=True)
class NodeConfig:
    """[node.NAME], with the defaults filled in. Times are milliseconds.

    `sensors` and `actuators` have the keys that node.json has, pins filled in from the board.
    """

    name: str
    board: str
    dialect: str
    options: Mapping[str, Any] = field(default_factory=dict)
    extras: bool = True
    interval_ms: int = 30_000
    status_interval_ms: int = 60_000
    watchdog_ms: int = 60_000
    outbox_bytes: int = 262_144
    outbox_flush_s: int = 360
    utc_offset_min: int = 0
    clean_session: bool = True
    led: Mapping[str, Any] | None = None
    sensors: tuple[Mapping[str, Any], ...] = ()
    actuators: tuple[Mapping[str, Any], ...] = ()
    dosing: tuple[Mapping[str, Any], ...] = ()
    schedules: tuple[Mapping[str, Any], ...] = ()
    alerts: Mapping[str, Any] = field(default_factory=dict)
    mqtt_user: str | None = None
    mqtt_secret: Secret | None = None


@dataclass(frozen=True)
class FleetFile:
    """A checked fleet.toml."""

    path: Path
    broker: BrokerConfig
    wifi: WifiConfig | None
    ntp_host: str
    nodes: Mapping[str, NodeConfig]
    service: Mapping[str, Any] = field(default_factory=dict)
