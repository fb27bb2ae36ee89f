"""`fieldhand broker`."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import click

from fieldhand.cli.common import (
    emit,
    file_option,
    json_option,
    need_file,
    note,
    seconds_option,
)


@click.command(short_help="Run an MQTT broker here.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=1883, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME=VARIABLE",
    help="Let NAME in with the password in the environment's VARIABLE. May be repeated.",
)
@click.option(
    "--credentials",
    is_flag=True,
    help="Let in the fleet file's nodes and its [broker] user with theirs, nobody else.",
)
@file_option
@click.option("--allow-anonymous", is_flag=True, help="Let everybody in, from the network too.")
@click.option(
    "--stats-seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0.5),
    help="How often iot/broker/status and iot/broker/stats are published.",
)
@seconds_option("Stop after so long.")
@json_option
def broker(
    host: str,
    port: int,
    users: tuple[str, ...],
    credentials: bool,
    file: Path | None,
    allow_anonymous: bool,
    stats_seconds: float,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Run an MQTT broker here, for tests and a bench; it keeps nothing when it ends."""
    from fieldhand.broker import Broker
    from fieldhand.broker.stats import BrokerStats
    from fieldhand.provisioning.brokerfiles import users as users_of

    if credentials and (users or allow_anonymous):
        raise click.UsageError("--credentials, --user and --allow-anonymous exclude each other")
    let_in = users_of(need_file(file)) if credentials else _users(users)
    with (
        Broker(host, port, let_in, allow_anonymous=True if allow_anonymous else None) as running,
        BrokerStats(running, stats_seconds),
    ):
        if as_json:
            emit({"host": running.host, "port": running.port})
        else:
            note(f"broker on {running.host}:{running.port}, Ctrl-C ends it")
        try:
            threading.Event().wait(seconds)
        except KeyboardInterrupt:
            note("")


def _users(words: tuple[str, ...]) -> dict[str, str] | None:
    found = {}
    for word in words:
        name, equals, variable = word.partition("=")
        if not name or not equals or not variable:
            raise click.BadParameter(f"'{word}' is not NAME=VARIABLE", param_hint="--user")
        password = os.environ.get(variable)
        if not password:
            raise click.BadParameter(f"{variable} is not set", param_hint="--user")
        found[name] = password
    return found or None
