"""Doubles and contract suites, shipped for users' own tests. See docs/testing.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditflow.testing.cloudwatch import StrictCloudWatch

__all__ = ["StrictCloudWatch"]


def __getattr__(name: str) -> Any:
    """Import the server only when it is asked for."""
    if name in __all__:
        return getattr(import_module("auditflow.testing.cloudwatch"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
