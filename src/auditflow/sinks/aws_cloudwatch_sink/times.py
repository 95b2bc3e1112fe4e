"""The time under which CloudWatch Logs files an event: the event's own, as far as the service takes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

OLDEST: Final = 14 * 24 * 3600 * 1000
"""Milliseconds before now that the service still takes (PutLogEvents API reference)."""
NEWEST: Final = 2 * 3600 * 1000
"""Milliseconds after now that the service still takes (PutLogEvents API reference)."""
MARGIN: Final = 60 * 1000
"""Milliseconds kept from both edges: this machine's clock and the service's differ, and a request travels."""


def now() -> int:
    """Give Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def clamp(times: Sequence[int], now: int) -> Sequence[int]:
    """Replace the moments that the service would refuse by `now`. All in Unix milliseconds."""
    oldest, newest = now - OLDEST + MARGIN, now + NEWEST - MARGIN
    if not times or (min(times) >= oldest and max(times) <= newest):
        return times
    return [moment if oldest <= moment <= newest else now for moment in times]
