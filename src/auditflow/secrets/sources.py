"""Where secrets of tenants come from: the environment, or a mounted folder."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from auditflow.errors import SecretMissing, SecretUnreadable
from auditflow.outside_text import is_text, without_line_end

VARIABLES: Final = "AUDITFLOW_TENANT_"
"""What the names of variables that hold secrets begin with."""

_LARGEST: Final = 65_536
"""Bytes of a secret: as much as AWS Secrets Manager takes."""


class SecretSource(ABC):
    """Gives secrets by tenant and key. Methods block, and may be called from several threads."""

    @abstractmethod
    def get(self, tenant: str, key: str) -> str:
        """Give a secret that is not blank.

        Raises SecretMissing, SecretUnreadable, or SecretsUnavailable for what will pass by itself.
        """

    def forget(self, tenant: str) -> None:  # noqa: B027 - most keep nothing
        """Ask again for what was kept of this tenant's secrets: one of them seems to have changed."""


class EnvironmentSecrets(SecretSource):
    """A variable for each secret: `AUDITFLOW_TENANT_<ID>_<KEY>`; line ends at its end do not count."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, tenant: str, key: str) -> str:
        """Give the variable's value."""
        variable = variable_of(tenant, key)
        value = without_line_end(self._environ.get(variable, ""))
        if not is_text(value):
            raise _unreadable(tenant, variable, "it is not UTF-8")
        if not value.strip():
            hint = f"Start AuditFlow with {variable}=…"
            raise SecretMissing(tenant=tenant, key=key, place=f"the variable {variable}", hint=hint)
        return value


class FolderSecrets(SecretSource):
    """A file for each secret, `<tenant>/<key>`, as Kubernetes mounts a Secret; line ends at its end do not count."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, tenant: str, key: str) -> str:
        """Give the file's content."""
        path = self._directory / tenant / key
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
            value = without_line_end(content.decode()) if len(content) <= _LARGEST else None
        except (FileNotFoundError, NotADirectoryError):
            value = ""
        except OSError as error:
            raise _unreadable(tenant, path, error.strerror or type(error).__name__) from None
        except UnicodeDecodeError:  # which would quote it
            raise _unreadable(tenant, path, "it is not UTF-8") from None
        if value is None:
            raise _unreadable(tenant, path, f"it has more than {_LARGEST} bytes")
        if not value.strip():
            hint = f"Write the secret into {path}, or mount it there."
            raise SecretMissing(tenant=tenant, key=key, place=f"the file {path}", hint=hint)
        return value


def variable_of(tenant: str, key: str) -> str:
    """Name the environment variable of a secret."""
    return f"{variables_of(tenant)}{_upper(key)}"


def variables_of(tenant: str) -> str:
    """Give what the names of a tenant's variables begin with."""
    return f"{VARIABLES}{_upper(tenant)}_"


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _unreadable(tenant: str, path: Path | str, reason: str) -> SecretUnreadable:
    hint = f"Fix {path}; AuditFlow reads it again by itself."
    return SecretUnreadable(tenant=tenant, place=path, reason=reason, hint=hint)
