"""Answers exactly whether an id is known, from the ids and blocks on disk. Only ids that a filter knows come here."""
# Tested in tests/journal/sqlite/test_writer.py.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import apsw
import msgspec

from auditflow.event.content import same_content
from auditflow.event.model import PLATFORM_TENANT
from auditflow.journal import GONE, Block
from auditflow.journal.block_format import Ids, Row, decode
from auditflow.journal.group_commit import CONFLICT, Suspect
from auditflow.journal.sqlite.dedup_window import Window
from auditflow.journal.sqlite.opening import SQL
from auditflow.storage.sqlite import DAMAGE, each, run

_FEW: Final = 8
"""Up to so many ids, searching the row's bytes for each is cheaper than splitting it."""


class _Owner(msgspec.Struct, rename="camel"):
    tenant_id: str | None = None


_owner = msgspec.json.Decoder(_Owner)


@dataclass(slots=True)
class Lookup:
    """The ids of one journal file; `since` is the beginning of the window, Unix time in milliseconds."""

    connection: apsw.Connection
    window: Window
    since: int
    block: Block | None = None

    def seen(self, keys: Sequence[bytes]) -> set[bytes]:
        """Give the ids that may be known."""
        return self.window.seen(keys)

    def verdicts(self, suspects: Mapping[int, Suspect]) -> dict[int, int]:
        """Give for each suspect that is known the first one's sequence number, or CONFLICT."""
        verdicts: dict[int, int] = {}
        open_by_key: dict[bytes, list[int]] = {}
        for index, suspect in suspects.items():
            verdict = self._recently(suspect)
            if verdict is None:
                open_by_key.setdefault(suspect.key, []).append(index)
            else:
                verdicts[index] = verdict
        for key, sequence in self._places(open_by_key):
            for index in list(open_by_key[key]):
                verdict = self._verdict(sequence, suspects[index])
                if verdict is not None:
                    verdicts[index] = verdict
                    open_by_key[key].remove(index)
            if not open_by_key[key]:
                del open_by_key[key]
        return verdicts

    def find(self, key: bytes) -> list[int]:
        """Give all sequence numbers that an id has, newest first."""
        spans = [span for span in list(self.window.spans()) if key in span.ids]
        rows = (row for span in spans for row in self._rows(span.first, span.end, key))
        return list(dict.fromkeys(sequence for row in rows for _, sequence in _matches(row, {key})))

    def _recently(self, suspect: Suspect) -> int | None:
        sequence = self.window.recent(suspect.key)
        if sequence is None:
            return None
        rows = self._rows(sequence, sequence + 1)
        return (
            self._verdict(sequence, suspect) if any(row.first <= sequence < row.end for row in rows) else None
        )

    def _places(self, wanted: dict[bytes, list[int]]) -> Iterator[tuple[bytes, int]]:
        """Give where wanted ids are, newest first, until none is wanted any more."""
        for span in self.window.spans():
            here = {key for key in wanted if key in span.ids}
            if not here:
                continue
            for row in self._rows(span.first, span.end):
                for key, sequence in _matches(row, here):
                    if key in wanted:
                        yield key, sequence
                if not wanted:
                    return

    def _rows(self, start: int, end: int, key: bytes = b"") -> Iterator[Ids]:
        """Give the rows of ids inside the window, newest first; with a key, those that may hold it."""
        with closing(each(self.connection, SQL.ids_descending, start=start, end=end)) as found:
            for values in found:
                row = Ids(*values)
                # the search is cheaper than the checksum
                if (
                    isinstance(row.ids, bytes)
                    and key in row.ids
                    and row.sound()
                    and row.appended_at > self.since
                ):
                    yield row

    def _verdict(self, sequence: int, suspect: Suspect) -> int | None:
        """Compare with the event of that number; None when another tenant's event has the same id.

        What cannot be read any more counts as the same: the id alone says so.
        """
        block = self._read(sequence)
        if block is None:
            return sequence
        place = sequence - block.first
        event = block.events[place]
        if not event:  # what is gone has an owner all the same
            owner = list(block.tenants)[block.owners[place] if block.owners else 0].removeprefix(GONE)
            return sequence if owner == suspect.tenant else None
        owner = (
            next(iter(block.tenants))
            if len(block.tenants) == 1
            else _owner.decode(event).tenant_id or PLATFORM_TENANT
        )
        if owner != suspect.tenant:
            return None
        return sequence if same_content(event, suspect.event) else CONFLICT

    def _read(self, sequence: int) -> Block | None:
        if self.block is None or not self.block.first <= sequence < self.block.end:
            try:
                values = run(self.connection, SQL.holding, sequence)
            except DAMAGE:
                return None
            self.block = decode(Row(*values[0]), None) if values else None
        if self.block is None or self.block.damage or not self.block.first <= sequence < self.block.end:
            return None
        return self.block


def _matches(row: Ids, wanted: set[bytes]) -> Iterator[tuple[bytes, int]]:
    """Give the wanted ids of a row with their sequence numbers, newest first."""
    if len(wanted) > _FEW:
        found = [(place, key) for place, key in enumerate(row.keys()) if key in wanted]
    else:
        found = [(place // 16, key) for key in wanted for place in _find(row.ids, key)]
    for place, key in sorted(found, reverse=True):
        yield key, row.first + place


def _find(ids: bytes, key: bytes) -> Iterator[int]:
    place = ids.find(key)
    while place >= 0:
        if place % 16 == 0:
            yield place
        place = ids.find(key, place + 1)
