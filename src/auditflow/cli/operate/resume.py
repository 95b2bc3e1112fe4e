"""``auditflow resume``: let a paused pipeline go on."""
# Tested in tests/cli/test_cli.py.

from typing import Annotated

import typer

from auditflow.cli._shared.options import HERE, UrlOption


def run(
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="Name of the pipeline; TENANT/NAME for a tenant's.")
    ],
    url: UrlOption = HERE,
) -> None:
    """Let a paused pipeline deliver again."""
    from urllib.parse import quote

    from auditflow.cli._shared.server import ask

    ask(url, "POST", f"pipelines/{quote(pipeline)}/resume")
    typer.echo(f"{pipeline} goes on")
