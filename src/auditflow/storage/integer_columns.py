"""Columns of whole numbers as the ledger keeps them: deflated, little-endian, 64 bits each."""
# Tested in tests/journal/test_block_format.py.

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import Final

from isal import isal_zlib

_NUMBER: Final = "q"


def pack(numbers: Iterable[int]) -> bytes:
    """Deflate a column; empty for an empty one."""
    column = array(_NUMBER, numbers)
    if sys.byteorder == "big":
        column.byteswap()
    deflated: bytes = isal_zlib.compress(column.tobytes(), 1) if column else b""
    return deflated


def unpack(packed: bytes) -> array[int]:
    """Undo `pack`."""
    column = array(_NUMBER, isal_zlib.decompress(packed) if packed else b"")
    if sys.byteorder == "big":
        column.byteswap()
    return column
