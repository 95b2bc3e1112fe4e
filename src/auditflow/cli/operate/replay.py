"""``auditflow replay``: deliver to a pipeline, once more, what the journal still retains."""

from typing import Annotated, Any

import typer

from auditflow.cli._shared.options import HERE, UrlOption


def run(
    pipeline: Annotated[
        str,
        typer.Option(
            envvar="AUDITFLOW_PIPELINE",
            help="Pipeline that is to get the events; TENANT/NAME for a tenant's.",
        ),
    ],
    since: Annotated[
        str, typer.Option(envvar="AUDITFLOW_SINCE", help="Accepted since: 2026-01-31T12:00:00Z, or 90m ago.")
    ],
    until: Annotated[
        str | None,
        typer.Option(envvar="AUDITFLOW_UNTIL", help="Accepted before.", show_default="now"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", envvar="AUDITFLOW_DRY_RUN", help="Say how many, and do nothing.")
    ] = False,
    url: UrlOption = HERE,
) -> None:
    """Deliver events from the journal again. Their pipeline is new or repaired; its condition applies."""
    from auditflow.cli._shared.server import ask
    from auditflow.cli._shared.times import instant

    order: dict[str, Any] = {"pipeline": pipeline, "since": instant(since, "--since"), "dryRun": dry_run}
    if until is not None:
        order["until"] = instant(until, "--until")
    done = ask(url, "POST", "replay", json=order)
    typer.echo(
        _counted(done) if dry_run else f"{done['events']:,} events go to {pipeline}; see auditflow status"
    )


def _counted(found: dict[str, Any]) -> str:
    taken = f"{found['pipeline']} takes {found['matching']:,}"
    if found["looked"] == found["events"]:
        return f"{taken} of the {found['events']:,} events of that time"
    return f"{taken} of the first {found['looked']:,} events of that time; there are {found['events']:,}"
