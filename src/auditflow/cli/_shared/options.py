"""Options that several commands share: flag, environment variable and help text, written once."""
# Tested in tests/cli/test_cli.py.

from pathlib import Path
from typing import Annotated

import typer

from auditflow.cli._shared.output import Format

ConfigOption = Annotated[Path, typer.Option(envvar="AUDITFLOW_CONFIG", help="Configuration file.")]

PluginsOption = Annotated[
    Path | None,
    typer.Option(
        "--plugins",
        envvar="AUDITFLOW_PLUGINS",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder with your own plugins in sinks/ and transformers/.",
    ),
]

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        envvar="AUDITFLOW_DATA_DIR", help="Where accepted events are kept.", show_default="auditflow-data"
    ),
]

FormatOption = Annotated[
    Format,
    typer.Option("--format", envvar="AUDITFLOW_FORMAT", help="Print for people or for programs."),
]


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"http://{url}"


UrlOption = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="AUDITFLOW_URL",
        metavar="URL",
        callback=_with_scheme,
        help="Where AuditFlow listens; http:// unless it says https://.",
    ),
]
