"""How hard a pipeline tries to deliver, and what happens when it cannot (design D4, D5)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from auditflow.settings import Settings
from auditflow.units import Duration

BACKOFF_BASE_SECONDS: Final = 0.2
"""Upper bound of the first wait before a retry; it doubles with each attempt, with full jitter."""

BACKOFF_CAP_SECONDS: Final = 60.0
"""No wait before a retry is longer, unless the destination asks for it."""

ASKED_CAP_SECONDS: Final = 300.0
"""No wait that a destination asks for is longer."""

WhenBlocked = Literal["hold", "dead-letter"]


class DeliveryPolicy(Settings):
    """How long and how hard a pipeline tries to deliver an event."""

    max_attempts: Annotated[int, Field(ge=1)] | None = None
    """Attempts after which an event becomes a dead letter; without it, only max-age ends the retries."""
    max_age: Annotated[Duration, Field(gt=0)] = 7 * 86400.0
    """Time since acceptance after which an event that still cannot be delivered becomes a dead letter."""
    when_blocked: WhenBlocked = "hold"
    """While the destination is misconfigured: `hold` keeps events in the journal, `dead-letter` gives them up."""
    max_in_flight: Annotated[int, Field(ge=1)] = 4
    """Batches on their way to the destination at the same time."""
    rate: Annotated[float, Field(ge=0.01, le=1e6)] | None = None
    """Most events per second; more are delayed and nothing else. With it, max-age begins at the first failure."""
    fallback_after: Annotated[Duration, Field(ge=0)] = 60.0
    """How long the sink has to fail before its fallback takes over."""
