"""Sampling by event id: the same events are kept in every pipeline, on every machine, after every restart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

_HASH_BYTES: Final = 8


def keeps(rate: float) -> Callable[[str | bytes], bool]:
    """Give a test of event ids that holds for the share `rate` (0-1) of them.

    What is kept at one rate is kept at every higher one.
    """
    if rate >= 1:
        return lambda _event_id: True
    limit = int(rate * 2 ** (8 * _HASH_BYTES))

    def kept(event_id: str | bytes) -> bool:
        raw = event_id.encode() if isinstance(event_id, str) else event_id
        return int.from_bytes(hashlib.blake2b(raw, digest_size=_HASH_BYTES).digest()) < limit

    return kept
