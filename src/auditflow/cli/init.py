"""``auditflow init``: write a configuration to start from."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import typer

from auditflow.cli._shared.options import ConfigOption
from auditflow.cli._shared.output import Exit

SCHEMA: Final = "auditflow.schema.json"
AWS_SIGNS: Final = (
    "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_ENDPOINT_URL",
)  # fmt: skip
"""Variables that tell of credentials or an endpoint: whoever sets one wants CloudWatch."""

CONFIGURATION: Final = """\
# yaml-language-server: $schema={schema}
# AuditFlow's configuration. `auditflow check` finds mistakes; docs/reference/configuration.md lists all settings.

pipelines:
  # Every pipeline gets every event, unless it has a condition. Each has one sink.
  - name: everything
    sink:
{sink}
  # - name: failed-logins
  #   condition:                       # all rules must hold; `match: any` takes events for which one does
  #     rules:
  #       - {{field: eventType, operator: startsWith, value: auth.}}
  #       - {{field: extra.actionStatus, operator: eq, value: FAILURE}}
  #   sink:
  #     name: webhook_sink             # `auditflow sinks` lists them all
  #     properties:
  #       webhook-url: https://siem.example.com/hook
  #       secret: ${{WEBHOOK_SECRET}}      # read from the environment

# redaction:                           # what is masked before anything is stored
#   rules:
#     - {{field: extra.email}}

# auth:                                # needed to listen on anything but this machine
#   api-keys: {{}}                       # make one with: auditflow keys create --name web
"""
CLOUDWATCH: Final = """\
      name: aws_cloudwatch_sink
      properties:
        log-group: /auditflow/events
        log-stream: all
        region: {region}
"""
LOGGING: Final = """\
      name: logging_sink               # writes events into AuditFlow's own log: good for trying things out
      # name: aws_cloudwatch_sink      # needs: pip install 'auditflow-server[aws]'
      # properties:
      #   log-group: /auditflow/events
      #   log-stream: all
      #   region: us-east-1
"""


def run(config: ConfigOption = Path("auditflow.yaml")) -> None:
    """Write a configuration to start from. It is commented, and comes with its schema for your editor."""
    if config.exists():
        typer.echo(f"auditflow: {config} is there already and stays as it is.", err=True)
        typer.echo(f"hint: Check it with: auditflow check {config}, or name another: --config FILE", err=True)
        raise typer.Exit(Exit.FAILED)
    sink = _sink()
    schema = config.with_name(SCHEMA)
    try:
        config.write_text(CONFIGURATION.format(schema=SCHEMA, sink=sink), encoding="utf-8")
        schema.write_text(_schema(), encoding="utf-8")
    except OSError as error:
        typer.echo(f"auditflow: {config} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(Exit.FAILED) from None
    named = "" if config.name == "auditflow.yaml" and config.parent == Path() else f" --config {config}"
    typer.echo(f"wrote {config}, and {schema} for your editor")
    typer.echo("next:")
    typer.echo(f"  auditflow check {config}")
    typer.echo(f"  auditflow serve{named}")
    typer.echo("""  echo '{"eventType": "test.event", "sourceSystem": "terminal"}' | auditflow publish""")


def _sink() -> str:
    """CloudWatch where the environment tells of it and boto3 is there; AuditFlow's own log otherwise."""
    if find_spec("boto3") and any(os.environ.get(name) for name in AWS_SIGNS):
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return CLOUDWATCH.format(region=region)
    return LOGGING


def _schema() -> str:
    import json

    from auditflow.config import schema
    from auditflow.plugins import discover

    return json.dumps(schema(discover(None)), indent=2) + "\n"
