"""Whose is what: an id belongs to one file, and a variable that holds a secret to one tenant.

Who had it before keeps it; of those that are new, the first by the name of its file gets it. Variables may clash though
ids do not: `a-b` and `a_b` have the same ones; with the key `b_c` so has `a`, and with the key `c` `a.b`.
"""
# Tested in tests/config/tenants/test_folder.py.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from auditflow.config.model import TenantConfig
from auditflow.config.tenants.file import TenantFile, Terms
from auditflow.errors import Problem
from auditflow.secrets.references import Sealed
from auditflow.secrets.sources import variable_of, variables_of

_OTHER_NAMES: Final = "give the key or the tenant another name, or keep secrets in secrets.directory"


def decided(files: Sequence[TenantFile], terms: Terms) -> tuple[list[TenantFile], list[Problem]]:
    """Decide what counts. An id, or a variable, belongs to the file that had it before, else to the first by name."""
    owners: dict[str, TenantFile] = {}
    claims = _Claims(each.tenant_id for file in files for each in (file.offered, file.active) if each)
    for file in files:
        if file.active:
            claims.take(file.active)
    judged, problems = [], []
    for file in sorted(files, key=lambda file: (_claims_another_id(file), file.path.name)):
        found = _taken(file, owners)
        if terms.secrets_in_environment:
            found += _ambiguous(file, claims)
        problems += found
        tenant = file.active if found else file.offered or file.active
        if tenant and tenant.tenant_id in owners:
            tenant = None
        judged.append(replace(file, active=tenant))
        if tenant:
            owners[tenant.tenant_id] = file
            claims.take(tenant)
    return sorted(judged, key=lambda file: file.path.name), problems


def _claims_another_id(file: TenantFile) -> bool:
    if file.active is None:
        return True
    return file.offered is not None and file.offered.tenant_id != file.active.tenant_id


def _taken(file: TenantFile, owners: Mapping[str, TenantFile]) -> list[Problem]:
    owner = owners.get(file.offered.tenant_id) if file.offered else None
    if file.offered is None or owner is None:
        return []
    message = f"{file.offered.tenant_id} is the tenant of {owner.path.name} already"
    return [Problem(str(file.path), *file.id_at, "tenantId", message, "give each tenant one file")]


def _ambiguous(file: TenantFile, claims: _Claims) -> list[Problem]:
    """Find secrets in variables that are, or could be, another tenant's."""
    problems = []
    for key, place in file.secrets:
        other = claims.other(file.offered.tenant_id, key) if file.offered else None
        if file.offered and other:
            message = f"{variable_of(file.offered.tenant_id, key)} could hold a secret of tenant {other}, too"
            problems.append(replace(place, message=message, hint=_OTHER_NAMES))
    return problems


class _Claims:
    """Variables and the tenants that have them; who is first keeps his."""

    def __init__(self, tenant_ids: Iterable[str]) -> None:
        """Know of all tenants that there are, or are to be."""
        self._known = {variables_of(tenant_id): tenant_id for tenant_id in tenant_ids}
        self._first: dict[str, str] = {}
        self._owners: dict[str, str] = {}

    def take(self, tenant: TenantConfig) -> None:
        """Let a tenant have the variables it refers to, as far as nobody else has them."""
        self._first.setdefault(variables_of(tenant.tenant_id), tenant.tenant_id)
        for variable in _variables(tenant):
            self._owners.setdefault(variable, tenant.tenant_id)

    def other(self, tenant_id: str, key: str) -> str | None:
        """Give the other tenant whose secret this variable holds, or could hold; None when there is none."""
        own, variable = variables_of(tenant_id), variable_of(tenant_id, key)
        for owner in (self._owners.get(variable), self._first.get(own)):
            if owner not in {None, tenant_id}:
                return owner
        longer = (variable[:end] for end in range(len(own) + 1, len(variable)) if variable[end - 1] == "_")
        return next((self._known[begin] for begin in longer if begin in self._known), None)


def _variables(tenant: TenantConfig) -> Iterator[str]:
    for pipeline in tenant.pipelines:
        for sink in (pipeline.sink, pipeline.sink.fallback):
            if sink and isinstance(sink.properties, Sealed):
                yield from (variable_of(tenant.tenant_id, key) for key in sink.properties.keys)
