"""What a pipeline does with events before its sink sees them: condition, sampling, transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import compress
from operator import not_
from typing import Any, Final

from auditflow.event.model import decode, encode
from auditflow.pipelines.decide.filter import Takes
from auditflow.plugin_call import text_of

TRANSFORM_FAILED: Final = "TRANSFORM_FAILED"

Transform = Callable[[dict[str, Any], dict[str, Any]], Any]


@dataclass(slots=True)
class Decided:
    """Events to deliver as parallel lists, and those that end here."""

    sequences: Sequence[int]
    originals: Sequence[bytes]
    """As the journal holds them."""
    events: Sequence[bytes]
    """As the sink gets them; one original may have become several."""
    times: Sequence[int] = ()
    """When each event happened, Unix milliseconds; empty where transformers may have changed it."""
    filtered: list[int] = field(default_factory=list)
    failed: list[tuple[int, bytes, str]] = field(default_factory=list)
    """Sequence number, original and reason where a transformer raised."""


@dataclass(frozen=True, slots=True)
class Decide:
    """A pipeline's compiled decision. With nothing configured, bytes pass untouched and are not decoded."""

    takes: Takes | None = None
    """Condition and sampling; None takes all."""
    transforms: Sequence[tuple[Transform, dict[str, Any]]] = ()
    """Functions with their properties; identities are left out."""

    @property
    def trivial(self) -> bool:
        """Tell whether every event passes as it is."""
        return self.takes is None and not self.transforms

    def __call__(
        self, sequences: Sequence[int], events: Sequence[bytes], times: Sequence[int] = ()
    ) -> Decided:
        """Decide over events with the given sequence numbers. Never raises for what an event holds."""
        if self.trivial:
            return Decided(sequences, events, events, times)
        if not self.transforms:
            with suppress(Exception):  # one of them is no event: then each by itself
                return self._selected(sequences, events, times)
        decided = Decided(kept := [], originals := [], outputs := [])
        for sequence, original in zip(sequences, events, strict=True):
            try:
                results = self._outputs(original)
            except BaseException as error:  # noqa: BLE001 - whatever a transformer raises is this event's end
                decided.failed.append((sequence, original, f"{type(error).__name__}: {text_of(error)}"))
                continue
            if not results:
                decided.filtered.append(sequence)
            kept += [sequence] * len(results)
            originals += [original] * len(results)
            outputs += results
        return decided

    def _selected(self, sequences: Sequence[int], events: Sequence[bytes], times: Sequence[int]) -> Decided:
        """Decide where nothing is transformed."""
        taken = list(map(self.takes, events)) if self.takes else []
        if all(taken):
            return Decided(sequences, events, events, times)
        left = list(compress(events, taken))
        filtered = list(compress(sequences, map(not_, taken)))
        return Decided(list(compress(sequences, taken)), left, left, list(compress(times, taken)), filtered)

    def _outputs(self, original: bytes) -> list[bytes]:
        if self.takes is not None and not self.takes(original):
            return []
        if not self.transforms:
            return [original]
        return [encode(output) for output in self._transformed(decode(original))]

    def _transformed(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        events = [event]
        for transform, properties in self.transforms:
            events = [output for event in events for output in as_events(transform(event, properties))]
        return events


def as_events(result: Any) -> list[dict[str, Any]]:
    """Give the events that a transformer has made of one. Raises TypeError when it has made something else."""
    if result is None:
        return []
    results: list[dict[str, Any]] = result if isinstance(result, list) else [result]
    for item in results:
        if not isinstance(item, dict):
            raise TypeError(f"a transformer gives a dict, a list of dicts or None, not {type(item).__name__}")
    return results
