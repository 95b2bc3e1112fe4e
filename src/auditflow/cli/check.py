"""``auditflow check``: say everything that is wrong with configuration files."""

import os
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditflow.cli._shared.configuration import load_tenants
from auditflow.cli._shared.options import DataDirOption, FormatOption, PluginsOption
from auditflow.cli._shared.output import Exit, Format, show_json
from auditflow.errors import AuditFlowError, ConfigError, Problem

if TYPE_CHECKING:
    from auditflow.plugins import Catalogue


@dataclass
class _Result:
    file: Path
    pipelines: int = 0
    tenants: int = 0
    """With pipelines of their own, which are not counted."""
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def run(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            envvar="AUDITFLOW_CONFIG",
            show_default="auditflow.yaml",
            help="Configuration files; each is checked on its own.",
        ),
    ] = None,
    plugins: PluginsOption = None,
    data_dir: DataDirOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Find every problem in a configuration. Works offline, and checks the files of tenants too.

    Warnings come after them: they are advice and fail nothing.
    """
    from auditflow.plugins import discover

    catalogue = discover(plugins) if plugins else None
    results = [_check(file, catalogue, data_dir) for file in files or [Path("auditflow.yaml")]]
    if format is Format.JSON:
        show_json({"files": [asdict(result) | {"file": str(result.file)} for result in results]})
    else:
        for result in results:
            typer.echo(_as_text(result))
    if any(result.problems for result in results):
        raise typer.Exit(Exit.FAILED)


def _check(file: Path, catalogue: "Catalogue | None", data_dir: Path | None) -> _Result:
    from auditflow.config import advise, load
    from auditflow.config.running import running
    from auditflow.plugins import discover

    try:
        config = load(file, os.environ, catalogue)
    except ConfigError as error:
        return _Result(file, problems=error.problems)
    tenants = load_tenants(config, catalogue or discover(config.plugins.directory))
    names = [each.name for each in running(config, tenants)]
    return _Result(
        file,
        len(config.pipelines),
        len(tenants.by_id) if tenants else 0,
        list(tenants.problems) if tenants else [],
        advise(config, file, os.environ) + _left_behind(file, data_dir or config.journal.path, names),
    )


def _left_behind(file: Path, path: Path | None, active: list[str]) -> list[Problem]:
    """Warn of pipelines that this configuration does not run and that have events to deliver in the data directory."""
    from auditflow.apps.data_directory import DATA_DIRECTORY, DataDirectory
    from auditflow.journal.sqlite.writer import SqliteJournal
    from auditflow.ledger.inactive import advice, owing
    from auditflow.ledger.sqlite.ledger import SqliteLedger

    directory = DataDirectory(path or DATA_DIRECTORY)
    if not directory.ledger.exists() or not directory.journal.exists():
        return []
    with suppress(AuditFlowError), closing(SqliteLedger.reader(directory.ledger)) as ledger:
        with closing(SqliteJournal.reader(directory.journal)) as journal:
            found = owing(journal, ledger.accounts(), active)
        return [Problem(str(file), 1, 1, "pipelines", advice(*each)) for each in found.items()]
    return []


def _as_text(result: _Result) -> str:
    if result.problems:
        return "\n".join(str(problem) for problem in result.problems)
    found = [_counted(result.pipelines, "pipeline")]
    if result.tenants:
        found.append(_counted(result.tenants, "tenant"))
    first = f"{result.file}: {', '.join(found)}, no problems"
    warnings = (str(replace(each, message=f"warning: {each.message}")) for each in result.warnings)
    return "\n".join([first, *warnings])


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
