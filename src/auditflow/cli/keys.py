"""``auditflow keys …``: make, list and revoke API keys. A running server knows within a second."""

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from auditflow.cli._shared.options import DataDirOption, FormatOption
from auditflow.cli._shared.output import Format, safe, show_json, show_table

if TYPE_CHECKING:
    from auditflow.ingest.auth.keys import Key, KeyFile

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Keys that let callers in.")

PUBLISH: Final = "audit-event:write"
LONGEST_LIFE: Final = 100 * 365 * 86400.0

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar="AUDITFLOW_KEYS",
        metavar="FILE",
        help="File of keys, where auth.api-keys.file names one.",
        show_default="keys.json in the data directory",
    ),
]


@group.command("create")
def create(  # noqa: PLR0913, PLR0917 - one parameter per option
    name: Annotated[str, typer.Option(envvar="AUDITFLOW_NAME", help="Whose key it is, for the record.")],
    tenant: Annotated[
        str | None,
        typer.Option(
            envvar="AUDITFLOW_TENANT",
            metavar="ID",
            help="Its tenant, and no other.",
            show_default="every tenant",
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            envvar="AUDITFLOW_SCOPE",
            help="What it may do; again for each: audit-event:write, audit-event:read, audit-event:operate.",
            show_default=PUBLISH,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            envvar="AUDITFLOW_EXPIRES",
            metavar="AGE",
            help="How long it is good: 90d.",
            show_default="forever",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    file: FileOption = None,
) -> None:
    """Make a key and print it, this once: only a hash of it is kept."""
    from auditflow.ingest.auth.principal import is_scope, is_tenant

    if not name.strip() or not name.isprintable():
        raise typer.BadParameter("expected a name", param_hint="--name")
    if tenant is not None and not is_tenant(tenant):
        raise typer.BadParameter(f"{tenant!r} cannot be the id of a tenant", param_hint="--tenant")
    scopes = scope or [PUBLISH]
    if wrong := [one for one in scopes if not is_scope(one)]:
        raise typer.BadParameter(f"{wrong[0]!r} cannot be a scope", param_hint="--scope")
    keys = _keys(data_dir, file)
    key, text = keys.create(name.strip(), tenant, scopes, _lifetime(expires))
    _note(keys, "keys.created", key)
    typer.echo(f"key {key.id} of {key.name} is in {keys.path}; it is shown this once:", err=True)
    typer.echo(text)


@group.command("list")
def list_keys(
    data_dir: DataDirOption = None,
    file: FileOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the name of the option
) -> None:
    """Show whose keys there are, and what they may do; never the keys."""
    keys = [_shown(key) for key in _keys(data_dir, file).read()]
    if format is Format.JSON:
        show_json({"keys": keys})
    elif not keys:
        typer.echo("no keys")
    else:
        rows = (
            [
                key["id"],
                key["name"],
                key["tenant"] or "every",
                " ".join(key["scopes"]),
                key["expires"] or "never",
            ]
            for key in keys
        )
        show_table(
            ("id", "name", "tenant", "scopes", "expires"), ([safe(cell) for cell in row] for row in rows)
        )


@group.command("revoke")
def revoke(
    number: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as list shows it.")],
    data_dir: DataDirOption = None,
    file: FileOption = None,
) -> None:
    """Take a key back; who still shows it is refused within a second."""
    keys = _keys(data_dir, file)
    key = keys.revoke(number)
    _note(keys, "keys.revoked", key)
    typer.echo(f"key {key.id} of {safe(key.name)} is revoked")


def _keys(data_dir: Path | None, file: Path | None) -> "KeyFile":
    from auditflow.apps.data_directory import DATA_DIRECTORY, DataDirectory
    from auditflow.ingest.auth.keys import KeyFile

    return KeyFile(file or DataDirectory(data_dir or DATA_DIRECTORY).keys)


def _note(keys: "KeyFile", what: str, key: "Key") -> None:
    """Leave an event of own audit beside the file, where the server finds it."""
    from auditflow.ingest.operator_audit import OperatorAudit

    shown = _shown(key)
    facts = {"keyId": key.id, "keyName": key.name, "keyTenant": key.tenant}
    more = {name: shown[name] for name in ("scopes", "expires")}
    OperatorAudit(keys.path.parent).note(what, {"actor": _user()}, outcome="success", **facts, **more)


def _user() -> str:
    """Give the name of who runs this command."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user often has none
        return f"uid {os.getuid()}"


def _lifetime(text: str | None) -> float | None:
    from auditflow.units import seconds

    if text is None:
        return None
    try:
        lifetime = seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None
    if not 1 <= lifetime <= LONGEST_LIFE:
        raise typer.BadParameter(f"{text} is not between a second and 100 years", param_hint="--expires")
    return lifetime


def _shown(key: "Key") -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": list(key.scopes),
        "created": key.created.isoformat(),
        "expires": key.expires and key.expires.isoformat(),
    }
