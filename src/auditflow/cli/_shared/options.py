"""Options that several commands share: flag, environment variable and help text, written once."""
# Tested in tests/cli/test_cli.py.

import os
from pathlib import Path
from typing import Annotated, Final

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


HERE: Final = ""
"""The server on this machine."""


def _address(url: str) -> str:
    if url:
        return url if "://" in url else f"http://{url}"
    from auditflow.apps.http.listening import listening

    return listening(os.environ).url


UrlOption = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="AUDITFLOW_URL",
        metavar="URL",
        callback=_address,
        help="Where AuditFlow listens; http:// unless it says https://.",
        show_default="as auditflow.yaml says, else http://127.0.0.1:8080",
    ),
]
