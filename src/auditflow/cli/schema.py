"""``auditflow schema``: the JSON Schema of the configuration, for editors."""

from auditflow.cli._shared.options import PluginsOption
from auditflow.cli._shared.output import show_json


def run(plugins: PluginsOption = None) -> None:
    """Print the JSON Schema of the configuration. Editors use it."""
    from auditflow.config import schema
    from auditflow.plugins import discover

    catalogue = discover(plugins)
    catalogue.check_all()
    show_json(schema(catalogue))
