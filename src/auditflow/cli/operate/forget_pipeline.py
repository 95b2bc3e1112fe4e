"""``auditflow forget-pipeline``: give up what a pipeline has to deliver that is no longer in the configuration."""
# Tested in tests/end_to_end/test_inactive.py.

from typing import Annotated

import typer

from auditflow.cli._shared.options import HERE, UrlOption
from auditflow.cli._shared.output import reference


def run(
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="Name of the pipeline; TENANT/NAME for a tenant's.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", envvar="AUDITFLOW_YES", help="Do not ask.")] = False,
    url: UrlOption = HERE,
) -> None:
    """Give up what a pipeline still has to deliver. It must be disabled or out of the configuration.

    The journal may then evict the events. Its dead letters stay.
    """
    from urllib.parse import quote

    from auditflow.cli._shared.server import ask

    rows = ask(url, "GET", "status").get("pipelines", [])
    pending = sum(row["pending"] for row in rows if reference(row) == pipeline and row["state"] == "inactive")
    if pending and not yes:
        typer.confirm(f"Give up {pending:,} events that {pipeline} has not delivered?", abort=True, err=True)
    done = ask(url, "POST", f"pipelines/{quote(pipeline)}/forget")
    typer.echo(f"{pipeline} is forgotten; {done['events']:,} events that it had to deliver are given up")
