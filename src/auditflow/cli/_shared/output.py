"""How commands answer: exit codes, tables, JSON, errors."""
# Tested in tests/cli/test_cli.py.

import json
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final

import typer

from auditflow.errors import AuditFlowError

if TYPE_CHECKING:
    from rich.console import Console

_UNBOUNDED: Final = 100_000


class Exit(IntEnum):
    """Exit codes of every command."""

    FINE = 0
    FAILED = 1
    """Problems were found, or the operation failed."""
    USAGE = 2
    """The command line itself is wrong; typer uses this code too."""


class Format(StrEnum):
    """How a command prints its answer."""

    TEXT = "text"
    JSON = "json"


def show_json(data: Any) -> None:
    """Print data for programs."""
    try:
        text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError:  # a number of an event that no float holds
        import msgspec

        from auditflow.event.model import encode

        text = msgspec.json.format(encode(data), indent=2).decode()
    typer.echo(_unsafe_in_json(_escaped, text))


def show_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, its first column never folded."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=header == headers[0])
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def reference(row: dict[str, Any]) -> str:
    """Give the name by which commands know a pipeline of an answer."""
    from auditflow.event.model import PLATFORM_TENANT

    tenant = row.get("tenant") or PLATFORM_TENANT
    return str(row["name"]) if tenant == PLATFORM_TENANT else f"{tenant}/{row['name']}"


def console() -> "Console":
    """Give a console as wide as the terminal; a pipe or file gets lines of any length, nothing folded or cut."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    return console


def show_error(error: AuditFlowError) -> None:
    """Print message and hint where errors go."""
    typer.echo(f"auditflow: {error}", err=True)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)


_unsafe = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]").sub
_unsafe_in_json = re.compile("[\x7f-\x9f\ud800-\udfff]").sub  # it escapes the others itself


def safe(text: str) -> str:
    """Escape what would steer the terminal, or is no text at all."""
    return _unsafe(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
