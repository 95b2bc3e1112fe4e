"""``auditflow dead-letters …``: look at events that could not be delivered, deliver them again, or delete them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from auditflow.cli._shared.options import HERE, FormatOption, UrlOption
from auditflow.cli._shared.output import Exit, Format, safe, show_json, show_table
from auditflow.cli._shared.server import ask
from auditflow.cli._shared.times import instant

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Events that could not be delivered.")


PipelineOption = Annotated[
    str | None,
    typer.Option(
        envvar="AUDITFLOW_PIPELINE", metavar="NAME", help="Those of this pipeline.", show_default="all"
    ),
]
TenantOption = Annotated[
    str | None,
    typer.Option(envvar="AUDITFLOW_TENANT", metavar="ID", help="Those of this tenant.", show_default="all"),
]
CodeOption = Annotated[
    str | None,
    typer.Option(
        envvar="AUDITFLOW_CODE", metavar="CODE", help="Those that failed with this code.", show_default="all"
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        envvar="AUDITFLOW_SINCE",
        metavar="TIME",
        help="Those that failed last since then: an age (30m, 7d) or a time in ISO 8601.",
        show_default="all",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        envvar="AUDITFLOW_UNTIL",
        metavar="TIME",
        help="Those that failed last before then.",
        show_default="all",
    ),
]
IdsArgument = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", help="Numbers of letters.", show_default="all")
]


@group.command("list")
def list_letters(  # noqa: PLR0913, PLR0917 - one parameter per option
    pipeline: PipelineOption = None,
    tenant: TenantOption = None,
    code: CodeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[
        int, typer.Option(envvar="AUDITFLOW_LIMIT", min=1, max=1_000, help="Letters to show.")
    ] = 20,
    url: UrlOption = HERE,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Show dead letters: how many there are by pipeline and cause, and the oldest of them."""
    found = ask(
        url, "GET", "dead-letters", params=_filter(pipeline, tenant, code, since, until) | {"limit": limit}
    )
    if format is Format.JSON:
        show_json(found)
    elif not found["letters"]:
        typer.echo("no dead letters")
    else:
        groups = ([g["pipeline"], g["code"], f"{g['events']:,}", g["lastFailed"]] for g in found["groups"])
        show_table(("pipeline", "code", "events", "last failed"), _safe(groups))
        typer.echo()
        rows = (
            [str(one["id"]), one["pipeline"], one["eventId"] or "-", one["code"], one["reason"]]
            for one in found["letters"]
        )
        show_table(("id", "pipeline", "event", "code", "reason"), _safe(rows))


@group.command("show")
def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the letter.")],
    url: UrlOption = HERE,
) -> None:
    """Print one dead letter as JSON: its event, why it failed, and the failures before."""
    show_json(ask(url, "GET", f"dead-letters/{number}"))


@group.command("replay")
def replay(  # noqa: PLR0913, PLR0917 - one parameter per option
    ids: IdsArgument = None,
    pipeline: PipelineOption = None,
    tenant: TenantOption = None,
    code: CodeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            envvar="AUDITFLOW_TO",
            metavar="NAME",
            help="Pipeline that delivers them.",
            show_default="their own",
        ),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            envvar="AUDITFLOW_RATE", min=0, max=1e6, help="Events per second.", show_default="no limit"
        ),
    ] = 0,
    edited: Annotated[
        Path | None,
        typer.Option(
            "--event",
            envvar="AUDITFLOW_EVENT",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Deliver this JSON in place of the one letter's event.",
        ),
    ] = None,
    url: UrlOption = HERE,
) -> None:
    """Deliver dead letters again: all, those that the options select, or those with the given numbers."""
    order: dict[str, Any] = {} if to is None else {"to": to}
    if edited is None:
        order |= _filter(pipeline, tenant, code, since, until, ids) | ({"rate": rate} if rate else {})
        done = ask(url, "POST", "dead-letters/replay", json=order)
    else:
        if ids is None or len(ids) != 1:
            raise typer.BadParameter("it takes the place of one letter: give one ID", param_hint="--event")
        done = ask(url, "POST", f"dead-letters/{ids[0]}/replay", json=order | {"event": _event(edited)})
    typer.echo(f"{_events(done['replayed'])} will be delivered again; see auditflow status")


@group.command("purge")
def purge(  # noqa: PLR0913, PLR0917 - one parameter per option
    ids: IdsArgument = None,
    pipeline: PipelineOption = None,
    tenant: TenantOption = None,
    code: CodeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    everything: Annotated[
        bool, typer.Option("--all", envvar="AUDITFLOW_ALL", help="All of them, where nothing else selects.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", envvar="AUDITFLOW_YES", help="Do not ask.")] = False,
    url: UrlOption = HERE,
) -> None:
    """Delete dead letters for good: those that the options select, those with the given numbers, or --all."""
    chosen = _filter(pipeline, tenant, code, since, until, ids)
    if not chosen and not everything:
        raise typer.BadParameter("select letters by numbers or options, or say --all", param_hint="--all")
    count = sum(
        each["events"] for each in ask(url, "GET", "dead-letters", params=chosen | {"limit": 1})["groups"]
    )
    if not count:
        typer.echo("no dead letters")
        return
    if not yes and not typer.confirm(f"Delete {count:,} events for good?", err=True):
        raise typer.Exit(Exit.FAILED)
    done = ask(url, "DELETE", "dead-letters", params=chosen or {"all": True})
    typer.echo(f"{_events(done['purged'])} deleted")


def _filter(  # noqa: PLR0913, PLR0917 - one parameter per option
    pipeline: str | None,
    tenant: str | None,
    code: str | None,
    since: str | None,
    until: str | None,
    ids: list[int] | None = None,
) -> dict[str, Any]:
    """Give what was chosen as the server takes it, also what is empty: left out, it would mean every dead letter."""
    chosen: dict[str, Any] = {"pipeline": pipeline, "tenant": tenant, "code": code, "ids": ids or None}
    for name, text in (("since", since), ("until", until)):
        chosen[name] = None if text is None else instant(text, f"--{name}")
    return {name: value for name, value in chosen.items() if value is not None}


def _event(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}", param_hint="--event") from None


def _safe(rows: Any) -> Any:
    return ([safe(cell) for cell in row] for row in rows)


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count:,} events"
