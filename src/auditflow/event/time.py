"""When an event happened: its own time as Unix milliseconds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec

MET: Final = 4096
"""Parts of times that are remembered."""


class _Times(msgspec.Struct, gc=False, rename="camel"):
    event_time: str | None = None
    timestamp: str | None = None


_decode = msgspec.json.Decoder(_Times).decode
_rfc3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):([0-5]\d|60)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
).fullmatch


def event_time(event: bytes, otherwise: int) -> int:
    """Give an event's own time in Unix milliseconds: `eventTime`, else `timestamp`, else `otherwise`.

    A field that is not an RFC 3339 date-time counts as absent.
    """
    for text in _candidates(event):
        try:
            return epoch_ms(text)
        except ValueError:
            continue
    return otherwise


def epoch_ms(text: str) -> int:
    """Turn an RFC 3339 date-time into Unix milliseconds, finer digits cut off; ValueError when it is none."""
    match = _rfc3339(text)
    if match is None:
        raise ValueError(text)
    day, minute, second, fraction, zone = match.groups()
    millis = int(f"{fraction}00"[:3]) if fraction else 0
    return _minute(day, minute, zone) + int(second) * 1000 + millis


@lru_cache(maxsize=4096)
def _minute(day: str, minute: str, zone: str) -> int:
    """Give the start of a minute. Cached: events of one batch share few, and a datetime costs more than the rest."""
    return int(datetime.fromisoformat(f"{day}T{minute}{zone.upper()}").timestamp()) * 1000


def utc_times(texts: Sequence[str]) -> list[int] | None:
    """Do as `epoch_ms` for many times in UTC; None when one is not written as usual, or is none.

    Each is put together from three parts that have been met before: a datetime for each would cost more than
    decoding the event's header.
    """
    try:
        return [_minutes[text[:16]] + _seconds[text[16:19]] + _rest[text[19:]] for text in texts]
    except ValueError:
        return None


class _Met(dict[str, int]):
    """What parts of a time come to, in milliseconds; forgotten when there are too many."""

    def __init__(self, read: Callable[[str], int]) -> None:
        self._read = read

    def __missing__(self, part: str) -> int:
        if len(self) >= MET:
            self.clear()
        value = self[part] = self._read(part)
        return value


_minutes = _Met(lambda part: epoch_ms(f"{part}:00Z"))
_seconds = _Met(lambda part: epoch_ms(f"1970-01-01T00:00{part}Z"))
_rest = _Met(lambda part: epoch_ms(f"1970-01-01T00:00:00{part}"))


def _candidates(event: bytes) -> tuple[str, ...]:
    try:
        times = _decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _odd_candidates(event)
    return tuple(value for value in (times.event_time, times.timestamp) if value)


def _odd_candidates(event: bytes) -> tuple[str, ...]:
    """Look at the two one by one: one of them may be no string, or the event hold half a surrogate pair."""
    try:
        fields = json.loads(event)
    except (ValueError, RecursionError):
        return ()
    values = [fields.get("eventTime"), fields.get("timestamp")] if isinstance(fields, dict) else []
    return tuple(value for value in values if isinstance(value, str))
