"""``auditflow sinks``: which sinks there are, and every property of one."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from auditflow.cli._shared.options import FormatOption, PluginsOption
from auditflow.cli._shared.output import Format, show_json, show_table

if TYPE_CHECKING:
    from auditflow.plugins import Catalogue, SinkEntry


def run(
    name: Annotated[str | None, typer.Argument(help="Sink to show with all its properties.")] = None,
    plugins: PluginsOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """List the sinks, or every property of one."""
    from auditflow.plugins import discover

    catalogue = discover(plugins)
    if name is not None:
        _show_sink(catalogue.get_sink(name), format)
    else:
        catalogue.check_all()
        _show_catalogue(catalogue, format)


def _show_catalogue(catalogue: "Catalogue", format: Format) -> None:  # noqa: A002 - the name of the option
    entries = [_head(entry) for _, entry in sorted(catalogue.sinks.items())]
    if format is Format.JSON:
        show_json({"sinks": entries, "broken": [asdict(broken) for broken in catalogue.broken]})
        return
    show_table(["name", "version", "origin", "description"], [list(entry.values()) for entry in entries])
    for broken in catalogue.broken:
        typer.echo(f"\nbroken {broken.kind} {broken.name}, from {broken.origin}:\n    {broken.reason}")


def _show_sink(entry: "SinkEntry", format: Format) -> None:  # noqa: A002 - the name of the option
    properties = entry.properties()
    if format is Format.JSON:
        show_json({**_head(entry), "properties": [asdict(property_) for property_ in properties]})
        return
    typer.echo(f"{entry.name} {entry.version} ({entry.origin})\n{entry.description}\n".replace("  ", " "))
    show_table(
        ["property", "type", "default", "description"],
        [
            [
                p.name,
                f"{p.type}, secret" if p.secret else p.type,
                "(required)" if p.required else p.default,
                p.description,
            ]
            for p in properties
        ],
    )


def _head(entry: "SinkEntry") -> dict[str, str]:
    return {
        "name": entry.name,
        "version": entry.version,
        "origin": entry.origin,
        "description": entry.description,
    }
