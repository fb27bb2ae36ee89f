"""Nodes that a person names: known before they are heard, and somebody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from fieldhand import dialects
from fieldhand.errors import FieldhandError
from fieldhand.service.service import Service
from fieldhand.service.store import commands, nodes
from fieldhand.service.store.nodes import NodeRow
from fieldproto.schema import is_level


class BadRegistration(FieldhandError):
    """Such a node cannot be. `field` says what of it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Taken(FieldhandError):
    """Somebody else's node."""

    def __init__(self, name: str) -> None:
        super().__init__(f"node '{name}' cannot be registered: it is somebody else's")
        self.name = name


def register(
    service: Service,
    dialect: str,
    name: str,
    options: Mapping[str, Any],
    *,
    org: str | None,
    by_operator: bool,
    extras: bool = True,
) -> tuple[NodeRow, bool]:
    """The node, and whether it was not registered before.

    `org` is whose it is to be; None leaves that to its tenant. A tenant the options leave out is
    `org`. An organisation cannot have what anybody registered before it, the operator and the fleet
    file included; a node that was only heard is the first's who names it (see `_free`).

    Raises BadRegistration, Taken, FieldhandError when there are too many nodes, StoreError.
    """
    if not is_level(name) or name.startswith("$"):
        raise BadRegistration("name", f"{name!r} cannot be in a topic")
    if dialect not in dialects.names():
        raise BadRegistration("dialect", f"{dialect!r} is none of {', '.join(dialects.names())}")
    given = dict(options)
    tenant = {
        field.name: str(given.get(field.name, org if org is not None else ""))
        for field in dialects.unbound(dialect).option_fields
        if field.name in nodes.TENANTS
    }
    for option, value in tenant.items():
        if not value:
            raise BadRegistration(f"options.{option}", "is required")
        if org is not None and value != org:
            raise BadRegistration(f"options.{option}", "is another organisation's")
    given.update(tenant)
    try:
        dialects.load(dialect, given, extras)
    except FieldhandError as error:
        raise BadRegistration("options", str(error)) from None
    key = nodes.key_of(dialect, tenant, name)
    with service.database.writing() as connection:
        if nodes.count(connection) >= service.settings.max_nodes:
            raise FieldhandError(f"{service.settings.max_nodes} nodes are known: no more can be")
        row = nodes.held(connection, service.database, key)
        mine = org is None or row.org == org
        if not mine and not (row.org is None and (by_operator or _free(service, connection, row))):
            raise Taken(name)
        fresh = not row.registered
        row = nodes.register(
            connection, service.database, key, org=org, options=given, extras=extras
        )
    service.ingest.nodes.forget(key)
    return row, fresh


def _free(service: Service, connection: sa.Connection, row: NodeRow) -> bool:
    """Whether an organisation may have a node that is no organisation's.

    One that was heard may, if the settings let it, as long as nobody ever told it anything: who did
    was the operator. Ids that are hard to guess, or a broker that knows its devices, keep strangers
    from the others.
    """
    if row.registered:
        return False
    if row.first_heard is None:
        return True
    return service.settings.claim_heard and not commands.history(connection, row.id, limit=1)
