"""What was asked of the server: one entry for each request, and totals."""
# Tested in tests/testing/cloudwatch/test_service.py.

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

_KEPT: Final = 100_000


@dataclass(slots=True)
class Request:
    """One request as the server saw it."""

    time: float
    """Unix time, seconds, of the server's clock."""
    service: str = ""
    operation: str = ""
    group: str = ""
    stream: str = ""
    region: str = ""
    account: str = ""
    identity: str = ""
    """ARN of the caller."""
    events: int = 0
    """In the batch of a PutLogEvents."""
    stored: int = 0
    """Of `events`; the others were outside the time window, or the request failed."""
    bytes: int = 0
    """Size of the batch as the service counts it: UTF-8 plus 26 for each event. Counting mode: of the JSON."""
    wire_bytes: int = 0
    """Size of the body as it arrived, compressed or not."""
    fault: str = ""
    """Kinds of the faults that struck, joined by commas."""
    outcome: str = ""
    """`ok`, the code of the error, `garbage` and its like, or `reset` when no answer was given."""
    status: int = 0
    """HTTP status; 0 when no answer was given."""


@dataclass(slots=True)
class Traffic:
    """The log of requests: the last 100,000 entries, and totals of all."""

    requests: deque[Request] = field(default_factory=lambda: deque(maxlen=_KEPT))
    operations: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    stored: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """By account, region, group and stream."""
    sizes: Counter[int] = field(default_factory=Counter)
    """How many PutLogEvents were answered with success, by the number of their events."""
    events: int = 0
    bytes: int = 0
    wire_bytes: int = 0

    def note(self, request: Request) -> None:
        """Add a finished request."""
        self.requests.append(request)
        self.operations[request.operation] += 1
        self.outcomes[f"{request.operation} {request.outcome}"] += 1
        self.stored[request.account, request.region, request.group, request.stream] += request.stored
        if request.events and request.outcome == "ok":
            self.sizes[request.events] += 1
        self.events += request.events
        self.bytes += request.bytes
        self.wire_bytes += request.wire_bytes

    def summary(self) -> dict[str, Any]:
        """Give the totals."""
        return {
            "requests": self.operations.total(),
            "operations": dict(self.operations),
            "outcomes": dict(self.outcomes),
            "events": self.events,
            "stored": self.stored.total(),
            "bytes": self.bytes,
            "wire_bytes": self.wire_bytes,
            "events_per_request": self._events_per_request(),
        }

    def _events_per_request(self) -> dict[str, int]:
        """Tell how well requests were filled: the smallest, the median, and how many held a single event."""
        ordered = sorted(self.sizes)
        half, total = 0, self.sizes.total()
        middle = next((size for size in ordered if (half := half + self.sizes[size]) * 2 >= total), 0)
        return {"smallest": min(ordered, default=0), "median": middle, "singles": self.sizes[1]}
