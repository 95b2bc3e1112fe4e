"""Receipts: which events one call of a sink has brought where, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import sub
from typing import Any, Final

import msgspec

from auditflow.plugin_call import printable
from auditflow.storage.integer_columns import pack, unpack

LONGEST_PLACE: Final = 16_384
"""Characters of a place as JSON."""


@dataclass(slots=True)
class Receipt:
    """Events of one pipeline that have ended in one place together."""

    pipeline: str
    first: int
    """Lowest sequence number."""
    last: int
    at: int
    """Unix time, milliseconds."""
    attempts: int
    """Deliveries it took."""
    place: str
    """Where they are: JSON in the sink's words."""
    members: bytes = b""
    """How far each of its numbers is from the one before, packed; empty when it is all from `first` to `last`."""
    owed: int = 0
    """How many of them are at the fallback and have still to go to the first destination."""
    id: int = field(default=0, compare=False)
    """Given by the ledger."""

    def holds(self, sequence: int) -> bool:
        """Tell whether the event is one of them."""
        if not self.first <= sequence <= self.last:
            return False
        return not self.members or sequence in self.sequences()

    def sequences(self) -> Sequence[int]:
        """Give the sequence numbers of its events, ascending."""
        if not self.members:
            return range(self.first, self.last + 1)
        return list(accumulate(unpack(self.members), initial=self.first))


def place_text(place: Mapping[str, Any]) -> str:
    """Write a place as JSON. A plugin may give anything: what JSON cannot hold, or is too much, becomes text."""
    try:
        text = msgspec.json.encode(place).decode()
    except Exception:  # noqa: BLE001 - objects of plugins may even raise here
        text = ""
    if text and len(text) <= LONGEST_PLACE:
        return text
    try:
        answer = text or str(dict(place))
    except Exception:  # noqa: BLE001 - see above
        answer = "it cannot be printed"
    return msgspec.json.encode({"answer": printable(answer)}).decode()


def receipt(  # noqa: PLR0913 - what a receipt holds
    pipeline: str,
    sequences: Sequence[int],
    place: Mapping[str, Any],
    *,
    at: int,
    attempts: int,
    owed: bool = False,
) -> Receipt:
    """Write a receipt for events in ascending order of their sequence numbers."""
    first, last = sequences[0], sequences[-1]
    written = Receipt(pipeline, first, last, at, attempts, place_text(place))
    written.owed = len(sequences) if owed else 0
    if last - first >= len(sequences):
        written.members = pack(map(sub, sequences[1:], sequences))
    return written


@dataclass(slots=True)
class Handed:
    """Letters that have been delivered together."""

    ids: list[int]
    place: str
    """Where they are: JSON in the sink's words."""
    at: int
    """Unix time, milliseconds."""
    attempts: int
