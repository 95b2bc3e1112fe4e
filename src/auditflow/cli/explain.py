"""``auditflow explain``: what would become of an event, and why. Asks nobody."""

from pathlib import Path
from typing import Annotated

import typer

from auditflow.cli._options import ConfigOption, FormatOption, PluginsOption
from auditflow.cli._output import Format, show_json


def run(
    event: Annotated[
        Path, typer.Argument(metavar="EVENT.json", help="File with one event; - is standard input.")
    ],
    config: ConfigOption = Path("auditflow.yaml"),
    plugins: PluginsOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Show what every pipeline would make of an event and why, offline."""
    from auditflow.cli import _explain
    from auditflow.cli._configuration import load

    loaded, catalogue = load(config, plugins)
    explained = _explain.explain(_explain.read(event), loaded, catalogue)
    if format is Format.JSON:
        show_json(explained)
    else:
        typer.echo(_explain.as_text(explained))
