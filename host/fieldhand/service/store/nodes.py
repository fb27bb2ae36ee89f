"""The nodes there are, and the current state of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import sqlalchemy as sa

from fieldhand.received import NodeKey, tenant_text
from fieldhand.records import Status
from fieldhand.service.store import schema
from fieldhand.service.store.database import Database

# Whether a node is there.
State = Literal["online", "offline", "silent", "unheard"]
# What was under way when a node went offline may be stored so long after its will.
STRAGGLES_S = 5.0
# Tenants' names on the wire, the first that is there says whose a node is.
TENANTS = ("org", "company")
# What of a tenant would read as more than it in a public id. `~` because URLs leave it alone.
_AMBIGUOUS = re.compile("~(?=3A|7E)|:")


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node. `id` is the database's number; `public_id` what people and URLs call it."""

    id: int
    dialect: str
    tenant: Mapping[str, str]
    name: str
    org: str | None
    registered: bool
    options: Mapping[str, Any]
    extras: bool
    first_heard: float | None
    last_heard: float | None

    @property
    def public_id(self) -> str:
        """See `public_id`."""
        return public_id(self.dialect, self.tenant, self.name)


def public_id(dialect: str, tenant: Mapping[str, str], name: str) -> str:
    """dialect:tenant:name, without the tenant where the dialect has none.

    No two nodes have the same: the name is all that follows, and ":" in a tenant is "~3A" ("~3A"
    and "~7E" as they stand there begin with "~7E" for their "~").
    """
    return ":".join([dialect, *map(_escaped, tenant.values()), name])


def _escaped(tenant: str) -> str:
    return _AMBIGUOUS.sub(lambda found: f"~{ord(found[0]):X}", tenant)


def key_of(dialect: str, tenant: Mapping[str, str], name: str) -> NodeKey:
    """What makes a node one."""
    return NodeKey(dialect, _tenant_text(tuple(tenant.items())), name)


@lru_cache(1024)
def _tenant_text(items: tuple[tuple[str, str], ...]) -> str:
    return tenant_text(dict(items))


def org_of(tenant: Mapping[str, str]) -> str | None:
    """The organisation that a tenant names, None where it names none."""
    return next((tenant[name] for name in TENANTS if name in tenant), None)


def ensure(
    connection: sa.Connection, database: Database, key: NodeKey, heard: float | None
) -> NodeRow:
    """The node of this key, made if it is new. `heard`: when it was first heard, if it was."""
    values = {
        "dialect": key.dialect,
        "tenant": key.tenant,
        "name": key.node,
        "org": org_of(json.loads(key.tenant)),
        "registered": False,
        "options": json.loads(key.tenant),
        "extras": True,
        "first_heard": heard,
        "last_heard": heard,
    }
    connection.execute(database.insert(schema.node).values(values).on_conflict_do_nothing())
    return _node(connection.execute(_of_key(key)).one())


def by_key(connection: sa.Connection, key: NodeKey) -> NodeRow | None:
    """The node of this key, if there is one."""
    row = connection.execute(_of_key(key)).one_or_none()
    return None if row is None else _node(row)


def held(connection: sa.Connection, database: Database, key: NodeKey) -> NodeRow:
    """As `ensure`, of none heard now; nobody else changes it before the transaction's end."""
    ensure(connection, database, key, None)
    return _node(connection.execute(_of_key(key).with_for_update()).one())


def _of_key(key: NodeKey) -> sa.Select[Any]:
    table = schema.node
    return sa.select(table).where(
        table.c.dialect == key.dialect, table.c.tenant == key.tenant, table.c.name == key.node
    )


def register(
    connection: sa.Connection,
    database: Database,
    key: NodeKey,
    *,
    org: str | None = None,
    options: Mapping[str, Any] | None = None,
    extras: bool = True,
) -> NodeRow:
    """A node that somebody named: it is known before it is heard. `org` None leaves whose it is."""
    row = ensure(connection, database, key, None)
    values: dict[str, Any] = {"registered": True, "extras": extras}
    if options is not None:
        values["options"] = dict(options)
    if org is not None:
        values["org"] = org
    connection.execute(schema.node.update().where(schema.node.c.id == row.id).values(values))
    return ensure(connection, database, key, None)


def get(connection: sa.Connection, id: int) -> NodeRow | None:
    """A node by its number."""
    row = connection.execute(sa.select(schema.node).where(schema.node.c.id == id)).one_or_none()
    return None if row is None else _node(row)


