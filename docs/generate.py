"""Writes the parts of the docs that the code knows better; with --check, fails when one of them is stale."""

from __future__ import annotations

import inspect
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import typer.main
from pydantic import BaseModel

from auditflow import errors
from auditflow.api import ingest_app
from auditflow.api.ingest_app import Operating
from auditflow.api.operate.events import Where
from auditflow.api.operate.metrics import PipelineCollector
from auditflow.api.operate.status import Status
from auditflow.cli import COMMANDS, GROUPS, app, name_of
from auditflow.config.model import (
    Config,
    DeadLettersConfig,
    FallbackConfig,
    JournalConfig,
    PipelineConfig,
    PluginsConfig,
    SecretsConfig,
    ServerConfig,
    SinkConfig,
    TenantConfig,
    TenantsConfig,
)
from auditflow.config.schema import schema
from auditflow.config.tls import TlsConfig
from auditflow.ingest.admission import Quota
from auditflow.ingest.auth.settings import ApiKeysConfig, AuthConfig, GatewayConfig, JwtConfig, ScopesConfig
from auditflow.ingest.redaction.config import RedactionConfig, RedactionRule
from auditflow.journal.memory import MemoryJournal
from auditflow.ledger.commands import Commands
from auditflow.ledger.memory import MemoryLedger
from auditflow.pipelines.decide.condition import Condition, Rule
from auditflow.pipelines.decide.operators import OPERATORS
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.plugins import discover
from auditflow.secrets.aws_secrets_manager import AwsSecretsManager
from auditflow.settings import PropertyInfo, describe
from auditflow.telemetry import metrics

DOCS: Final = Path(__file__).parent
_LEDGER = MemoryLedger()
_LEDGER.register(["example"], 1, 1)
_JOURNAL = MemoryJournal()
STATUS: Final = Status(_JOURNAL, _LEDGER, time.time)
OPERATING: Final = Operating(
    STATUS, _LEDGER, _JOURNAL, Commands(Path("commands")), Where(_JOURNAL, _LEDGER, []), dict
)
GENERATED: Final = "<!-- Written by docs/generate.py: change the code, then run `make docs`. -->\n\n"


def main() -> int:
    """Write or check every generated file; give the exit status."""
    stale = []
    for path, text in pages():
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    for path in stale:
        print(f"{'stale' if '--check' in sys.argv else 'written'}: {path.relative_to(DOCS.parent)}")
    return 1 if stale and "--check" in sys.argv else 0


def pages() -> Iterator[tuple[Path, str]]:
    """Give every file that is generated, whole or in part."""
    reference = DOCS / "reference"
    yield reference / "cli.md", GENERATED + cli()
    yield reference / "configuration.md", GENERATED + configuration()
    yield reference / "errors.md", GENERATED + error_codes()
    yield reference / "metrics.md", GENERATED + metric_names()
    yield (
        reference / "openapi.json",
        json.dumps(ingest_app.operations(OPERATING, str).openapi(), indent=2) + "\n",
    )
    yield reference / "auditflow.schema.json", json.dumps(schema(discover()), indent=2) + "\n"
    for entry in discover().sinks.values():
        page = DOCS / "sinks" / f"{entry.name}.md"
        section = f"<!-- properties -->\n\n{table(entry.properties())}\n<!-- /properties -->"
        pattern = r"<!-- properties -->.*?<!-- /properties -->"
        yield page, re.sub(pattern, lambda _, text=section: text, page.read_text(), count=1, flags=re.DOTALL)


def table(properties: Sequence[PropertyInfo]) -> str:
    """Describe properties as a Markdown table."""
    rows = ["| property | type | default | meaning |", "| --- | --- | --- | --- |"]
    for each in properties:
        default = "**required**" if each.required else f"`{each.default}`" if each.default else "-"
        secret = " Secret." if each.secret else ""
        rows.append(f"| `{each.name}` | {_cell(each.type)} | {default} | {_cell(each.description)}{secret} |")
    return "\n".join(rows) + "\n"


