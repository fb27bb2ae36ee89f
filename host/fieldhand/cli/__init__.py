"""The `fieldhand` command: thin over the library.

Data goes to stdout, messages to stderr. Exit codes: 0 done; 1 the node refused, or something
failed; 2 wrong usage or a wrong file; 3 no answer in time; 4 the broker cannot be reached;
130 interrupted.

Modules here import the library inside their functions, so that `fieldhand --help` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from fieldhand.cli import (
    agronomy,
    bench,
    board,
    broker,
    build,
    console,
    deadletter,
    deploy,
    dialect,
    doctor,
    export,
    flash,
    fleet,
    gaps,
    monitor,
    node,
    provision,
    serve,
    setup,
    user,
    watch,
)

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TIMEOUT = 3
EXIT_BROKER = 4
EXIT_INTERRUPTED = 130


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or file, 3 no answer in time, "
    "4 no broker, 130 interrupted.",
)
@click.version_option(package_name="fieldhand", message="%(version)s")
def cli() -> None:
    """Field nodes on ESP32: simulate, watch and command them over MQTT."""


for command in (
    setup.init,
    setup.demo,
    fleet.sim,
    broker.broker,
    watch.watch,
    fleet.send,
    gaps.gaps,
    serve.serve,
    monitor.monitor,
    export.export,
    deadletter.dead_letter,
    user.user,
    user.token,
    user.organisation,
    agronomy.agronomy,
    node.node,
    dialect.dialect,
    board.board,
    build.build,
    flash.flash,
    deploy.deploy,
    console.repl,
    console.logs,
    doctor.doctor,
    bench.bench,
    provision.provision,
    setup.completion,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. A user's mistake is a message, no traceback."""
    try:
        result = cli.main(arguments, prog_name="fieldhand", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"error: {error.format_message()}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # The reader went away, as `head` does: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from fieldhand.errors import FieldhandError

        if not isinstance(error, FieldhandError):
            raise
        click.echo(f"error: {error}", err=True)
        return _exit_code(error)


def _exit_code(error: Exception) -> int:
    from fieldhand import errors
    from fieldhand.device.errors import DeviceError
    from fieldhand.device.ports import PortError

    if isinstance(error, DeviceError):
        return EXIT_FAILED
    if isinstance(error, PortError) and error.kind in ("gone", "silent"):
        return EXIT_FAILED  # in the midst of it
    if isinstance(error, errors.BrokerUnavailable):
        return EXIT_BROKER
    if isinstance(error, errors.CommandTimeout):
        return EXIT_TIMEOUT
    if isinstance(error, errors.CommandFailed):
        return EXIT_FAILED
    return EXIT_USAGE
