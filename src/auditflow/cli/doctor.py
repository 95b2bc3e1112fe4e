"""``auditflow doctor``: can every pipeline deliver to CloudWatch Logs, and if not, what mends it."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from auditflow.cli._options import ConfigOption, FormatOption, PluginsOption
from auditflow.cli._output import Exit, Format, show_json


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
    """Check every pipeline's way to CloudWatch Logs step by step, and say what mends it."""
    from auditflow.cli import _doctor
    from auditflow.cli._configuration import deliveries, load

    loaded, _ = load(config, plugins)
    found = asyncio.run(_doctor.examine(deliveries(loaded), write=write))
    if format is Format.JSON:
        show_json({"ok": _doctor.is_well(found), "pipelines": found})
    elif found:
        typer.echo(_doctor.as_text(found))
    else:
        typer.echo(f"{config}: no enabled pipeline delivers to aws_cloudwatch_sink")
    if not _doctor.is_well(found):
        raise typer.Exit(Exit.FAILED)
