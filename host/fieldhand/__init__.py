"""Fieldhand: the host's side. `Fleet` is the way in; the rest is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fieldhand.broker import Broker as Broker
    from fieldhand.client import Fleet as Fleet
    from fieldhand.connection import BrokerAddress as BrokerAddress
    from fieldhand.errors import FieldhandError as FieldhandError
    from fieldhand.pending import Pending as Pending
    from fieldhand.records import Alert as Alert
    from fieldhand.records import Invalid as Invalid
    from fieldhand.records import NodeEvent as NodeEvent
    from fieldhand.records import Reading as Reading
    from fieldhand.records import Reply as Reply
    from fieldhand.records import Status as Status
    from fieldhand.roster import NodeAddress as NodeAddress

__all__ = [
    "Alert",
    "Broker",
    "BrokerAddress",
    "FieldhandError",
    "Fleet",
    "Invalid",
    "NodeAddress",
    "NodeEvent",
    "Pending",
    "Reading",
    "Reply",
    "Status",
]

_HOME = {
    "Alert": "records",
    "Broker": "broker",
    "BrokerAddress": "connection",
    "FieldhandError": "errors",
    "Fleet": "client",
    "Invalid": "records",
    "NodeAddress": "roster",
    "NodeEvent": "records",
    "Pending": "pending",
    "Reading": "records",
    "Reply": "records",
    "Status": "records",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that `fieldhand --help` does not wait for an MQTT client.
    if name not in _HOME:
        raise AttributeError(f"module 'fieldhand' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"fieldhand.{_HOME[name]}"), name)
