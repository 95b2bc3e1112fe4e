"""Drops, out of blocks that must stay, what nobody waits for, so that one tenant's backlog does not hold everybody's events.

A block is rewritten with empty events in the place of those dropped: sequence numbers, times and counts stay.
"""
# Tested in tests/journal/sqlite/test_writer.py.

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import apsw
import msgspec

from auditflow.journal.block_format import awaited
from auditflow.journal.contract import GONE
from auditflow.journal.sqlite.opening import SQL
from auditflow.storage.sqlite import run

STEP_BLOCKS: Final = 1_000
STEP_BYTES: Final = 4 * 2**20
"""So much is looked at, and so much rewritten, at once."""

_ROW, _ID = 200, 16
"""Bytes that a block takes besides its events, and each event's id."""
_tenants = msgspec.json.Decoder(dict[str, int])


class Header(NamedTuple):
    """A block as far as it is known without its payload."""

    first: int
    end: int
    size: int
    """Bytes of the events."""
    tenants: Mapping[str, int]
    room: int
    """About how many bytes all of it takes in the file."""


def headers(connection: apsw.Connection, start: int) -> list[Header]:
    """Give some blocks from a sequence number on; what is damaged has no tenants."""
    rows = run(connection, SQL.thinnable, start, STEP_BLOCKS)
    return [
        Header(first, first + count, size, _decoded(tenants), payload + _ROW + _ID * count)
        for first, count, size, tenants, payload in rows
        if first + count > start
    ]


def chosen(found: list[Header], finished: Mapping[str, int]) -> list[Header]:
    """Give those blocks that hold events nobody waits for, as many as are rewritten at once."""
    some: list[Header] = []
    size = 0
    for each in found:
        kept = awaited(each.tenants, each.end, finished)
        if any(name not in kept and not name.startswith(GONE) for name in each.tenants):
            some.append(each)
            size += each.size
            if size >= STEP_BYTES:
                break
    return some


def held(found: list[Header], finished: Mapping[str, int]) -> Counter[str]:
    """Give about how many bytes of these blocks are for each tenant whose pipelines still await them."""
    bytes_of: Counter[str] = Counter()
    for each in found:
        kept = awaited(each.tenants, each.end, finished)
        for name, count in kept.items():
            bytes_of[name] += each.room * count // sum(kept.values())
    return bytes_of


def _decoded(tenants: bytes) -> Mapping[str, int]:
    try:
        return _tenants.decode(tenants)
    except (msgspec.MsgspecError, TypeError, UnicodeDecodeError):
        return {}
