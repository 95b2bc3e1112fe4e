"""Which pipelines run, under which names, and whose events each of them gets."""
# Tested in tests/config/test_model.py.

from __future__ import annotations

from dataclasses import dataclass

from auditflow.config.model import Config, PipelineConfig
from auditflow.config.tenants.folder import Tenants
from auditflow.event.model import PLATFORM_TENANT


@dataclass(frozen=True, slots=True)
class Running:
    """An enabled pipeline."""

    name: str
    """What it is called everywhere outside its file: `tenant/name`, and `name` alone at the top."""
    tenant: str
    """Whose events it gets; empty for everybody's."""
    config: PipelineConfig


def running(config: Config, tenants: Tenants | None) -> list[Running]:
    """Give the enabled pipelines: those at the top, then those of the tenants, if there are any."""
    owner = "" if tenants is None else PLATFORM_TENANT
    top = [Running(each.name, owner, each) for each in config.pipelines if each.enabled]
    theirs = tenants.pipelines() if tenants else ()
    return top + [Running(f"{tenant}/{each.name}", tenant, each) for tenant, each in theirs]
