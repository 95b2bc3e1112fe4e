"""What one publish call may hold."""
# Tested in tests/ingest/test_decode.py.

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a publish call; more is answered with 413."""

    request_bytes: int = 16 * 2**20
    """Of the body, after inflation too."""
    event_bytes: int = 4 * 2**20
    """Of one event."""
    request_events: int = 10_000
    arriving_bytes: int = 256 * 2**20
    """Of all bodies together that have not arrived whole; more is answered with 503."""
