"""How deep an event may nest: a bound of ours, for that of the interpreter differs from version to version."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

MAX_DEPTH: Final = 850
"""Objects and lists in each other, the event included: what every supported Python follows wherever an event goes."""

_without_texts = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL).sub
_BRACKETS: Final = b"[]{}"
_OTHERS: Final = bytes(set(range(256)) - set(_BRACKETS))
_STEP: Final = {each: 1 if each in b"[{" else -1 for each in _BRACKETS}


def is_too_deep(event: bytes) -> bool:
    """Tell whether JSON nests deeper than that. An event that has not so many brackets needs no look."""
    if event.count(b"[") + event.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _without_texts(b"", event).translate(None, _OTHERS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH
