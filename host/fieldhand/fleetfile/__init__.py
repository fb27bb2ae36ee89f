"""fleet.toml, the one file a user writes: read and checked, and what a node is told of it."""

from fieldhand.fleetfile.config import LOOPBACK, BrokerConfig, FleetFile, NodeConfig, WifiConfig
from fieldhand.fleetfile.nodejson import CA_ON_NODE, node_json
from fieldhand.fleetfile.reading import DEFAULT_NAME, MAX_BYTES, check, load

__all__ = [
    "CA_ON_NODE",
    "DEFAULT_NAME",
    "LOOPBACK",
    "MAX_BYTES",
    "BrokerConfig",
    "FleetFile",
    "NodeConfig",
    "WifiConfig",
    "check",
    "load",
    "node_json",
]
