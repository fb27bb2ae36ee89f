"""A broker in this process, and the health of any: measured, published, watched."""

from fieldhand.broker.inprocess import Broker, BrokerCounters

__all__ = ["Broker", "BrokerCounters"]