def find(
    connection: sa.Connection, word: str, org: str | None = None, dialect: str | None = None
) -> list[NodeRow]:
    """The nodes that `word` may mean: a public id, or a name.

    `org`, `dialect`: only of this organisation, only of this dialect.
    """
    table = schema.node
    # A name may have colons, what is before it in a public id has none inside.
    parts = word.split(":", 1 + len(TENANTS))
    names = [":".join(parts[n:]) for n in range(len(parts))]
    query = sa.select(table).where(table.c.name.in_(names)).order_by(table.c.id)
    if org is not None:
        query = query.where(table.c.org == org)
    if dialect is not None:
        query = query.where(table.c.dialect == dialect)
    found = [_node(row) for row in connection.execute(query)]
    exact = [row for row in found if row.public_id == word]
    return exact or [row for row in found if row.name == word]


def assign(connection: sa.Connection, id: int, org: str | None) -> None:
    """Whose a node is from now on. It is registered then: None is the operator, not anybody."""
    table = schema.node
    connection.execute(table.update().where(table.c.id == id).values(org=org, registered=True))


def names(connection: sa.Connection, ids: Iterable[int]) -> dict[int, str]:
    """Number -> public id."""
    query = sa.select(schema.node).where(schema.node.c.id.in_(sorted(set(ids))))
    return {row.id: row.public_id for row in map(_node, connection.execute(query))}


def listing(
    connection: sa.Connection,
    org: str | None = None,
    *,
    after: int = 0,
    limit: int = 1000,
) -> list[NodeRow]:
    """Nodes by their number, those above `after`."""
    table = schema.node
    query = sa.select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)
    if org is not None:
        query = query.where(table.c.org == org)
    return [_node(row) for row in connection.execute(query)]


def count(connection: sa.Connection) -> int:
    """How many nodes there are."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(schema.node)).scalar_one())


def heard(connection: sa.Connection, times: Mapping[int, float]) -> None:
    """Note when nodes were last heard: number -> time."""
    table = schema.node
    connection.execute(
        table.update()
        .where(table.c.id == sa.bindparam("which"))
        .values(
            last_heard=sa.bindparam("at"),
            first_heard=sa.func.coalesce(table.c.first_heard, sa.bindparam("at")),
        ),
        [{"which": id, "at": at} for id, at in sorted(times.items())],
    )


def last_heard(connection: sa.Connection) -> float | None:
    """When any node was last heard."""
    found = connection.execute(sa.select(sa.func.max(schema.node.c.last_heard))).scalar_one()
    return None if found is None else float(found)


def set_status(
    connection: sa.Connection, database: Database, changes: Mapping[int, Status]
) -> None:
    """The current state of nodes: number -> the last they said.

    A retained status is what was said before, maybe while nobody listened: it counts where it
    differs from what is on record.
    """
    table = schema.status
    kept = [id for id, status in changes.items() if status.retained]
    known: dict[int, Any] = {}
    if kept:
        rows = connection.execute(sa.select(table).where(table.c.node_id.in_(kept)))
        known = {row.node_id: (row.state, dict(row.details), row.time) for row in rows}
    rows_new = [
        {
            "node_id": id,
            "state": status.state,
            "details": dict(status.values),
            "boot": status.provenance.boot,
            "time": status.time,
            "received": status.received_at,
            "retained": status.retained,
        }
        for id, status in sorted(changes.items())
        if not status.retained or known.get(id) != (status.state, dict(status.values), status.time)
    ]
    if not rows_new:
        return
    insert = database.insert(table)
    names = ("state", "details", "boot", "time", "received", "retained")
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["node_id"], set_={name: insert.excluded[name] for name in names}
        ),
        rows_new,
    )


def statuses(connection: sa.Connection, ids: list[int] | None = None) -> dict[int, dict[str, Any]]:
    """Number -> state, details, time, received, retained; of all nodes or those asked for."""
    query = sa.select(schema.status)
    if ids is not None:
        query = query.where(schema.status.c.node_id.in_(ids))
    return {
        row.node_id: {
            "state": row.state,
            "details": row.details,
            "time": row.time,
            "received": row.received,
            "retained": row.retained,
        }
        for row in connection.execute(query)
    }


def state_of(row: NodeRow, said: Mapping[str, Any] | None, now: float, silent_s: float) -> State:
    """Whether a node is there at `now`, by the last it said of itself (see `statuses`).

    "offline": it, or its will, said so and nothing has come since. "silent": nothing has come for
    more than `silent_s`, whatever it said; not every device has a will, not every broker sends it.
    "unheard": nothing ever came.
    """
    last = row.last_heard
    if said is not None:
        if said["state"] == "offline" and (last or 0.0) <= said["received"] + STRAGGLES_S:
            return "offline"
        last = said["received"] if last is None else last
    if last is None:
        return "unheard"
    return "silent" if now - last > silent_s else "online"


def _node(row: Any) -> NodeRow:
    return NodeRow(
        row.id,
        row.dialect,
        json.loads(row.tenant),
        row.name,
        row.org,
        row.registered,
        row.options,
        row.extras,
        row.first_heard,
        row.last_heard,
    )
