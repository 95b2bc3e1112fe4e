"""Takes everything and keeps nothing: what is left of a delivery's cost is AuditFlow's own."""

from __future__ import annotations

from collections.abc import Sequence

from auditflow.sinks._base import DELIVERED, BatchLimits, Outcome, Sink
from auditflow.sinks._base import Properties as Base


class NullProperties(Base):
    """Which of the many places that are nowhere."""

    place: str = "nowhere"
    """Makes a destination of its own of each pipeline."""


class NullSink(Sink[NullProperties]):
    """Says of every event that it was delivered."""

    Properties = NullProperties

    @property
    def destination(self) -> str:
        """Name the destination."""
        return self.properties.place

    @property
    def limits(self) -> BatchLimits:
        """Take as much as CloudWatch Logs does, and wait as long for it."""
        return BatchLimits(events=10_000, linger=1.0)

    async def deliver(self, events: Sequence[bytes]) -> list[Outcome]:
        """Deliver nothing."""
        return [DELIVERED] * len(events)
