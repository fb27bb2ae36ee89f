"""`fieldhand serve`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldhand.cli.common import database_option, emit, file_option, json_option, load_file, note

if TYPE_CHECKING:
    from fieldhand.service.store.database import Database

INSTALL = "pip install 'fieldhand[service]'"


def need_service() -> None:
    """A clear line where the extra is not installed."""
    for module in ("sqlalchemy", "alembic", "fastapi", "uvicorn", "argon2"):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise click.ClickException(f"{error.name} is not installed: {INSTALL}") from None


@contextmanager
def open_database(
    file: Path | None, url: str | None, *, existing: bool = False
) -> Iterator[Database]:
    """The service's database, as `serve` would take it; it may be running. Raises StoreError.

    With `existing`, for what only reads, a SQLite file that is not there is not made.
    """
    need_service()
    from fieldhand.service import settings
    from fieldhand.service.store.database import Database, StoreError

    fleet_file = load_file(file, required=False)
    path = fleet_file.path if fleet_file is not None else None
    chosen = settings.load(
        fleet_file.service if fleet_file is not None else None, {"database": url}, path=path
    )
    database = Database(chosen.database or settings.default_database(path))
    if existing and not database.is_there():
        raise StoreError(database.name, "is not there: fieldhand serve makes it")
    try:
        database.open()
        yield database
    finally:
        database.close()


@click.command(short_help="Store every reading, answer commands, show it live.")
@file_option
@click.option(
    "--broker",
    metavar="URL",
    help="mqtt[s]://[user[:password]@]host[:port] or HOST[:PORT]  [default: one in this process]",
)
@database_option
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Its port.  [default: 8000]")
@click.option(
    "--broker-port",
    type=click.IntRange(0, 65535),
    help="Port of the broker in this process.  [default: the fleet file's, else 1883]",
)
@click.option(
    "--open", "let_in", is_flag=True, help="Let everybody in while there is no person and no token."
)
@click.option("--workers", type=click.IntRange(1, 64), help="Connections that share the load.")
@json_option
def serve(
    file: Path | None,
    broker: str | None,
    database: str | None,
    host: str | None,
    port: int | None,
    broker_port: int | None,
    let_in: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Run the host service: readings into a database, commands out, all of it live.

    Without --broker one runs in this process, for a bench and a handful of nodes. Other settings
    stand in the fleet file's [service] table or in the environment as FIELDHAND_SERVICE_NAME.
    """
    need_service()
    from fieldhand.brokerurl import BrokerUrl
    from fieldhand.connection import BrokerAddress
    from fieldhand.service import logs, settings
    from fieldhand.service.api import server
    from fieldhand.service.service import Service

    if broker is not None and broker_port is not None:
        raise click.UsageError("--broker and --broker-port exclude each other")
    fleet_file = load_file(file, required=False)
    chosen = settings.load(
        fleet_file.service if fleet_file is not None else None,
        {
            "database": database,
            "host": host,
            "port": port,
            "workers": workers,
            "open": True if let_in else None,
        },
        path=fleet_file.path if fleet_file is not None else None,
    )
    logs.configure(chosen.log_format, chosen.log_level)
    address = BrokerUrl.of(broker).over(BrokerAddress()) if broker is not None else None
    service = Service(chosen, broker=address, file=fleet_file, embedded_port=broker_port)
    sock = server.listen(chosen.host, chosen.port)
    try:
        with service:
            bound = sock.getsockname()[1]
            shown = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
            url = f"http://{shown}:{bound}"
            told = {
                "url": url,
                "broker": {"host": service.broker.host, "port": service.broker.port},
                "database": service.database.name,
            }

            def ready() -> None:
                if as_json:
                    emit(told)
                else:
                    where = f"{service.broker.host}:{service.broker.port}"
                    note(f"serving {url}, broker {where}, {service.database.name}; Ctrl-C ends it")

            server.run(service, sock, ready)
    finally:
        sock.close()
