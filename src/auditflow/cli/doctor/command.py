"""``auditflow doctor``: has every pipeline its secrets and a way to CloudWatch Logs, and if not, what fixes it."""
# Tested in tests/cli/doctor/test_examination.py.

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from auditflow.cli._shared.options import ConfigOption, FormatOption, PluginsOption
from auditflow.cli._shared.output import Exit, Format, show_json


def run(
    config: ConfigOption = Path("auditflow.yaml"),
    write: Annotated[
        bool,
        typer.Option(
            "--write", envvar="AUDITFLOW_WRITE", help="Put a marked test event, and read it back if allowed."
        ),
    ] = False,
    plugins: PluginsOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Try secrets and the way to CloudWatch Logs. Goes step by step, and says what fixes a problem."""
    from auditflow.apps.configuration.secrets import secret_source
    from auditflow.cli._shared import configuration
    from auditflow.cli.doctor import examination
    from auditflow.config import running

    loaded, catalogue = configuration.load(config, plugins)
    tenants = configuration.load_tenants(loaded, catalogue)
    doctor = examination.Doctor(catalogue, secret_source(loaded.secrets, os.environ), write)
    found = asyncio.run(doctor.examine(configuration.sinks(running(loaded, tenants))))
    well = not configuration.tell_problems(tenants) and examination.is_well(found)
    if format is Format.JSON:
        show_json({"ok": well, "pipelines": found})
    elif found:
        typer.echo(examination.as_text(found))
    else:
        typer.echo(f"{config}: no enabled pipeline delivers to aws_cloudwatch_sink, or refers to secrets")
    if not well:
        raise typer.Exit(Exit.FAILED)
