"""The nodes a fleet knows: those it was told of, and those it has heard."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fieldhand import dialects as dialect_table
from fieldhand.errors import FieldhandError, UnknownNode
from fieldhand.ranges import Ranges
from fieldhand.records import Alert, Event, NodeEvent, Reading, Status

# Nodes remembered. A stranger who invents ids must not fill the memory.
MAX_NODES = 20_000
# To drop what QoS 1 delivers twice: the boots of a node whose numbers are remembered, and the
# ranges of numbers of each.
MAX_SEEN_BOOTS = 16
MAX_SEEN_RANGES = 2_000


@dataclass(frozen=True)
class NodeAddress:
    """How a node is spoken to: its dialect, the dialect's options, and whether it takes `_fh`."""

    dialect: str
    options: Mapping[str, Any] = field(default_factory=dict)
    extras: bool = True

    @classmethod
    def of(cls, node: Any) -> NodeAddress:
        """From the name of a dialect, or anything with `dialect`, `options` and `extras`."""
        if isinstance(node, str):
            return cls(node)
        return cls(node.dialect, dict(node.options), node.extras)


@dataclass(frozen=True)
class NodeView:
    """The last that was heard of a node. `declared` says that the fleet file names it."""

    name: str
    dialect: str
    declared: bool
    tenant: Mapping[str, str]
    status: Status | None
    reading: Reading | None
    heard_at: float | None


class KnownNode:
    """A node with what was last heard of it; `Roster` makes and guards them."""

    def __init__(self, name: str, address: NodeAddress, declared: bool) -> None:
        self.name = name
        self.address = address
        self.declared = declared
        self.tenant: Mapping[str, str] = {}
        self.status: Status | None = None
        self.reading: Reading | None = None
        self.heard_at: float | None = None
        self.dialect = dialect_table.load(address.dialect, address.options, address.extras)
        self._seen: OrderedDict[tuple[str, str], Ranges] = OrderedDict()

    def view(self) -> NodeView:
        return NodeView(
            self.name,
            self.address.dialect,
            self.declared,
            self.tenant,
            self.status,
            self.reading,
            self.heard_at,
        )

    def is_repeat(self, event: Event) -> bool:
        """True when this record came before, under the same boot and number."""
        if not isinstance(event, (Reading, Status, Alert, NodeEvent)):
            return False
        origin = event.provenance
        if origin.boot is None or origin.seq is None:
            return False
        key = (type(event).__name__, origin.boot)
        seen = self._seen.setdefault(key, Ranges())
        self._seen.move_to_end(key)
        if len(self._seen) > MAX_SEEN_BOOTS:
            self._seen.popitem(last=False)
        if not seen.add(origin.seq):
            return True
        if len(seen) > MAX_SEEN_RANGES:
            seen.drop_lowest()
        return False

    def note(self, event: Event) -> None:
        """Remember an event of this node."""
        self.heard_at = event.received_at
        if isinstance(event, Reading):
            self.tenant = event.tenant
            self.reading = event
        elif isinstance(event, Status):
            self.tenant = event.tenant
            self.status = event


class Roster:
    """All nodes known, by dialect and name, a stranger by its tenant too; thread-safe.

    The same id may be in use in two dialects, and under two tenants.
    """

    def __init__(self, declared: Mapping[str, Any], dialects: Iterable[str]) -> None:
        self._changed = threading.Condition()
        self._nodes: OrderedDict[tuple[str, ...], KnownNode] = OrderedDict()
        heard = list(dialects)
        for name, node in declared.items():
            address = NodeAddress.of(node)
            if address.dialect not in heard:
                dialect_table.check_name(address.dialect)
                raise UnknownNode(name, list(declared), f"does not listen to {address.dialect}")
            self._nodes[address.dialect, name] = KnownNode(name, address, declared=True)

    def views(self) -> list[NodeView]:
        with self._changed:
            return [node.view() for node in self._nodes.values()]

    def find(self, name: str) -> KnownNode:
        """The one node of this name, a declared one before strangers. Raises UnknownNode."""
        with self._changed:
            found = [node for node in self._nodes.values() if node.name == name]
            known = sorted({node.name for node in self._nodes.values()})
        found = [node for node in found if node.declared] or found
        if len(found) == 1:
            return found[0]
        if found:
            where = " and ".join(
                " ".join([node.address.dialect, *map(str, node.address.options.values())])
                for node in found
            )
            raise UnknownNode(name, known, f"is heard in {where}; name the one in the fleet file")
        raise UnknownNode(name, known)

    def wait(self, name: str, timeout: float) -> bool:
        """Wait until a node of this name is known."""
        with self._changed:
            return self._changed.wait_for(
                lambda: any(node.name == name for node in self._nodes.values()), timeout
            )

    def admit(self, event: Any) -> bool:
        """Note an event of a node; False when it has come before.

        Raises FieldhandError with the reason when it is not to be taken: an event under the id of
        a declared node but of another tenant, or of one stranger too many.
        """
        with self._changed:
            node = self._node_of(event)
            for option, wanted in node.address.options.items():
                got = event.tenant.get(option)
                if got is not None and got != wanted:
                    raise FieldhandError(f"node {node.name} is of {option} {wanted}, not {got}")
            if node.is_repeat(event):
                return False
            node.note(event)
            self._changed.notify_all()
            return True

    def _node_of(self, event: Any) -> KnownNode:
        key: tuple[str, ...] = (event.dialect, event.node)
        node = self._nodes.get(key)
        if node is None:
            key += tuple(event.tenant.values())
            node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                raise FieldhandError(f"{MAX_NODES} nodes are known: no more are remembered")
            address = NodeAddress(event.dialect, dict(event.tenant))
            node = self._nodes[key] = KnownNode(event.node, address, declared=False)
        return node
