"""``auditflow publish``: send events from files or standard input."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditflow.cli._shared.access import ACCESS
from auditflow.cli._shared.options import HERE, UrlOption
from auditflow.cli._shared.output import Exit

if TYPE_CHECKING:
    from auditflow.client import Report


def run(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            show_default="standard input",
            help="NDJSON, one event a line; a .json file holds one event or an array; - is standard input.",
        ),
    ] = None,
    url: UrlOption = HERE,
    batch: Annotated[
        int, typer.Option(envvar="AUDITFLOW_BATCH", min=1, max=10_000, help="Events in one request.")
    ] = 500,
    patience: Annotated[
        float,
        typer.Option(
            envvar="AUDITFLOW_PATIENCE",
            min=0,
            help="Seconds to go on trying while the server takes no events.",
        ),
    ] = 60.0,
) -> None:
    """Publish events from files or standard input. Every event keeps its id across retries."""
    from auditflow.client import Publisher, Report, read_events

    sources = files or [Path("-")]
    report = Report()
    try:
        publisher = Publisher(url, patience, ACCESS.headers(), ACCESS.verify())
        with publisher, _progress(sources) as advance:
            for source in sources:
                for chunk in read_events(source, batch):
                    publisher.publish(chunk, report)
                    advance(len(chunk.events))
    finally:
        _show(report)
    if report.rejected:
        raise typer.Exit(Exit.FAILED)


def _show(report: "Report") -> None:
    for place, message in report.rejected:
        typer.echo(f"{place}: {message}", err=True)
    typer.echo(f"{report.accepted} accepted, {report.duplicates} duplicates, {len(report.rejected)} rejected")


@contextmanager
def _progress(sources: Sequence[Path]) -> Iterator[Callable[[int], None]]:
    """Show how many events have been sent, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} events"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=Console(stderr=True), disable=not Console(stderr=True).is_terminal
    ) as progress:
        task = progress.add_task(", ".join(source.name for source in sources), total=None)
        yield lambda count: progress.advance(task, count)
