"""``auditflow aws …``: what pipelines need from AWS, and what they put there. Each command is a function of `group`."""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditflow.cli._shared.options import ConfigOption, FormatOption, PluginsOption
from auditflow.cli._shared.output import Exit, Format, safe, show_json, show_table
from auditflow.cli._shared.times import moment

if TYPE_CHECKING:
    from auditflow.sinks.aws_cloudwatch_sink.policy import Document

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Tools for CloudWatch Logs.")

_TITLES: Final = {
    "permissions": "permissions policy of",
    "trust": "trust policy of",
    "key": "statement for the key policy of",
    "service-account": "service account for",
}

AccountOption = Annotated[
    str,
    typer.Option(
        envvar="AUDITFLOW_ACCOUNT",
        metavar="ID",
        help="AWS account that AuditFlow runs in, 12 digits: policies then name it.",
        show_default=False,
    ),
]

PipelineOption = Annotated[
    str,
    typer.Option(
        envvar="AUDITFLOW_PIPELINE",
        metavar="NAME",
        help="Read the log groups of this pipeline alone.",
        show_default="all",
    ),
]
SinceOption = Annotated[
    str,
    typer.Option(
        envvar="AUDITFLOW_SINCE", metavar="TIME", help="Begin: an age (30m, 7d) or a time in ISO 8601."
    ),
]


@group.callback()
def _aws() -> None:
    """Keep `auditflow aws` a group, however few commands it has."""


@group.command("policy")
def policy(
    config: ConfigOption = Path("auditflow.yaml"),
    account: AccountOption = "",
    plugins: PluginsOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Print the smallest IAM policies that the configured pipelines need, those of tenants too, per account."""
    from auditflow.cli._shared import configuration
    from auditflow.config import running
    from auditflow.sinks.aws_cloudwatch_sink.policy import documents

    if account and not (account.isdecimal() and len(account) == 12):  # noqa: PLR2004 - see the help
        raise typer.BadParameter("an AWS account has 12 digits", param_hint="--account")
    loaded, catalogue = configuration.load(config, plugins)
    tenants = configuration.load_tenants(loaded, catalogue)
    configuration.tell_problems(tenants)
    sinks = configuration.sinks(running(loaded, tenants))
    written = documents(configuration.deliveries(configuration.visible(sinks)), account)
    if format is Format.JSON:
        show_json({"documents": [asdict(document) for document in written]})
        return
    if not written:
        typer.echo(f"{config}: no enabled pipeline delivers to aws_cloudwatch_sink")
        raise typer.Exit(Exit.FINE)
    typer.echo("\n".join(_as_text(written, account)))


@group.command("query")
def query(  # noqa: PLR0913, PLR0917 - one parameter per option
    asked: Annotated[
        str,
        typer.Argument(
            metavar="NAME|QUERY",
            help="latest, actors, failures, duplicates, or a query in the language of Logs Insights.",
        ),
    ] = "latest",
    config: ConfigOption = Path("auditflow.yaml"),
    pipeline: PipelineOption = "",
    since: SinceOption = "1h",
    until: Annotated[
        str, typer.Option(envvar="AUDITFLOW_UNTIL", metavar="TIME", help="End: now, an age or a time.")
    ] = "now",
    limit: Annotated[
        int, typer.Option(envvar="AUDITFLOW_LIMIT", min=1, max=10_000, help="Rows to show.")
    ] = 50,
    plugins: PluginsOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Search the log groups of the configured pipelines with CloudWatch Logs Insights."""
    from auditflow.cli._shared.configuration import load, readable
    from auditflow.cli.aws import logs
    from auditflow.cli.aws import query as logs_query

    question = logs_query.question(asked)
    begin, end = moment(since, "--since"), moment(until, "--until")
    if begin >= end:
        raise typer.BadParameter("it is not before --until", param_hint="--since")
    loaded, _ = load(config, plugins)
    those = logs.chosen(readable(loaded), pipeline)
    with logs.sources(those) as sources:
        found = logs_query.ask(sources, question, begin, end, limit)
    if format is Format.JSON:
        typer.echo(json.dumps(found, indent=2))  # in ASCII: half a surrogate pair cannot be printed otherwise
    elif not those:
        typer.echo(f"{config}: no enabled pipeline delivers to aws_cloudwatch_sink")
    elif found["rows"]:
        names = logs_query.columns(found["rows"])
        cells = ([safe(row.get(name, "")) for name in names] for row in found["rows"])
        show_table([safe(name) for name in names], cells)
    else:
        typer.echo(
            f"nothing found in {len(found['logGroups'])} log groups, {found['scanned']:,} records scanned"
        )


@group.command("tail")
def tail(  # noqa: PLR0913, PLR0917 - one parameter per option
    config: ConfigOption = Path("auditflow.yaml"),
    pipeline: PipelineOption = "",
    since: SinceOption = "10m",
    containing: Annotated[
        str,
        typer.Option(
            "--filter",
            envvar="AUDITFLOW_FILTER",
            metavar="TEXT",
            help='Only events with this text, or that match a pattern such as { $.eventType = "a" }.',
            show_default=False,
        ),
    ] = "",
    follow: Annotated[
        bool,
        typer.Option(
            "--follow/--no-follow",
            envvar="AUDITFLOW_FOLLOW",
            help="Go on until interrupted, or print and end.",
        ),
    ] = True,
    plugins: PluginsOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Print what arrives in the log groups of the configured pipelines."""
    from auditflow.cli._shared.configuration import load, readable
    from auditflow.cli.aws import logs
    from auditflow.cli.aws import tail as logs_tail

    begin = moment(since, "--since")
    loaded, _ = load(config, plugins)
    those = logs.chosen(readable(loaded), pipeline)
    if not those:
        typer.echo(f"{config}: no enabled pipeline delivers to aws_cloudwatch_sink", err=True)
        return
    write = logs_tail.as_json if format is Format.JSON else logs_tail.as_text
    with suppress(KeyboardInterrupt), logs.sources(those) as sources:
        for found in logs_tail.tail(sources, begin, logs_tail.pattern_of(containing), follow=follow):
            typer.echo(write(found))


def _as_text(written: list["Document"], account: str) -> list[str]:
    from auditflow.sinks.aws_cloudwatch_sink.policy import UNKNOWN_ACCOUNT, few

    lines = []
    for owner in dict.fromkeys(document.account for document in written):
        lines.append(f"# account {owner}" if owner != "*" else "# the account AuditFlow runs in")
        for document in written:
            if document.account == owner:
                names = few(document.pipelines)
                lines += ["", f"## {_TITLES[document.kind]} {document.belongs_to} (pipelines: {names})", ""]
                lines.append(_content(document))
        lines.append("")
    if not account and UNKNOWN_ACCOUNT in "\n".join(lines):
        lines.append(f"{UNKNOWN_ACCOUNT} is the account AuditFlow runs in: name it with --account.")
    return lines


def _content(document: "Document") -> str:
    import yaml

    if document.kind == "service-account":
        return yaml.safe_dump(document.content, sort_keys=False).rstrip()
    return json.dumps(document.content, indent=2)
