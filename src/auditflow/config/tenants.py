"""The tenants' folder: one file for each tenant, each judged by itself.

A file that is broken keeps what it said when it was last good. A file is read again only when it has changed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from auditflow.config.document import Document, read
from auditflow.config.loader import in_order, joined_policy, repeated_pipelines, with_defaults
from auditflow.config.model import PipelineConfig, Surroundings, TenantConfig
from auditflow.config.validation import validated
from auditflow.errors import Problem
from auditflow.pipelines.policy import DeliveryPolicy
from auditflow.plugins import Catalogue

SUFFIXES: Final = (".yaml", ".yml")

Stamp = tuple[int, int, int]
"""Time of change in nanoseconds, size and inode of a file; another one means that it has changed."""

_UNREADABLE: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the files of tenants are judged by."""

    environ: Mapping[str, str] = field(repr=False)
    catalogue: Catalogue
    delivery: DeliveryPolicy = field(default_factory=DeliveryPolicy)
    """How hard pipelines try where the tenant's file does not say."""


@dataclass(frozen=True, slots=True)
class TenantFile:
    """One file: what it says, and what counts."""

    path: Path
    stamp: Stamp
    digest: bytes = b""
    offered: TenantConfig | None = None
    """What it says now; None while it has problems."""
    in_force: TenantConfig | None = None
    """What counts: what it says now, or what it said when it was last good."""
    problems: tuple[Problem, ...] = ()
    id_at: tuple[int, int] = (1, 1)
    """Line and column of the tenant's id."""


@dataclass(frozen=True, slots=True)
class Tenants:
    """The tenants in force, and what is wrong with their files."""

    terms: Terms
    files: Mapping[str, TenantFile] = field(default_factory=dict)
    """By name of the file."""
    by_id: Mapping[str, TenantConfig] = field(default_factory=dict)
    """Those in force, also the disabled ones."""
    problems: tuple[Problem, ...] = ()
    """Of the files as they are now; what they said before stays in force, where there was anything."""

    def get(self, tenant_id: str) -> TenantConfig | None:
        """Give a tenant; None when there is none of this id."""
        return self.by_id.get(tenant_id)

    def pipelines(self) -> Iterator[tuple[str, PipelineConfig]]:
        """Give the enabled pipelines of the enabled tenants, each with its tenant's id."""
        for tenant_id, tenant in self.by_id.items():
            if tenant.enabled:
                yield from ((tenant_id, pipeline) for pipeline in tenant.pipelines if pipeline.enabled)


def load_tenants(directory: Path, terms: Terms, before: Tenants | None = None) -> Tenants:
    """Read the tenants of a folder, offline; what has not changed since `before` is taken from there.

    Never raises for what the folder holds: see `problems` of what it gives.
    """
    before = before or Tenants(terms)
    try:
        stamps = _stamps(directory)
    except OSError as error:
        message = f"the folder of the tenants cannot be read: {error.strerror or error}"
        return replace(before, problems=(Problem(str(directory), 1, 1, "", message),))
    return _loaded(directory, stamps, terms, before)


class TenantFolder:
    """The tenants of a folder, kept up to date. Methods block for as long as reading takes."""

    def __init__(self, directory: Path, terms: Terms) -> None:
        self._directory = directory
        self._terms = terms
        self.tenants = load_tenants(directory, terms)
        """Those in force."""
        self._seen: Mapping[str, Stamp] = {}

    def refresh(self) -> bool:
        """Look whether files have changed and read those that have; tell whether anything is different now.

        A change counts when the file has stood still since the last look, so that none is read half-written:
        two looks after it was made, at the latest. A look that finds nothing costs a stat for each file.
        """
        try:
            now = _stamps(self._directory)
        except OSError:
            return self._put_in_force(load_tenants(self._directory, self._terms, self.tenants))
        files, seen = self.tenants.files, self._seen
        self._seen = now
        known = {name: file.stamp for name, file in files.items()}
        settled = {
            name: stamp
            for name in sorted(now.keys() | known.keys())
            if (stamp := (now if now.get(name) == seen.get(name) else known).get(name))
        }
        if settled == known and not self._incomplete():
            return False
        return self._put_in_force(_loaded(self._directory, settled, self._terms, self.tenants))

    def judge_by(self, terms: Terms) -> bool:
        """Judge every file again, by other terms; tell whether anything is different now."""
        self._terms = terms
        return self._put_in_force(load_tenants(self._directory, terms, self.tenants))

    def _incomplete(self) -> bool:
        """Tell whether the folder itself could not be read the last time."""
        return any(problem.file == str(self._directory) for problem in self.tenants.problems)

    def _put_in_force(self, tenants: Tenants) -> bool:
        old, self.tenants = self.tenants, tenants
        return (old.by_id, old.problems) != (tenants.by_id, tenants.problems)