def cli() -> str:
    """Describe every command."""
    root: Any = typer.main.get_command(app)
    commands = {"auditflow": root} | {
        f"auditflow {name}": root.commands[name] for name in map(name_of, COMMANDS)
    }
    for group in map(name_of, GROUPS):
        commands |= {
            f"auditflow {group} {name}": each for name, each in root.commands[group].commands.items()
        }
    parts = ["# Command line\n"]
    for name, command in commands.items():
        parts.append(f"## `{name}`\n\n{inspect.cleandoc(command.help or '')}\n")
        rows = ["| option | variable | default | meaning |", "| --- | --- | --- | --- |"]
        rows += [_option(option) for option in command.params if option.name != "help"]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _option(option: Any) -> str:
    flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts] if flag.startswith("-"))
    shown = flags or f"`{option.metavar or option.name}`"
    default = option.show_default if isinstance(option.show_default, str) else option.default
    text = str(getattr(default, "value", default)) if default not in {None, False} else ""
    return f"| {shown} | {f'`{option.envvar}`' if option.envvar else '-'} | {f'`{text}`' if text else '-'} | {_cell(option.help or '')} |"


def configuration() -> str:
    """Describe everything `auditflow.yaml` may say."""
    sections: list[tuple[str, type[BaseModel]]] = [
        ("The file", Config), ("`pipelines[]`", PipelineConfig), ("`pipelines[].condition`", Condition),
        ("`pipelines[].condition.rules[]`", Rule), ("`pipelines[].sink`", SinkConfig),
        ("`pipelines[].sink.fallback`", FallbackConfig), ("`pipelines[].delivery` and `delivery`", DeliveryPolicy),
        ("`tenants`", TenantsConfig), ("A tenant's file", TenantConfig), ("`quota` of a tenant", Quota),
        ("`secrets`", SecretsConfig), ("`secrets.aws-secrets-manager`", AwsSecretsManager),
        ("`redaction`", RedactionConfig), ("`redaction.rules[]`", RedactionRule),
        ("`journal`", JournalConfig), ("`dead-letters`", DeadLettersConfig), ("`server`", ServerConfig), ("`server.tls`", TlsConfig),
        ("`auth`", AuthConfig), ("`auth.api-keys`", ApiKeysConfig), ("`auth.jwt`", JwtConfig),
        ("`auth.gateway`", GatewayConfig), ("`auth.scopes`", ScopesConfig), ("`plugins`", PluginsConfig),
    ]  # fmt: skip
    parts = [
        "# Configuration\n\nThe properties of a sink: `auditflow sinks NAME`, or its page in docs/sinks.\n"
    ]
    parts += [f"## {title}\n\n{table(describe(model))}" for title, model in sections]
    rows = ["| operator | holds when | also written |", "| --- | --- | --- |"]
    for name, (meaning, aliases) in OPERATORS.items():
        rows.append(f"| `{name}` | {meaning} | {', '.join(f'`{alias}`' for alias in aliases) or '-'} |")
    parts.append(
        "## Operators\n\nUpper and lower case of an operator are the same. A value is compared as text: a string as it is, all else as "
        "its JSON (`true`, `42`, `[1,2]`). On an absent field or null only `notExists` holds, unless the rule says "
        "`missing: match`.\n\n" + "\n".join(rows) + "\n"
    )
    return "\n".join(parts)


def error_codes() -> str:
    """Describe every error that AuditFlow raises on purpose."""
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.AuditFlowError)
    ]
    rows = ["# Errors\n", "| code | message | what fixes it |", "| --- | --- | --- |"]
    for kind in sorted(kinds, key=lambda each: (each.code, each.__name__)):
        message = " ".join((kind.__doc__ or "").split())
        rows.append(f"| `{kind.code}` | {_cell(message)} | {_cell(_filled(kind.hint_template)) or '-'} |")
    return "\n".join(rows) + "\n"


def metric_names() -> str:
    """Describe every metric of `GET /metrics`."""
    rows = [
        "# Metrics\n\nThose of a tenant's pipeline have the label `tenant`, too.\n",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    metrics.count_redacted("a-rule", 0)  # a family without a sample does not tell its labels
    for family in [*metrics.REGISTRY.collect(), *PipelineCollector(STATUS).collect()]:
        labels = ", ".join(f"`{label}`" for label in family.samples[0].labels) or "-"
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append(f"| `{name}` | {family.type} | {labels} | {_cell(family.documentation)} |")
    return "\n".join(rows) + "\n"


def _filled(template: str) -> str:
    """Write the braces that a template means as such."""
    return template.replace("{{", "{").replace("}}", "}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
