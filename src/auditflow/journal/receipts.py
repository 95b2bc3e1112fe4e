"""Receipts: which events one call of a sink has brought where, and when."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec


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
    """Which of the numbers from `first` to `last`: a compressed byte for each; empty when it is all of them."""

    def holds(self, sequence: int) -> bool:
        """Tell whether the event is one of them."""
        if not self.first <= sequence <= self.last:
            return False
        return not self.members or bool(zlib.decompress(self.members)[sequence - self.first])


def receipt(
    pipeline: str, sequences: Sequence[int], place: Mapping[str, Any], *, at: int, attempts: int
) -> Receipt:
    """Write a receipt for events in ascending order of their sequence numbers."""
    first, last = sequences[0], sequences[-1]
    text = msgspec.json.encode(place).decode()
    if last - first == len(sequences) - 1:
        return Receipt(pipeline, first, last, at, attempts, text)
    members = bytearray(last - first + 1)
    for sequence in sequences:
        members[sequence - first] = 1
    return Receipt(pipeline, first, last, at, attempts, text, zlib.compress(members, 1))


@dataclass(slots=True)
class Handed:
    """Letters that have been delivered together."""

    ids: list[int]
    place: str
    """Where they are: JSON in the sink's words."""
    at: int
    """Unix time, milliseconds."""
    attempts: int
