"""The second destination of a pipeline, which takes over while the first one fails for long (design D7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from auditflow.pipelines.deliver.destination import Destination
from auditflow.pipelines.deliver.pause_gate import PauseGate
from auditflow.sinks._base import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Fallback:
    """Where events go meanwhile, and whether the first destination gets them afterwards."""

    destination: Destination
    after: float
    """Seconds of failure before it takes over."""
    backfill: bool = False

    async def deliver(self, events: Sequence[bytes], gate: PauseGate) -> list[Outcome] | None:
        """Deliver now; None when it fails itself and is not to be tried at this moment. Raises Stopped."""
        try:
            outcomes = await self.destination.deliver(events, gate, patience=0.0)
        except TimeoutError:
            return None
        name = self.destination.sink.destination
        # events of a request share outcome and place, and go on doing so
        distinct = {id(each): each for each in outcomes}
        wheres = {id(each.where): each.where for each in distinct.values()}
        places = {key: {"destination": name, **where, "fallback": True} for key, where in wheres.items()}
        marked = {key: _marked(each, places) for key, each in distinct.items()}
        return [marked[id(each)] for each in outcomes]


def by_fallback(place: Mapping[str, Any]) -> bool:
    """Tell whether events came to this place through a fallback."""
    return place.get("fallback") is True


def _marked(outcome: Outcome, places: Mapping[int, Mapping[str, Any]]) -> Outcome:
    delivered = outcome.verdict is Verdict.DELIVERED
    return replace(outcome, where=places[id(outcome.where)]) if delivered else outcome
