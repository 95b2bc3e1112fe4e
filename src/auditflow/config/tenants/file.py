"""One tenant's file, judged by itself."""
# Tested in tests/config/tenants/test_folder.py.

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from auditflow.config.document import Document, content_of, read
from auditflow.config.loader import in_order, joined_policy, repeated_pipelines, with_defaults
from auditflow.config.model import SecretsConfig, Surroundings, TenantConfig
from auditflow.config.validation import validated
from auditflow.errors import Problem
from auditflow.pipelines.deliver.policy import DeliveryPolicy
from auditflow.plugins import Catalogue

Stamp = tuple[int, int, int, int]
"""Times of change of content and of the file itself in nanoseconds, size and inode; another one means that it has changed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the files of tenants are judged by."""

    environ: Mapping[str, str] = field(repr=False)
    catalogue: Catalogue
    delivery: DeliveryPolicy = field(default_factory=DeliveryPolicy)
    """How hard pipelines try where the tenant's file does not say."""
    secrets: SecretsConfig = field(default_factory=SecretsConfig)
    """Where the tenants' secrets are."""

    @property
    def secrets_in_environment(self) -> bool:
        """Whether secrets are variables, whose names may clash."""
        return self.secrets == SecretsConfig()


@dataclass(frozen=True, slots=True)
class TenantFile:
    """One file: what it says, and what counts."""

    path: Path
    stamp: Stamp
    digest: bytes = b""
    """Of its content; empty when it could not be read."""
    offered: TenantConfig | None = None
    """What it says now; None while it has problems."""
    active: TenantConfig | None = None
    """What counts: what it says now, or what it said when it was last good."""
    problems: tuple[Problem, ...] = ()
    id_at: tuple[int, int] = (1, 1)
    """Line and column of the tenant's id."""
    secrets: tuple[tuple[str, Problem], ...] = ()
    """Keys of the secrets it refers to, each with a problem to be filled in that says where."""


def read_tenant(  # noqa: PLR0913 - what a file is read and judged by
    path: Path,
    stamp: Stamp,
    terms: Terms,
    old: TenantFile | None,
    *,
    same: bool,
    copy: Path | None = None,
) -> TenantFile:
    """Read a file, or a copy as if it were the file; one that was only touched stays what it was."""
    try:
        content = content_of(copy or path)
    except OSError:
        content = None
    digest = hashlib.sha256(content).digest() if content is not None else b""
    if same and old and digest and old.digest == digest:
        return replace(old, stamp=stamp)
    document = read(path, terms.environ, content)
    problems = list(document.problems)
    surroundings = Surroundings(terms.catalogue, path.parent, _id(document))
    tenant = validated(document, TenantConfig, surroundings, problems)
    problems += repeated_pipelines([document])
    file = TenantFile(path, stamp, digest, active=old.active if old else None, id_at=_id_at(document))
    if problems or tenant is None:
        return replace(file, problems=tuple(in_order(problems, [path])))
    secrets = [
        (key, document.problem(where, "")) for where, text in document.secrets.items() for key in text.keys
    ]
    return replace(file, offered=_with_delivery(tenant, terms.delivery), secrets=tuple(secrets))


def _with_delivery(tenant: TenantConfig, defaults: DeliveryPolicy) -> TenantConfig:
    delivery = joined_policy(tenant.delivery, defaults)
    pipelines = with_defaults(tenant.pipelines, delivery)
    return tenant.model_copy(update={"delivery": delivery, "pipelines": pipelines})


def _id(document: Document) -> str:
    data = document.data if isinstance(document.data, dict) else {}
    return str(data.get("tenantId") or data.get("tenant-id"))


def _id_at(document: Document) -> tuple[int, int]:
    found = document.values.get(("tenantId",)) or document.values.get(("tenant-id",))
    return found or (1, 1)
