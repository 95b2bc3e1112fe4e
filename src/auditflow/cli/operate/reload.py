"""``auditflow reload``: put the configuration file in force without a restart."""

import typer

from auditflow.cli._shared.options import HERE, UrlOption
from auditflow.cli._shared.output import safe


def run(url: UrlOption = HERE) -> None:
    """Read the configuration file again. AuditFlow also does so by itself when the file changes."""
    from auditflow.cli._shared.server import ask

    changed = ask(url, "POST", "reload")["changed"]
    typer.echo(f"loaded again; changed: {safe(', '.join(changed)) or 'no pipeline'}")
