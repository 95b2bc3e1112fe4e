"""Finds events that say one thing twice: a reader that takes the first of two keys sees another event than we do.

Readers differ in which of two equal keys they take (RFC 8259 §4), so that one check could be passed with the one and
another reader be told the other. Only fields that have a meaning here are looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from auditflow.event.model import FIELDS

HIDDEN: Final = "?"
"""In place of the name of a field that may be there twice."""

_QUOTED: Final = {name: f'"{name}"'.encode() for name in FIELDS}
_values = msgspec.json.Decoder(dict[str, Raw])
_pairs = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str)
_LARGE: Final = 64 * 1024
"""Bytes of an event above which a suspicion is enough: to look through all of it would take too long."""
_TEXTS: Final = _LARGE // len(r'"\u0041"')
"""Texts with escaped letters that an event which is not large may hold."""
_escaped_letter = re.compile(rb"\\u00(?:4[1-9a-fA-F]|5[0-9aA]|6[1-9a-fA-F]|7[0-9aA])").search
"""Nobody escapes a letter of ASCII who does not want to hide a name."""
_to_end_of_text = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+', re.DOTALL).match


def any_repeated(text: bytes, raws: Sequence[bytes], beginnings: Mapping[bytes, int]) -> bool:
    """Tell whether one of the events has a field twice.

    `text` is all of them joined; `beginnings` says how many of the events' fields begin so, quote included. A name in
    a value makes them be looked at one by one.
    """
    if b"\\" in text and _escaped_letter(text):
        return any(map(repeated, raws))
    return any(text.count(each) != count for each, count in beginnings.items()) and any(map(repeated, raws))


def repeated(raw: bytes) -> str:
    """Name a field that the event, a JSON object, has twice; nothing for one that has none.

    `HIDDEN` for a large one whose names, written with escapes of letters, may hide that.
    """
    if b"\\u00" in raw and _hides_a_name(raw):
        return _looked_through(raw, HIDDEN)
    doubtful = [name for name, quoted in _QUOTED.items() if raw.count(quoted) > 1]
    if not doubtful:
        return ""
    values = list(map(bytes, _values.decode(raw).values()))
    for name in doubtful:
        quoted = _QUOTED[name]
        if raw.count(quoted) - sum(value.count(quoted) for value in values) > 1:
            return _looked_through(raw, name)
    return ""


def _hides_a_name(raw: bytes) -> bool:
    """Tell whether the name of a member, at any depth, has an escaped letter, or more texts have than can be looked at."""
    start = texts = 0
    while found := _escaped_letter(raw, start):
        texts += 1
        if texts > _TEXTS:
            return True
        end = _to_end_of_text(raw, found.end())
        if end is None:
            return False
        start = end.end()
        if raw[start : start + 1] == b":":
            return True
    return False


def _looked_through(raw: bytes, suspicion: str) -> str:
    if len(raw) > _LARGE:
        return suspicion
    members: Any = _pairs.decode(raw.decode())
    names = [name for name, _ in members]
    return next((name for name in FIELDS if names.count(name) > 1), "")
