"""Batches that are committed together, and what of them is new (J3)."""
# Tested in tests/journal/sqlite/test_writer.py.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from auditflow.event.content import same_content
from auditflow.journal import AppendBatch, Appended

CONFLICT: Final = 0
"""In place of the first one's sequence number: the id is known with other content."""


class Suspect(NamedTuple):
    """An event whose id may be known."""

    key: bytes
    tenant: str
    event: bytes


class Known(Protocol):
    """The ids that a journal holds."""

    def seen(self, keys: Sequence[bytes]) -> set[bytes]:
        """Give the ids that may be known; false alarms are allowed, misses are not."""

    def verdicts(self, suspects: Mapping[int, Suspect]) -> dict[int, int]:
        """Give for each suspect that is known the first one's sequence number, or CONFLICT."""


class GroupCommit:
    """The new events of several batches, in order; `first` is the sequence number of the first of them.

    `now` is the time of the events that bring none, Unix time in milliseconds.
    """

    def __init__(self, first: int, known: Known, now: int) -> None:
        self.events: list[bytes] = []
        self.tenants: list[str] = []
        self.times: list[int] = []
        self.keys: list[bytes] = []
        self._first = first
        self._known = known
        self._now = now
        self._supplied: set[bytes] = set()
        self._places: dict[tuple[str, bytes], int] | None = None

    def add(self, batch: AppendBatch, keys: Sequence[bytes]) -> Appended:
        """Take what is new of a batch and say what is not. `keys` are its ids as 16 bytes each."""
        all_supplied = len(batch.supplied) == len(keys)
        supplied = keys if all_supplied else [keys[index] for index in batch.supplied]
        times = batch.times or [self._now] * len(keys)
        seen = self._known.seen(supplied)
        distinct = set(supplied)
        repeated = len(distinct) < len(supplied) or not self._supplied.isdisjoint(distinct)
        self._supplied |= distinct
        if seen or repeated or self._places is not None:
            return self._sift(batch, keys, times, seen)
        self.events += batch.events
        self.tenants += batch.tenants
        self.times += times
        self.keys += keys
        return Appended()

    def _sift(
        self, batch: AppendBatch, keys: Sequence[bytes], times: Sequence[int], seen: set[bytes]
    ) -> Appended:
        """Look at each event: the way for batches in which some id was seen before."""
        suspects = {
            index: Suspect(keys[index], batch.tenants[index], batch.events[index])
            for index in batch.supplied
            if keys[index] in seen
        }
        verdicts = self._known.verdicts(suspects)
        supplied = set(batch.supplied)
        appended = Appended()
        for index, (key, tenant, event) in enumerate(zip(keys, batch.tenants, batch.events, strict=True)):
            verdict = verdicts.get(index)
            if verdict is None and index in supplied:
                verdict = self._verdict(tenant, key, event)
            if verdict is None:
                self._keep(event, tenant, key, times[index])
            elif verdict == CONFLICT:
                appended.conflicts.append(index)
            else:
                appended.duplicates[index] = verdict
        return appended

    def _verdict(self, tenant: str, key: bytes, event: bytes) -> int | None:
        """Compare with the events of this group."""
        place = self._index().get((tenant, key))
        if place is None:
            return None
        return self._first + place if same_content(self.events[place], event) else CONFLICT

    def _keep(self, event: bytes, tenant: str, key: bytes, time: int) -> None:
        self._index()[tenant, key] = len(self.events)
        self.events.append(event)
        self.tenants.append(tenant)
        self.keys.append(key)
        self.times.append(time)

    def _index(self) -> dict[tuple[str, bytes], int]:
        """Give the place of each event by tenant and id; made when first needed."""
        if self._places is None:
            pairs: Iterable[tuple[str, bytes]] = zip(self.tenants, self.keys, strict=True)
            self._places = {pair: place for place, pair in enumerate(pairs)}
        return self._places
