"""Durations and sizes as people write them: ``250ms``, ``7d``, ``10GiB``."""

from __future__ import annotations

import re
from math import inf
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def seconds(text: object) -> float:
    """Turn ``"1.5s"``, ``"7d"`` or a plain number of seconds into seconds; ValueError says what is accepted."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        if not 0 <= text < inf:
            raise ValueError("a duration cannot be negative or without end")
        return float(text)
    match = _QUANTITY.fullmatch(str(text))
    unit = (match.group(2) or "s") if match else ""
    if match is None or unit not in _SECONDS:
        raise ValueError("expected a duration such as 250ms, 30s, 5m, 24h or 7d")
    return float(match.group(1)) * _SECONDS[unit]


def size(text: object) -> int:
    """Turn ``"10GiB"``, ``"512kB"`` or a plain number of bytes into bytes; ValueError says what is accepted."""
    match = None if isinstance(text, bool) else _QUANTITY.fullmatch(str(text))
    unit = match.group(2).lower() if match else None
    if match is None or unit not in _BYTES:
        raise ValueError("expected a size such as 1048576, 512KiB or 10GiB")
    return int(float(match.group(1)) * _BYTES[unit])


def readable_duration(length: float) -> str:
    """Write a number of seconds the way `seconds` reads it, in the largest unit up to days without a fraction."""
    for unit in ("d", "h", "m", "s", "ms"):
        factor = _SECONDS[unit]
        if length >= factor and (length / factor).is_integer():
            return f"{length / factor:.0f}{unit}"
    return f"{length:g}s"


def readable_size(count: int) -> str:
    """Write a number of bytes the way `size` reads it, with at most one decimal."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 - the step between binary units
            return f"{count}{unit}"
        count_in_next = count / 1024
        if count_in_next < 1024 and count % 1024:  # noqa: PLR2004 - the step between binary units
            return f"{count_in_next:.1f}{_NEXT[unit]}"
        count = int(count_in_next)
    return f"{count}TiB"


_NEXT = {"B": "KiB", "KiB": "MiB", "MiB": "GiB", "GiB": "TiB"}

_TEXT_OR_NUMBER = WithJsonSchema({"type": ["string", "number"]})

Duration = Annotated[float, BeforeValidator(seconds), PlainSerializer(float), _TEXT_OR_NUMBER]
"""Seconds; written as ``250ms``, ``30s``, ``5m``, ``24h``, ``7d`` or a number of seconds."""

ByteSize = Annotated[int, BeforeValidator(size), PlainSerializer(int), _TEXT_OR_NUMBER]
"""Bytes; written as ``512KiB``, ``10GiB`` or a number of bytes."""
