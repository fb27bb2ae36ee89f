"""New Wi-Fi and broker credentials for a node that runs, for it to try.

What they are is said by `fieldnode/slots.py`, which takes them back by itself. TLS and its
certificate are not among them: they come with node.json.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fieldhand.errors import ConfigError, FieldhandError
from fieldhand.fleetfile import LOOPBACK, FleetFile, NodeConfig
from fieldhand.provisioning import credentials

if TYPE_CHECKING:
    from fieldhand.device.serial import Device

PARTS = ("wifi", "broker")
# What the node reads of a blob, less the count of its starts; see hal.py.
MAX_BYTES = 900
_KEY = "net_trial"
_MARK = "fieldhand-slots"
# Runs on the board. A node whose firmware has no slots would ignore them for ever.
_WRITE = """
import esp32
def there():
    for name in ("fieldnode/slots.mpy", "fieldnode/slots.py"):
        try:
            return open(name).close() is None
        except OSError:
            pass
    try:
        import fieldnode.slots
        return True
    except ImportError:
        return False
if there():
    nvs = esp32.NVS("fieldhand")
    nvs.set_blob({key!r}, {content!r})
    nvs.commit()
    print({mark!r})
"""


def content(file: FleetFile, node: NodeConfig, parts: tuple[str, ...] = PARTS) -> bytes:
    """What goes into the node's slot for a trial: UTF-8 JSON. Raises ConfigError, FieldhandError.

    Secrets are looked up now. `parts` are of "wifi" and "broker".
    """
    made: dict[str, Any] = {}
    where = f"[node.{node.name}]"
    if "wifi" in parts:
        if file.wifi is None:
            raise ConfigError(str(file.path), [f"[wifi]: is required for {where}"])
        made["wifi"] = {"ssid": file.wifi.ssid}
        if file.wifi.secret is not None:
            made["wifi"]["password"] = file.wifi.secret.value()
    if "broker" in parts:
        broker = file.broker
        if broker.node_host in LOOPBACK:
            raise ConfigError(
                str(file.path),
                [
                    f"[broker] node_host: a node cannot reach {broker.node_host}; "
                    "give this machine's address on the network"
                ],
            )
        user, password = credentials.of(node, credentials.load(credentials.path_for(file.path)))
        if user is None and broker.user is not None:
            user = broker.user
            password = broker.secret.value() if broker.secret is not None else None
        made["broker"] = {"host": broker.node_host, "port": broker.port}
        made["broker"] |= {"user": user, "password": password}
    data = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
    if len(data) > MAX_BYTES:
        raise FieldhandError(
            f"node '{node.name}': {len(data)} bytes of credentials; it takes {MAX_BYTES}"
        )
    return data


def code(data: bytes) -> str:
    """What writes a slot, run on the board's REPL; it prints a mark when that is done."""
    return _WRITE.format(key=_KEY, content=data, mark=_MARK)


def write(device: Device, file: FleetFile, node: NodeConfig, parts: tuple[str, ...]) -> None:
    """Put credentials on trial on a board on a cable, and start it with them.

    Raises FieldhandError for another node's board and one whose firmware or TLS does not fit;
    DeviceError and PortError as the device.
    """
    data = content(file, node, parts)
    there = device.node_config()
    broker = there.get("broker")
    if there.get("node") != node.name or not isinstance(broker, dict):
        name = there.get("node") or "no node"
        raise FieldhandError(
            f"{device.port}: on this board is {name}, not '{node.name}': 'fieldhand flash' it"
        )
    if "broker" in parts and ("tls" in broker) != (file.broker.tls_ca is not None):
        raise FieldhandError(
            f"node '{node.name}': its node.json has {'TLS' if 'tls' in broker else 'no TLS'}, the "
            "fleet file says otherwise: 'fieldhand deploy' it"
        )
    if _MARK not in device.exec(code(data)):
        raise FieldhandError(
            f"node '{node.name}': its firmware is too old to try credentials: 'fieldhand deploy' it"
        )
    device.restart()
