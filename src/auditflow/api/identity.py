"""How answers name a pipeline."""
# Tested in tests/api/test_tenancy.py.

from __future__ import annotations

from auditflow.event.model import PLATFORM_TENANT


def identity(pipeline: str) -> dict[str, str]:
    """Give the name that the pipeline has in its tenant's file, and the tenant."""
    tenant, _, name = pipeline.rpartition("/")
    return {"name": name, "tenant": tenant or PLATFORM_TENANT}