def _stamps(directory: Path) -> dict[str, Stamp]:
    """Look at the files. What is hidden is no tenant's: editors' copies, and what Kubernetes links to."""
    with os.scandir(directory) as entries:
        found = {
            entry.name: stamp
            for entry in entries
            if entry.name.endswith(SUFFIXES) and not entry.name.startswith(".") and (stamp := _stamp(entry))
        }
    return dict(sorted(found.items()))


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere; reading says it better
        return _UNREADABLE
    return (status.st_mtime_ns, status.st_size, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _loaded(directory: Path, stamps: Mapping[str, Stamp], terms: Terms, before: Tenants) -> Tenants:
    old = before.files
    same = terms == before.terms
    files = [
        old[name]
        if same and name in old and old[name].stamp == stamp
        else _read(directory / name, stamp, terms, old.get(name), same=same)
        for name, stamp in stamps.items()
    ]
    files, clashes = _in_force(files)
    problems = [*clashes, *(problem for file in files for problem in file.problems)]
    by_id = {file.in_force.tenant_id: file.in_force for file in files if file.in_force}
    ordered = in_order(problems, [file.path for file in files])
    return Tenants(terms, {file.path.name: file for file in files}, by_id, tuple(ordered))


def _read(path: Path, stamp: Stamp, terms: Terms, old: TenantFile | None, *, same: bool) -> TenantFile:
    """Read a file; one that was only touched stays what it was."""
    try:
        content = path.read_bytes()
    except OSError:
        content = None
    digest = hashlib.sha256(content).digest() if content is not None else b""
    if same and old and digest and old.digest == digest:
        return replace(old, stamp=stamp)
    document = read(path, terms.environ, content)
    problems = list(document.problems)
    tenant = validated(document, TenantConfig, Surroundings(terms.catalogue, path.parent), problems)
    problems += repeated_pipelines([document])
    file = TenantFile(path, stamp, digest, in_force=old.in_force if old else None, id_at=_id_at(document))
    if problems or tenant is None:
        return replace(file, problems=tuple(in_order(problems, [path])))
    return replace(file, offered=_with_delivery(tenant, terms.delivery))


def _with_delivery(tenant: TenantConfig, defaults: DeliveryPolicy) -> TenantConfig:
    delivery = joined_policy(tenant.delivery, defaults)
    pipelines = with_defaults(tenant.pipelines, delivery)
    return tenant.model_copy(update={"delivery": delivery, "pipelines": pipelines})


def _id_at(document: Document) -> tuple[int, int]:
    found = document.values.get(("tenantId",)) or document.values.get(("tenant-id",))
    return found or (1, 1)


def _in_force(files: Iterable[TenantFile]) -> tuple[list[TenantFile], list[Problem]]:
    """Decide what counts. An id belongs to the file that had it before, else to the first by name."""
    owners: dict[str, TenantFile] = {}
    decided, problems = [], []
    for file in sorted(files, key=lambda file: (_claims_another_id(file), file.path.name)):
        tenant = file.offered or file.in_force
        if file.offered and file.offered.tenant_id in owners:
            problems.append(_taken(file, file.offered.tenant_id, owners[file.offered.tenant_id]))
            tenant = file.in_force
        if tenant and tenant.tenant_id in owners:
            tenant = None
        decided.append(replace(file, in_force=tenant))
        if tenant:
            owners[tenant.tenant_id] = file
    return sorted(decided, key=lambda file: file.path.name), problems


def _claims_another_id(file: TenantFile) -> bool:
    if file.in_force is None:
        return True
    return file.offered is not None and file.offered.tenant_id != file.in_force.tenant_id


def _taken(file: TenantFile, tenant_id: str, owner: TenantFile) -> Problem:
    message = f"{tenant_id} is the tenant of {owner.path.name} already"
    return Problem(str(file.path), *file.id_at, "tenantId", message, "give each tenant one file")
