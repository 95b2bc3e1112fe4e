"""``auditflow pause``: let a pipeline's events wait in the journal."""
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
    """Hold a pipeline's events in the journal. They wait until it is resumed, also over restarts."""
    from urllib.parse import quote

    from auditflow.cli._shared.server import ask

    ask(url, "POST", f"pipelines/{quote(pipeline)}/pause")
    typer.echo(f"{pipeline} is paused; resume it with: auditflow resume {pipeline}")
