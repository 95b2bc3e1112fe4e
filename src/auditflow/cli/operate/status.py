"""``auditflow status``: what became of the events, per pipeline."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer

from auditflow.cli._shared.options import HERE, FormatOption, UrlOption
from auditflow.cli._shared.output import Format, console, reference, show_json
from auditflow.errors import ServerUnreachable


def run(
    url: UrlOption = HERE,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", "-w", envvar="AUDITFLOW_WATCH", help="Keep the table up to date until interrupted."
        ),
    ] = False,
    interval: Annotated[
        float,
        typer.Option(envvar="AUDITFLOW_INTERVAL", min=0.1, help="Seconds between two readings with --watch."),
    ] = 1.0,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Show every pipeline and what fixes it. Its counts balance at every moment."""
    status = fetch(url)
    if format is Format.JSON:
        show_json(status)
        return
    if watch:
        with suppress(KeyboardInterrupt):
            _watch(url, status, interval)
    else:
        console().print(render(status))


def _watch(url: str, status: dict[str, Any], interval: float) -> None:
    """Show the status again and again; a server that is away just now is waited for."""
    from rich.live import Live
    from rich.text import Text

    with Live(render(status), console=console(), auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            try:
                seen = render(fetch(url))
            except ServerUnreachable as error:
                seen = Text(str(error), "red")
            live.update(seen, refresh=True)


def fetch(url: str) -> dict[str, Any]:
    """Read the status of a running server. Raises ServerUnreachable."""
    from auditflow.cli._shared.server import ask

    status = ask(url, "GET", "status")
    if "pipelines" not in status:
        raise ServerUnreachable(url=url, reason="something else answers there")
    return status


_COLORS = {
    "active": "green",
    "retrying": "yellow",
    "blocked": "red",
    "fallback": "yellow",
    "paused": "cyan",
    "inactive": "yellow",
}
_COUNTS = ("accepted", "delivered", "filtered", "deadLettered", "pending")


def render(status: dict[str, Any]) -> Any:
    """Draw a status as a table, with the problems below it."""
    from rich.console import Group, RenderableType
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("pipeline", overflow="fold")
    table.add_column("state", no_wrap=True)
    for heading in ("accepted", "delivered", "filtered", "dead", "pending", "oldest"):
        table.add_column(heading, justify="right", no_wrap=True)
    problems: list[RenderableType] = []
    for row in status["pipelines"]:
        color = _COLORS.get(row["state"], "")
        age = readable_age(row["oldestPendingAgeSeconds"]) if row["pending"] else ""
        counts = [f"{row[name]:,}" for name in _COUNTS]
        name = reference(row)
        table.add_row(Text(name), Text(row["state"], color), *counts, age)
        if row["state"] != "active" and row["lastError"]:
            error = row["lastError"]
            problems.append(Text(f"\n{name}: {error['code']}: {error['message']}", color))
            if error["hint"]:
                problems.append(Padding.indent(Text(f"hint: {error['hint']}"), 2))
        if row["warning"]:
            problems.append(Text(f"\n{name}: {row['warning']}", "yellow"))
    journal = status.get("journal") or {
        "incidents": []
    }  # who has a tenant sees that tenant's pipelines alone
    incidents = [Text(f"\njournal: {incident}", "red") for incident in journal["incidents"]]
    return Group(table, *problems, *incidents, *_refused(status))


def _refused(status: dict[str, Any]) -> Iterator[Any]:
    """Say what keeps changed files from being put in force."""
    from rich.text import Text

    for section, heading in _IN_FORCE.items():
        problems = (status.get(section) or {}).get("problems", [])
        if problems:
            yield Text(f"\n{heading}", "red")
        for each in problems:
            place = f"{each['file']}:{each['line']}:{each['column']}: " + (
                each["path"] and f"{each['path']}: "
            )
            yield Text(f"{place}{each['message']}", "red")
            if each["hint"]:
                yield Text(f"  hint: {each['hint']}")


_IN_FORCE = {
    "configuration": "the configuration file has changed and is not in force:",
    "tenants": "files of tenants are not in force as they are now:",
}


def readable_age(seconds: float) -> str:
    """Write an age in its largest unit, short enough for a column: 59 s, 12 min, 3 h, 8 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
