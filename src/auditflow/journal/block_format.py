"""Blocks as rows: times, owners and events, compressed together and guarded by a checksum.

The checksum covers the header too: a damaged sequence number must not pass for a sound one. What compresses is
ISA-L's raw deflate: for these events it takes two thirds of the time of zstd's level 1, and a sixth more room.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec
from isal import isal_zlib

from auditflow.journal import GONE, Block

MAX_EVENTS: Final = 10_000
MAX_BYTES: Final = 4 * 2**20
"""Of the events of one block before compression; a single larger event is a block of its own."""

_HEADER = struct.Struct("<qqqqq")  # the lengths too: or a moved border between two columns would go unnoticed
_BORDER = struct.Struct("<I")
"""At the beginning of a payload: the length of its deflated columns, behind which are the deflated events."""
_RAW_DEFLATE: Final = -15
_TIME, _OWNER = "q", "I"
"""Types of the columns: 8 bytes of Unix milliseconds, and 4 of the tenant's index, little-endian."""
_NOBODY: Final = len("{}")
_tenants = msgspec.json.Decoder(dict[str, int])


class Row(NamedTuple):
    """One row of the table `block`, as SQL has it."""

    first: int
    length: int
    """How many events; the column `count`."""
    appended_at: int
    size: int
    """Bytes of the events."""
    crc: int
    tenants: bytes
    payload: bytes

    def sound(self) -> bool:
        """Tell whether the row is as it was written."""
        try:
            return self.crc == _checksum(*self[:4], self.tenants, self.payload)
        except (TypeError, ValueError, struct.error, AttributeError):
            return False

    def concerns(self, tenant: str) -> bool:
        """Tell whether the block holds events of the tenant, or may; that of all tenants, if none is named."""
        return not tenant or len(self.tenants) <= _NOBODY or b'"%s":' % tenant.encode() in self.tenants


def cut(events: Sequence[bytes]) -> Iterator[slice]:
    """Cut events into runs of at most MAX_EVENTS and MAX_BYTES."""
    if len(events) <= MAX_EVENTS and sum(map(len, events)) <= MAX_BYTES:
        yield slice(0, len(events))
        return
    start = size = 0
    for index, event in enumerate(events):
        if index > start and (size + len(event) > MAX_BYTES or index - start == MAX_EVENTS):
            yield slice(start, index)
            start, size = index, 0
        size += len(event)
    yield slice(start, len(events))


def encode(
    first: int, events: Sequence[bytes], tenants: Sequence[str], times: Sequence[int], appended_at: int
) -> Row:
    """Make the row of a block. Raises ValueError for an event that is not on one line."""
    raw = b"\n".join(events)
    if b"\n" in b"".join(events):
        raise ValueError("an event must be on one line")
    counts = Counter(tenants)
    columns = _packed(_TIME, times)
    if len(counts) > 1:
        index = {tenant: i for i, tenant in enumerate(counts)}
        columns += _packed(_OWNER, [index[tenant] for tenant in tenants])
    columns = _deflated(columns)  # apart from the text, to which numbers are noise
    payload = _BORDER.pack(len(columns)) + columns + _deflated(raw)
    return _row(first, len(events), appended_at, len(raw) - len(events) + 1, counts, payload)


def awaited(tenants: Mapping[str, int], end: int, finished: Mapping[str, int]) -> dict[str, int]:
    """Give those of a block's tenants, with their counts, whose pipelines are not finished at the block's end."""
    everybody = finished.get("", end)
    return {
        tenant: count
        for tenant, count in tenants.items()
        if not tenant.startswith(GONE) and min(everybody, finished.get(tenant, end)) < end
    }


def thinned(row: Row, finished: Mapping[str, int]) -> Row | None:
    """Give a sound row without the events of tenants who are done with it; None where that changes nothing."""
    if not row.sound() or not row.payload:
        return None
    block = _decode_sound(row)
    kept = awaited(block.tenants, block.end, finished)
    names = list(block.tenants)
    there = [name in kept for name in names]
    if all(stays or name.startswith(GONE) for stays, name in zip(there, names, strict=True)):
        return None
    owners = block.owners or [0] * block.count
    events = [event if there[owner] else b"" for event, owner in zip(block.events, owners, strict=True)]
    tenants = {
        name if stays or name.startswith(GONE) else GONE + name: count
        for stays, (name, count) in zip(there, block.tenants.items(), strict=True)
    }
    (border,) = _BORDER.unpack_from(row.payload)
    payload = row.payload[: _BORDER.size + border] + _deflated(b"\n".join(events))
    return _row(row.first, row.length, row.appended_at, sum(map(len, events)), tenants, payload)


