"""``auditflow serve``: accept, keep, decide, deliver."""
# Tested in tests/apps/test_serve.py.

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auditflow.cli._shared.options import ConfigOption, DataDirOption, PluginsOption


class RoleChoice(StrEnum):
    """Which part of AuditFlow a process is."""

    ALL = "all"
    INGEST = "ingest"
    DELIVERY = "delivery"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    WARN = "warn"
    ERROR = "error"


class LogFormat(StrEnum):
    """Log lines for people or for machines."""

    TEXT = "text"
    JSON = "json"


HostOption = Annotated[str | None, typer.Option(envvar="AUDITFLOW_HOST", help="Address to listen on.")]
PortOption = Annotated[
    int | None,
    typer.Option(
        envvar="AUDITFLOW_PORT", min=0, max=65535, help="Port for publishing; 0 takes any free one."
    ),
]
SinkHostOption = Annotated[
    str | None, typer.Option(envvar="AUDITFLOW_SINK_HOST", help="Address of the sink service.")
]
SinkPortOption = Annotated[
    int | None,
    typer.Option(
        envvar="AUDITFLOW_SINK_PORT", min=0, max=65535, help="Port of the sink service; 0 takes any free one."
    ),
]
RoleOption = Annotated[
    RoleChoice, typer.Option(envvar="AUDITFLOW_ROLE", help="Run everything, or one role alone.")
]
LevelOption = Annotated[
    LogLevel, typer.Option(envvar="AUDITFLOW_LOG_LEVEL", case_sensitive=False, help="How much to log.")
]
LogFormatOption = Annotated[
    LogFormat, typer.Option(envvar="AUDITFLOW_LOG_FORMAT", help="Log lines for people or for machines.")
]


def run(  # noqa: PLR0913, PLR0917 - one parameter per option
    config: ConfigOption = Path("auditflow.yaml"),
    data_dir: DataDirOption = None,
    host: HostOption = None,
    port: PortOption = None,
    sink_host: SinkHostOption = None,
    sink_port: SinkPortOption = None,
    plugins: PluginsOption = None,
    role: RoleOption = RoleChoice.ALL,
    log_level: LevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run AuditFlow. Services publish on port 8080; the sink service is on port 8082."""
    from auditflow.apps.role import Options

    options = Options(
        config=str(config),
        role=role.value,
        data_dir=str(data_dir) if data_dir else None,
        plugins=str(plugins) if plugins else None,
        host=host,
        port=port,
        sink_host=sink_host,
        sink_port=sink_port,
        log_level=log_level.value,
        log_format=log_format.value,
    )
    raise typer.Exit(options.run())
