"""Looks after the folder of the tenants in a role process."""
# Tested in tests/end_to_end/test_tenants.py.

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from auditflow.apps.configuration.active import IN_FORCE
from auditflow.apps.data_directory import DataDirectory
from auditflow.config import Config, TenantConfig, TenantCopies, TenantFolder, Tenants, Terms
from auditflow.errors import JournalUnavailable
from auditflow.ingest.publish import Publish
from auditflow.ledger import Ledger
from auditflow.plugins import Catalogue

LOOK_SECONDS: Final = 1.0
"""A change counts after two looks at most; both roles are to have it within five seconds."""


def tenant_folder(
    config: Config, catalogue: Catalogue, directory: DataDirectory, *, keeps: bool
) -> TenantFolder | None:
    """Read the tenants that the configuration speaks of; None where it speaks of none.

    Roles under a supervisor share copies of the files, which one of them `keeps`: see `ActiveConfiguration`.
    """
    if config.tenants is None:
        return None
    copies = TenantCopies(directory.tenants, writes=keeps) if IN_FORCE in os.environ else None
    return TenantFolder(config.tenants.directory, terms(config, catalogue), copies)


def terms(config: Config, catalogue: Catalogue) -> Terms:
    """Give what the files of tenants are judged by."""
    return Terms(os.environ, catalogue, config.delivery, config.secrets)


async def provision(folder: TenantFolder, ledger: Ledger, publish: Publish) -> None:
    """Keep publishing as the folder says, until cancelled.

    What a tenant's file says now counts when the delivery process has entered its pipelines in the ledger: an event
    accepted before would reach none that is new. Raises JournalDamaged.
    """
    active_configuration: Mapping[str, TenantConfig] = folder.tenants.by_id
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(folder.refresh)
        wanted = folder.tenants.by_id
        if wanted != active_configuration:
            with suppress(JournalUnavailable):  # the next look may find it readable
                active = await asyncio.to_thread(_active, ledger)
                active_configuration = _ready(wanted, active_configuration, active)
                publish.provision(active_configuration)


def _active(ledger: Ledger) -> set[str]:
    return {account.pipeline for account in ledger.accounts() if account.active}


def _ready(
    wanted: Mapping[str, TenantConfig], before: Mapping[str, TenantConfig], active: set[str]
) -> dict[str, TenantConfig]:
    """Give the tenants as they are wanted, or as before where pipelines are not active yet."""
    ready = {}
    for tenant_id, tenant in wanted.items():
        names = {f"{tenant_id}/{each.name}" for each in tenant.pipelines if each.enabled}
        if not tenant.enabled or names <= active:
            ready[tenant_id] = tenant
        elif tenant_id in before:
            ready[tenant_id] = before[tenant_id]
    return ready


async def watch(folder: TenantFolder, changed: Callable[[], Awaitable[bool]]) -> None:
    """Call `changed` whenever the folder has, and again until it says that all is done, until cancelled."""
    done = True
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if await asyncio.to_thread(folder.refresh) or not done:
            done = await changed()


def shown(tenants: Tenants) -> dict[str, Any]:
    """Give what status says of tenants: how many are in force, and what is wrong with files."""
    problems = [asdict(each) | {"file": Path(each.file).name} for each in tenants.problems]
    return {"count": len(tenants.by_id), "problems": problems}