def gap(first: int, end: int, at: int) -> Row:
    """Make the row that stands for lost events."""
    return _row(first, end - first, at, 0, {}, b"")


def header(first: Any, count: Any, appended_at: Any, tenants: Any) -> Block | None:
    """Make a block of what is known without its events; None when even its place is unknown."""
    try:
        return Block(int(first), int(count), int(appended_at), _tenants.decode(tenants), ())
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None


def decode(row: Row, following: int | None, tenant: str = "") -> Block | None:
    """Turn a row into a block; None when it is damaged so that even its place is unknown.

    `following` is the first sequence number of the next row. A sound block without events of the `tenant` comes
    without any.
    """
    if row.sound():
        return _decode_sound(row) if row.concerns(tenant) else header(*row[:3], row.tenants)
    try:
        first, end = int(row.first), int(row.first) + int(row.length)
    except (TypeError, ValueError):
        return None
    if end <= first or (following is not None and end > following):
        return None
    try:
        tenants = _tenants.decode(row.tenants)
    except (msgspec.MsgspecError, TypeError, UnicodeDecodeError):
        tenants = {}
    appended_at = row.appended_at if type(row.appended_at) is int else 0
    return Block(first, end - first, appended_at, tenants, (), "the block's checksum does not match")


def _decode_sound(row: Row) -> Block:
    tenants = _tenants.decode(row.tenants)
    if not row.payload:
        damage = "the events were lost when the journal was damaged"
        return Block(row.first, row.length, row.appended_at, tenants, (), damage)
    (border,) = _BORDER.unpack_from(row.payload)
    columns = isal_zlib.decompress(row.payload[_BORDER.size : _BORDER.size + border], _RAW_DEFLATE)
    raw = isal_zlib.decompress(memoryview(row.payload)[_BORDER.size + border :], _RAW_DEFLATE)
    times = 8 * row.length
    return Block(
        row.first,
        row.length,
        row.appended_at,
        tenants,
        raw.split(b"\n"),
        times=_unpacked(_TIME, columns[:times]),
        owners=_unpacked(_OWNER, columns[times:]),
    )


def _deflated(raw: bytes) -> bytes:
    packed: bytes = isal_zlib.compress(raw, 1, wbits=_RAW_DEFLATE)
    return packed


def _packed(kind: str, values: Sequence[int]) -> bytes:
    column = array(kind, values)
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _unpacked(kind: str, raw: bytes) -> Sequence[int]:
    column = array(kind, raw)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _row(first: int, count: int, at: int, size: int, tenants: Mapping[str, int], payload: bytes) -> Row:  # noqa: PLR0913, PLR0917 - the columns
    text = msgspec.json.encode(tenants)
    return Row(first, count, at, size, _checksum(first, count, at, size, text, payload), text, payload)


def _checksum(first: Any, count: Any, at: Any, size: Any, tenants: bytes, payload: bytes) -> int:  # noqa: PLR0913, PLR0917 - the columns
    return crc32(payload, crc32(tenants, crc32(_HEADER.pack(first, count, at, size, len(tenants)))))


class Ids(NamedTuple):
    """One row of the table `ids`: 16 bytes per event."""

    first: int
    appended_at: int
    crc: int
    ids: bytes

    @property
    def end(self) -> int:
        """Sequence number after the row's last event."""
        return self.first + len(self.ids) // 16

    def sound(self) -> bool:
        """Tell whether the row is as it was written."""
        try:
            return self.crc == encode_ids(self.first, self.ids, self.appended_at).crc
        except (TypeError, struct.error):
            return False

    def keys(self) -> tuple[bytes, ...]:
        """Give the ids one by one."""
        return split_ids(self.ids)


def encode_ids(first: int, raw: bytes, appended_at: int) -> Ids:
    """Make the row of the ids of the events from `first` on."""
    return Ids(first, appended_at, crc32(raw, crc32(_HEADER.pack(first, appended_at, len(raw), 0, 0))), raw)


def pack_ids(ids: Sequence[str]) -> bytes:
    """Turn canonical UUIDs into 16 bytes each."""
    return bytes.fromhex("".join(ids).replace("-", ""))


def split_ids(raw: bytes) -> tuple[bytes, ...]:
    """Undo the joining of ids: one key of 16 bytes per event."""
    return struct.unpack("16s" * (len(raw) // 16), raw)
