"""What several commands share: options, output, the fleet file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from fieldhand.brokerurl import BrokerUrl
    from fieldhand.connection import BrokerAddress
    from fieldhand.fleetfile import FleetFile

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_FILE = "fleet.toml"

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def file_option(command: F) -> F:
    return click.option(
        "-f",
        "--file",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="FIELDHAND_FILE",
        help="The fleet file.  [default: fleet.toml]",
    )(command)


def database_option(command: F) -> F:
    return click.option(
        "--database",
        metavar="URL",
        help="sqlite:///FILE or postgresql+psycopg://...  [default: .fieldhand/service.db]",
    )(command)


def broker_option(command: F) -> F:
    return click.option(
        "--broker",
        "broker",
        metavar="HOST[:PORT]|URL",
        callback=_parse_broker,
        help="Use this broker, not the fleet file's.",
    )(command)


def seconds_option(help: str) -> Callable[[F], F]:
    return click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help=help)


def _parse_broker(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> BrokerUrl | None:
    from fieldhand.brokerurl import BrokerUrl

    return BrokerUrl.of(value) if value is not None else None


def load_file(
    path: Path | None, required: bool = True, need_nodes: bool | None = None
) -> FleetFile | None:
    """The fleet file; None when there is none and none was asked for.

    Who can do without the file can do without a node in it, unless `need_nodes` says otherwise.
    """
    from fieldhand import fleetfile

    chosen = path if path is not None else Path(DEFAULT_FILE)
    if path is None and not required and not chosen.exists():
        return None
    return fleetfile.load(chosen, required if need_nodes is None else need_nodes)


def need_file(path: Path | None) -> FleetFile:
    file = load_file(path)
    assert file is not None
    return file


def broker_of(file: FleetFile | None, broker: BrokerUrl | None) -> BrokerAddress:
    """The broker to use: the one asked for (else with the file's user), or the file's."""
    from fieldhand.connection import BrokerAddress

    address = file.broker.address() if file is not None else BrokerAddress()
    if broker is not None:
        address = broker.over(address)
    elif file is None:
        raise click.UsageError(f"no {DEFAULT_FILE} here: give --file or --broker")
    return address


def emit(data: Any) -> None:
    """One JSON document on a line of stdout, at once: the reader may be a pipe."""
    click.echo(json.dumps(data, ensure_ascii=False, allow_nan=False))
    sys.stdout.flush()


def note(text: str) -> None:
    """A message for the person, on stderr."""
    click.echo(text, err=True)


class NodeName(click.ParamType[str]):
    """A node's name; completed from the fleet file."""

    name = "node"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        from fieldhand.errors import FieldhandError

        try:
            file = load_file(ctx.params.get("file"), required=False)
        except FieldhandError:
            return []
        names = file.nodes if file is not None else {}
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class PortName(click.ParamType[str]):
    """A serial port: its path, a URL of pyserial, or "virtual"; completed from those there are."""

    name = "port"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        from fieldhand.device import ports
        from fieldhand.errors import FieldhandError

        try:
            names = [*(port.device for port in ports.candidates()), ports.VIRTUAL]
        except FieldhandError:
            names = [ports.VIRTUAL]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def port_option(command: F) -> F:
    return click.option(
        "-p",
        "--port",
        "port",
        type=PortName(),
        envvar="FIELDHAND_PORT",
        help="The board's serial port, a URL, or virtual.  [default: the one board there is]",
    )(command)


class DialectName(click.ParamType[str]):
    """A dialect's name."""

    name = "dialect"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from fieldhand import dialects
        from fieldhand.errors import FieldhandError

        try:
            dialects.check_name(value)
        except FieldhandError as error:
            self.fail(str(error), param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        from fieldhand import dialects

        return [CompletionItem(name) for name in dialects.names() if name.startswith(incomplete)]


class BoardName(click.ParamType[str]):
    """A board's name."""

    name = "board"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        from fieldhand import boards

        return [CompletionItem(name) for name in boards.names() if name.startswith(incomplete)]
