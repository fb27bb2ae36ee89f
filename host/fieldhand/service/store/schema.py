"""The tables, in types that mean the same on SQLite and PostgreSQL.

Times are Unix seconds (float), `start` of a rollup whole ones. A column `at` is what history is
ordered by: the node's own time, or when it came in where the node's clock was not set or is ahead
(see `fieldhand.service.moments`). `time` is the node's own, whatever it said.

To change a table, change it here and run `python tools/migration.py`: see there.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column called INTEGER.
_Id = BigInteger().with_variant(Integer(), "sqlite")
_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _id() -> Column[int]:
    return Column("id", _Id, primary_key=True, autoincrement=True)


def _node(**options: Any) -> Column[int]:
    return Column(
        "node_id", _Id, ForeignKey("node.id", ondelete="CASCADE"), nullable=False, **options
    )


# -- who -------------------------------------------------------------------------------------------

organisation = Table(
    "organisation",
    metadata,
    # The word that stands in topics: DESE's org, solar's company; any word for other dialects.
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created", Double, nullable=False),
)

person = Table(
    "person",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    # NULL: of the operator, who sees every organisation.
    Column("org", Text, ForeignKey("organisation.id", ondelete="CASCADE")),
    Column("password", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
)

token = Table(
    "token",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    # SHA-256 of the token, in hex: it is random, so a slow hash would add nothing.
    Column("digest", Text, nullable=False, unique=True),
    Column("org", Text, ForeignKey("organisation.id", ondelete="CASCADE")),
    Column("person_id", _Id, ForeignKey("person.id", ondelete="CASCADE")),
    Column("scopes", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("last_used", Double),
    Column("revoked", Double),
)

# Who is logged in on the web page.
session = Table(
    "session",
    metadata,
    # SHA-256 of the cookie, in hex.
    Column("digest", Text, primary_key=True),
    Column("person_id", _Id, ForeignKey("person.id", ondelete="CASCADE"), nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Index("ix_session_person_id", "person_id"),
)

# -- nodes -----------------------------------------------------------------------------------------

node = Table(
    "node",
    metadata,
    _id(),
    Column("dialect", Text, nullable=False),
    # As `fieldhand.received.tenant_text` writes it; "{}" where the dialect has none.
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    # Whose it is: the tenant's word, or whom it was registered for; NULL: nobody's yet.
    Column("org", Text),
    # Named by a fleet file or by a person, not only heard.
    Column("registered", Boolean, nullable=False, default=False),
    Column("options", _Json, nullable=False),
    Column("extras", Boolean, nullable=False, default=True),
    Column("first_heard", Double),
    Column("last_heard", Double),
    UniqueConstraint("dialect", "tenant", "name"),
    Index("ix_node_name", "name"),
    Index("ix_node_org", "org"),
)

# Current state: the last a node said of itself.
status = Table(
    "status",
    metadata,
    _node(primary_key=True),
    Column("state", Text, nullable=False),
    Column("details", _Json, nullable=False),
    Column("boot", Text),
    Column("time", BigInteger),
    Column("received", Double, nullable=False),
    Column("retained", Boolean, nullable=False),
)

# -- history ---------------------------------------------------------------------------------------

reading = Table(
    "reading",
    metadata,
    _id(),
    _node(),
    # Together with `seq` what makes a reading one: see `readings.key_of`.
    Column("boot", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("time", BigInteger),
    Column("received", Double, nullable=False),
    Column("quality", Text),
    Column("quantities", _Json, nullable=False),
    Column("attributes", _Json),
    UniqueConstraint("node_id", "boot", "seq"),
    Index("ix_reading_node_id_at", "node_id", "at"),
    # Retention goes by when a reading came in.
    Index("ix_reading_received", "received"),
    # A number is not given again: the rollups go by it.
    sqlite_autoincrement=True,
)

# Alerts and what happened on a node. `name` is an alert's severity, an event's word.
event = Table(
    "event",
    metadata,
    _id(),
    _node(),
    Column("kind", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("time", BigInteger),
    Column("received", Double, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text),
    Column("message", Text),
    Column("sensor", Text),
    Column("value", Double),
    Column("threshold", Double),
    Column("data", _Json),
    UniqueConstraint("node_id", "kind", "boot", "seq"),
    Index("ix_event_node_id_at", "node_id", "at"),
    Index("ix_event_at", "at", "id"),
    Index("ix_event_received", "received"),
)


def _rollup(name: str) -> Table:
    return Table(
        name,
        metadata,
        _node(primary_key=True),
        Column("quantity", Text, primary_key=True),
        Column("start", BigInteger, primary_key=True),
        Column("n", BigInteger, nullable=False),
        Column("min", Double, nullable=False),
        Column("mean", Double, nullable=False),
        Column("max", Double, nullable=False),
        Index(f"ix_{name}_start", "start"),
    )


rollup_minute = _rollup("rollup_minute")
rollup_hour = _rollup("rollup_hour")

# What a background job has done so far, by its name.
progress = Table(
    "progress",
    metadata,
    Column("job", Text, primary_key=True),
    Column("value", Double, nullable=False),
)

# -- commands --------------------------------------------------------------------------------------

command = Table(
    "command",
    metadata,
    Column("id", Text, primary_key=True),
    _node(),
    Column("action", Text, nullable=False),
    Column("params", _Json, nullable=False),
    # sending, sent, accepted, done, failed, timeout; refused: it never left this host
    Column("state", Text, nullable=False),
    Column("caller", Text, nullable=False),
    # Digest of whose idempotency key it was sent under and which: see `commands.digest`.
    Column("idempotency", Text, unique=True),
    Column("created", Double, nullable=False),
    Column("sent", Double),
    Column("accepted", Double),
    Column("ended", Double),
    Column("deadline", Double),
    Column("timeout_s", Double, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("data", _Json),
    Index("ix_command_node_id_created", "node_id", "created"),
    Index("ix_command_state", "state"),
    Index("ix_command_ended", "ended"),
)

# What happened to a command, in order.
command_step = Table(
    "command_step",
    metadata,
    _id(),
    Column("command_id", Text, ForeignKey("command.id", ondelete="CASCADE"), nullable=False),
    Column("at", Double, nullable=False),
    # A state it went into, or: retried, late
    Column("step", Text, nullable=False),
    Column("detail", Text),
    Index("ix_command_step_command_id", "command_id"),
)

# Every answer of a node, late ones and those nobody asked for included.
answer = Table(
    "answer",
    metadata,
    _id(),
    _node(),
    Column("command_id", Text, ForeignKey("command.id", ondelete="CASCADE")),
    Column("boot", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("word", Text),
    Column("wire_id", Text),
    Column("error", Text),
    Column("data", _Json),
    Column("late", Boolean, nullable=False),
    Column("time", BigInteger),
    Column("received", Double, nullable=False),
    UniqueConstraint("node_id", "boot", "seq"),
    Index("ix_answer_command_id", "command_id"),
    Index("ix_answer_received", "received"),
)

# Messages without a number or time of their own that have been stored: see `store.deliveries`.
delivery = Table(
    "delivery",
    metadata,
    # The MQTT session, and the packet identifier in it.
    Column("client", Text, primary_key=True),
    Column("mid", Integer, primary_key=True),
    # SHA-256 of topic and payload, in hex.
    Column("digest", Text, nullable=False),
    Column("received", Double, nullable=False),
)

# -- refused ---------------------------------------------------------------------------------------

dead_letter = Table(
    "dead_letter",
    metadata,
    _id(),
    Column("topic", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    # Its whole size in bytes: `payload` holds the first of them.
    Column("size", Integer, nullable=False),
    # Of topic and payload, in hex: what came before is found by it.
    Column("digest", Text, nullable=False),
    # As MQTT marks a message: it may come for the second time.
    Column("dup", Boolean, nullable=False, default=False),
    Column("retained", Boolean, nullable=False, default=False),
    Column("reason", Text, nullable=False),
    Column("dialect", Text),
    Column("field", Text),
    Column("received", Double, nullable=False),
    Column("replayed", Double),
    Index("ix_dead_letter_received", "received"),
    Index("ix_dead_letter_digest_received", "digest", "received"),
)
