"""The identity: events pass through untouched, byte for byte, and are not even decoded."""
# Tested in tests/pipelines/decide/test_decision.py.

from __future__ import annotations

from typing import Any


def transform(event: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - the contract
    """Give the event back as it is."""
    return event
