"""Reads what can be read of a damaged journal file, page by page, without trusting what leads to a page.

SQLite finds a row by way of the header, the schema and the inner pages of a tree; damage to any of them
hides all that is behind. Here every page that looks like a leaf of a table is searched, whatever leads to
it, and a row counts when its own checksum holds. The layouts are SQLite's, https://sqlite.org/fileformat2.html.
"""
# Tested in tests/journal/sqlite/test_recovery.py.

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

from auditflow.journal.block_format import Ids, Row
from auditflow.storage.recovery import CONFIRM_SECONDS
from auditflow.storage.sqlite import PAGE, sidecar

PATIENCE_SECONDS: Final = 5.0
"""How long, in all, pages that cannot be read are tried again."""
_LEAF: Final = 0x0D
_LEAF_LIKE: Final = {_LEAF, *(_LEAF ^ 1 << bit for bit in range(8))}
"""What the type of a leaf page may read when one of its bits is wrong."""
_LEAST_CELLS: Final = 16  # looked at even when the page claims to hold fewer
_MOST_CELLS: Final = PAGE // 8
_LARGEST_ROW: Final = 2**28
_LOCAL: Final = PAGE - 35
_LOCAL_LEAST: Final = (PAGE - 12) * 32 // 255 - 23

_WAL_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_UNREADABLE: Final = (IndexError, ValueError, struct.error)


def rows(path: Path) -> Iterator[Row | Ids]:
    """Give every sound row of the file and its write-ahead log; the same row may come more than once."""
    log = _read_log(sidecar(path, "-wal"))
    for frames in log.committed(), log.all():  # what lies beyond a broken frame comes last: it counts less
        yield from _Pages(path, log, frames).rows()
        if frames == log.all():
            return


