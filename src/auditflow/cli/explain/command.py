"""``auditflow explain``: what would become of an event, and why. Asks nobody."""
# Tested in tests/cli/explain/test_explanation.py.

from pathlib import Path
from typing import Annotated

import typer

from auditflow.cli._shared.options import ConfigOption, FormatOption, PluginsOption
from auditflow.cli._shared.output import Format, show_json


def run(
    event: Annotated[
        Path, typer.Argument(metavar="EVENT.json", help="File with one event; - is standard input.")
    ],
    tenant: Annotated[
        str | None,
        typer.Option(
            envvar="AUDITFLOW_TENANT",
            metavar="ID",
            help="Explain it as published by this tenant.",
            show_default="as the event says",
        ),
    ] = None,
    config: ConfigOption = Path("auditflow.yaml"),
    plugins: PluginsOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Show what each pipeline does with an event. Works offline, and says why."""
    from auditflow.cli._shared import configuration
    from auditflow.cli.explain import explanation
    from auditflow.ingest.auth.principal import is_tenant

    if tenant is not None and not is_tenant(tenant):
        raise typer.BadParameter(f"{tenant!r} cannot be the id of a tenant", param_hint="--tenant")
    loaded, catalogue = configuration.load(config, plugins)
    tenants = configuration.load_tenants(loaded, catalogue)
    configuration.tell_problems(tenants)
    around = explanation.Surroundings(loaded, catalogue, tenants)
    explained = explanation.explain(explanation.read(event), around, tenant)
    if format is Format.JSON:
        show_json(explained)
    else:
        typer.echo(explanation.as_text(explained))
