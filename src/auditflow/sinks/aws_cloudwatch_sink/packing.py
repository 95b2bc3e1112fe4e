"""Which events go into which PutLogEvents request: every limit held, as few requests as they allow.

The limits are those of the PutLogEvents API reference.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

MAX_EVENTS: Final = 10_000
MAX_BYTES: Final = 1_048_576
"""Of the messages in UTF-8, with `OVERHEAD` added for each event."""
OVERHEAD: Final = 26
MAX_EVENT_BYTES: Final = MAX_BYTES - OVERHEAD
"""The largest message that fits a request."""
MAX_SPAN: Final = 24 * 3600 * 1000
"""Milliseconds between the first and the last event of a request."""


def pack(
    positions: Iterable[int],
    times: Sequence[int],
    sizes: Sequence[int],
    max_events: int = MAX_EVENTS,
    max_bytes: int = MAX_BYTES,
) -> list[list[int]]:
    """Divide events into requests, each in chronological order and within the limits.

    `positions` says which events; `times` (Unix milliseconds) and `sizes` (message bytes and `OVERHEAD`) are
    looked up by position. Sorting is stable, and each request is filled before the next one begins, which
    gives the fewest requests that keep the order. An event above `max_bytes` has a request of its own.
    """
    order = sorted(positions, key=times.__getitem__)
    moments = list(map(times.__getitem__, order))
    filled = list(accumulate(map(sizes.__getitem__, order), initial=0))
    requests = []
    start = 0
    while start < len(order):
        by_bytes = bisect_right(filled, filled[start] + max_bytes) - 1
        by_span = bisect_right(moments, moments[start] + MAX_SPAN)
        end = max(start + 1, min(start + max_events, by_bytes, by_span))
        requests.append(order[start:end])
        start = end
    return requests