class _Pages:
    """The pages of a file, seen through the frames of its write-ahead log."""

    def __init__(self, path: Path, log: _Log, frames: dict[int, int]) -> None:
        self._path = path
        self._log = log
        self._frames = frames
        self._patience = PATIENCE_SECONDS

    def rows(self) -> Iterator[Row | Ids]:
        """Give the sound rows of all leaf pages."""
        self._file = os.open(self._path, os.O_RDONLY) if self._path.exists() else -1
        try:
            size = os.fstat(self._file).st_size if self._file >= 0 else 0
            pages = range(1, -(-size // PAGE) + 1)
            for page_number in chain(pages, (number for number in self._frames if number not in pages)):
                yield from self._leaf(self._page(page_number))
        finally:
            if self._file >= 0:
                os.close(self._file)

    def _page(self, page_number: int) -> bytes:
        if page_number in self._frames:
            page = self._log.page(self._frames[page_number])
        else:
            page = self._read(page_number)
        return page.ljust(PAGE, b"\0")

    def _read(self, page_number: int) -> bytes:
        """Read a page of the file, where that fails several times over; empty for a bad sector, or no file."""
        for pause in (*CONFIRM_SECONDS, 0.0) if self._file >= 0 else ():
            with suppress(OSError):
                return os.pread(self._file, PAGE, (page_number - 1) * PAGE)
            if self._patience <= 0:
                break
            self._patience -= pause
            time.sleep(pause)
        return b""

    def _leaf(self, page: bytes) -> Iterator[Row | Ids]:
        if page[0] not in _LEAF_LIKE:
            return
        cells = min(max(int.from_bytes(page[3:5], "big"), _LEAST_CELLS), _MOST_CELLS)
        for (pointer,) in struct.iter_unpack(">H", page[8 : 8 + 2 * cells]):
            try:
                row = _row(*self._cell(page, pointer))
            except _UNREADABLE:
                continue
            if row is not None and row.sound():
                yield row

    def _cell(self, page: bytes, pointer: int) -> tuple[int, bytes]:
        """Give rowid and record, following the chain of overflow pages."""
        size, start = _varint(page, pointer)
        rowid, start = _varint(page, start)
        if size > _LARGEST_ROW:
            raise ValueError(size)
        if size <= _LOCAL:
            return rowid, page[start : start + size]
        local = _LOCAL_LEAST + (size - _LOCAL_LEAST) % (PAGE - 4)
        local = local if local <= _LOCAL else _LOCAL_LEAST
        parts = [page[start : start + local]]
        following = int.from_bytes(page[start + local : start + local + 4], "big")
        for _ in range(-(-(size - local) // (PAGE - 4))):
            overflow = self._page(following) if following else b""
            following = int.from_bytes(overflow[:4], "big")
            parts.append(overflow[4:])
        return rowid, b"".join(parts)[:size]


def _row(rowid: int, record: bytes) -> Row | Ids | None:
    values = _values(record)
    if len(values) == len(Row._fields):
        return Row(rowid, *values[1:])
    if len(values) == len(Ids._fields):
        return Ids(rowid, *values[1:])
    return None


def _values(record: bytes) -> list[Any]:
    """Decode a record; only the types that our tables hold."""
    start, at = _varint(record, 0)
    kinds = []
    while at < start:
        kind, at = _varint(record, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        size = (kind - 12) // 2 if kind >= 12 else _INTEGER_SIZES[kind]  # noqa: PLR2004 - from 12 on: blob and text
        value = record[start : start + size]
        start += size
        values.append(_value(kind, value))
    return values


_INTEGER_SIZES: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)


def _value(kind: int, value: bytes) -> Any:
    if kind == 0:
        return None
    if kind in {8, 9}:
        return kind - 8
    if kind < 12:  # noqa: PLR2004 - from 12 on: blob and text
        return int.from_bytes(value, "big", signed=True)
    return value.decode() if kind % 2 else value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Give the number at a place, and the place after it."""
    value = 0
    for index in range(at, at + 8):
        value = value << 7 | data[index] & 0x7F
        if data[index] < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, index + 1
    return value << 8 | data[at + 8], at + 9


def _read_log(path: Path) -> _Log:
    for pause in (*CONFIRM_SECONDS, 0.0) if path.exists() else ():
        with suppress(OSError):
            return _Log(path.read_bytes())
        time.sleep(pause)
    return _Log(b"")


class _Log:
    """A write-ahead log: pages by number, as the offset of their last frame."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offsets = range(_WAL_HEADER, len(data) - _FRAME_HEADER - PAGE + 1, _FRAME_HEADER + PAGE)

    def page(self, offset: int) -> bytes:
        """Give the page of the frame at an offset."""
        return self._data[offset + _FRAME_HEADER : offset + _FRAME_HEADER + PAGE]

    def committed(self) -> dict[int, int]:
        """Give the frames that SQLite takes: as far as the chain of checksums holds, to the last commit."""
        done: dict[int, int] = {}
        transaction: dict[int, int] = {}
        order = ">" if self._data[3:4] == b"\x83" else "<"
        link = _checksum(self._data[:24], (0, 0), order)
        if link != self._two(24):
            return done
        for offset in self._offsets:
            link = _checksum(self._data[offset : offset + 8], link, order)
            link = _checksum(self.page(offset), link, order)
            if link != self._two(offset + 16) or self._two(offset + 8) != self._two(16):
                break
            page_number, committed_pages = self._two(offset)
            transaction[page_number] = offset
            if committed_pages:
                done |= transaction
                transaction = {}
        return done

    def all(self) -> dict[int, int]:
        """Give the frames of the log's present generation, sound or not."""
        if not self._offsets:
            return {}
        salts = [self._two(offset + 8) for offset in self._offsets]
        present = self._two(16) if self._two(16) in salts else salts[0]
        return {
            self._two(offset)[0]: offset
            for offset, salt in zip(self._offsets, salts, strict=True)
            if salt == present
        }

    def _two(self, offset: int) -> tuple[int, int]:
        first, second = struct.unpack_from(">II", self._data.ljust(_WAL_HEADER, b"\0"), offset)
        return first, second


def _checksum(data: bytes, link: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = link
    words = struct.unpack(f"{order}{len(data) // 4}I", data[: len(data) // 4 * 4])
    for even, odd in zip(words[::2], words[1::2], strict=False):
        first = first + even + second & 0xFFFFFFFF
        second = second + odd + first & 0xFFFFFFFF
    return first, second
