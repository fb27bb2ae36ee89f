"""Write the migration that brings a database from the last revision to `store/schema.py`.

    python tools/migration.py "Nodes have a place"

Until the first release there is one revision only: `python tools/migration.py --first` writes it
anew, and databases made before are thrown away.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fieldhand.service.store import schema
from fieldhand.service.store.database import MIGRATIONS, Database

FIRST = "Every table."


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("message", nargs="?", help="what changes")
    parser.add_argument("--first", action="store_true", help="write the first revision anew")
    arguments = parser.parse_args()
    if arguments.first == (arguments.message is not None):
        parser.error("say what changes, or --first")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    revisions = list(scripts.walk_revisions())
    if arguments.first:
        if len(revisions) > 1:
            parser.error("there is more than one revision already")
        for old in revisions:
            Path(old.path).unlink()
        scripts = ScriptDirectory.from_config(config)
    message = FIRST if arguments.first else arguments.message
    number = "0001" if arguments.first else f"{len(revisions) + 1:04}"
    body = _difference()
    script = scripts.generate_revision(
        number,
        message,
        head="base" if arguments.first else "head",
        upgrades=body,
        imports="from sqlalchemy.dialects import postgresql\n" if "postgresql." in body else "",
    )
    assert script is not None
    for command in (["format"], ["check", "--fix"], ["format"]):
        subprocess.run(["ruff", *command, "--quiet", script.path], check=True)
    print(script.path)
    return 0


def _difference() -> str:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.db")
        try:
            database.open()
            with database.reading() as connection:
                context = MigrationContext.configure(connection, opts={"render_item": _plain})
                steps = produce_migrations(context, schema.metadata)
                assert steps.upgrade_ops is not None
                return render_python_code(
                    steps.upgrade_ops, migration_context=context, render_item=_plain
                )
        finally:
            database.close()


def _plain(kind: str, thing: Any, context: Any) -> Any:
    """How a type stands in a migration; False leaves it to Alembic."""
    if kind == "type" and isinstance(thing, sa.JSON):
        return (
            "sa.JSON(none_as_null=True)"
            '.with_variant(postgresql.JSONB(none_as_null=True), "postgresql")'
        )
    return False


if __name__ == "__main__":
    sys.exit(main())
