"""``auditflow where``: what became of one event."""

import json
from typing import Annotated, Any

import typer

from auditflow.cli._shared.options import HERE, FormatOption, UrlOption
from auditflow.cli._shared.output import Format, reference, safe, show_json, show_table


def run(
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="Id of the event.")],
    tenant: Annotated[
        str,
        typer.Option(
            envvar="AUDITFLOW_TENANT", metavar="ID", help="The event of this tenant.", show_default="any"
        ),
    ] = "",
    url: UrlOption = HERE,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Show where an event is. It is filtered, pending, delivered or dead-lettered in each pipeline."""
    from urllib.parse import quote

    from auditflow.cli._shared.server import ask

    found = ask(url, "GET", f"events/{quote(event_id, safe='')}", params={"tenant": tenant} if tenant else {})
    if format is Format.JSON:
        show_json(found)
        return
    typer.echo(
        safe(
            f"{found['eventId']} of {found['tenant'] or 'an unknown tenant'}, {_number(found)}"
            f"accepted {found['acceptedAt'] or 'too long ago to say when'}"
        )
    )
    rows = (
        [reference(each), each["state"], each.get("at") or "", _details(each)] for each in found["pipelines"]
    )
    show_table(("pipeline", "state", "at", ""), ([safe(cell) for cell in row] for row in rows))


def _details(found: dict[str, Any]) -> str:
    """Say in a line what there is to say of a state."""
    match found["state"]:
        case "delivered":
            place = found["where"].get("destination") or json.dumps(found["where"])
            by = ", by the fallback" if found["where"].get("fallback") else ""
            later = "; the sink is to get it, too" if found.get("backfilling") else ""
            return f"{place} (attempt {found['attempts']}{by}){later}"
        case "deadLettered" | "replaying":
            return f"letter {found['letter']}: {found['code']}: {found['reason']}"
        case "pending":
            error = found["lastError"] if found["pipelineState"] not in {"active", "paused"} else None
            why = f": {error['code']}: {error['message']}" if error else ""
            return f"behind {found['ahead']:,} events; the pipeline is {found['pipelineState']}{why}"
    return str(found.get("reason", ""))


def _number(found: dict[str, Any]) -> str:
    """Give the event's number, which a caller of one tenant is not told."""
    return "" if found["sequence"] is None else f"number {found['sequence']}, "
