"""The command line: one command or group of commands per file, its name is the file's name; those for a running server in `operate`.

A command's file imports nothing heavy outside its function, so that ``auditflow --help`` answers at once.
"""

import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import typer

from auditflow import __version__
from auditflow.cli._shared import environment, standard_streams
from auditflow.cli._shared.access import ACCESS
from auditflow.cli._shared.output import Exit, show_error
from auditflow.errors import AuditFlowError
from auditflow.telemetry import logs

COMMANDS: Final = (
    "init",
    "serve",
    "publish",
    "operate.status",
    "operate.where",
    "operate.pause",
    "operate.resume",
    "operate.forget_pipeline",
    "operate.replay",
    "operate.reload",
    "check",
    "explain",
    "doctor",
    "schema",
    "sinks",
    "demo",
)
"""In the order of the help. Each is a module of this package with a function `run`."""
GROUPS: Final = ("keys", "operate.dead_letters", "aws")
"""Commands with commands of their own. Each is a module of this package with a typer application `group`."""

standard_streams.ensure()
if sys.argv[1:2] == ["serve"]:  # a hang-up asks for a reload, also before there is anything to reload
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

app = typer.Typer(
    name="auditflow",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich takes longer than all the rest of the help
)


def name_of(module: str) -> str:
    """Give the name under which a module's command is called: `operate.dead_letters` is ``dead-letters``."""
    return module.rpartition(".")[2].replace("_", "-")


for _command in COMMANDS:
    app.command(name_of(_command))(import_module(f"{__name__}.{_command}").run)
for _group in GROUPS:
    app.add_typer(import_module(f"{__name__}.{_group}").group, name=name_of(_group))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"auditflow {__version__}")
        raise typer.Exit(Exit.FINE)


@app.callback()
def _auditflow(
    version: Annotated[  # noqa: ARG001 - its callback has done what it says
        bool,
        typer.Option(
            "--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="AUDITFLOW_TOKEN_FILE",
            metavar="FILE",
            help="API key or token to show a server; without it, that in the variable AUDITFLOW_TOKEN.",
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            envvar="AUDITFLOW_CA",
            metavar="FILE",
            help="Certificates (PEM) that a server's is to be signed by, in place of those the system trusts.",
        ),
    ] = None,
    client_certificate: Annotated[
        Path | None,
        typer.Option(
            envvar="AUDITFLOW_CLIENT_CERTIFICATE",
            metavar="FILE",
            help="Certificate and key (PEM, one file) to show a server that asks for one.",
        ),
    ] = None,
) -> None:
    """Publish an audit event once, route it anywhere, lose nothing, and prove it."""
    ACCESS.token_file, ACCESS.ca, ACCESS.client_certificate = token_file, ca, client_certificate


def main() -> None:
    """Run the command line. What goes wrong on purpose is shown as message and hint, without a traceback."""
    environment.tidy()
    logs.configure_command()
    try:
        app()
    except AuditFlowError as error:
        show_error(error)
        sys.exit(Exit.FAILED)
