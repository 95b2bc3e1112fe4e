r"""Redacts events in their bytes, where that is certain to give what taking them apart would.

It is for rules that name one field, without wildcards, indexes and detectors. A name that stands once in an
event, and that decoding finds at the rule's path, can only be the one at that path, so what follows it is the
value; unless it is written with ``\u00XX``, which the caller has to exclude. Whatever is less clear is left to
the caller, too. Page by page, mostly in functions that run in C, since this is done for every event.
"""
# Tested in tests/ingest/redaction/test_redactor.py.

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress, repeat
from operator import attrgetter, ne
from typing import Any, Final

import msgspec
from msgspec import Raw

from auditflow.ingest.redaction.rule import Rule, is_plain, key_in_json, with_manifest

_LONGEST_REMEMBERED: Final = 128
"""Bytes of a value; what becomes of longer ones is worked out each time, so that little memory is enough."""
_ABSENT: Final = frozenset({b"", b"null"})
"""Values that are left alone."""
_NOWHERE: Final = b"\0"
"""JSON has none."""


@dataclass(frozen=True, slots=True, eq=False)
class _Target:
    """A field, and the rule for it."""

    rule: Rule
    name: bytes
    """The field's own name, in JSON."""
    value_of: Callable[[Any], Raw]
    """Reads it from the decoded shape; empty when it is not there."""


class Splice:
    """The rules that can be applied to bytes, and how."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        paths = [(rule, _names(rule)) for rule in rules]
        alone = [
            (rule, names)
            for rule, names in paths
            if names and not any(_overlap(names, other) for one, other in paths if one is not rule)
        ]
        self.rules: Final = [rule for rule, _ in alone]
        self._targets: Final = [
            _Target(rule, key_in_json(names[-1]), _getter(names)) for rule, names in alone
        ]
        self._shape: Final = _shape([names for _, names in alone])
        self._decode: Final = msgspec.json.Decoder(self._shape).decode

    def redact(
        self, events: Sequence[bytes], page: bytes
    ) -> tuple[list[bytes], set[int], dict[str, list[int]]]:
        """Redact the events, which the page has joined.

        Also gives the numbers of those to be taken apart, and of those that each rule has changed, by its id.
        """
        redacted = list(events)
        unclear: set[int] = set()
        changed_by: dict[str, list[int]] = {}
        listed: dict[int, list[str]] = {}
        targets = [target for target in self._targets if target.name in page]
        shapes = self._shapes(events) if targets else []
        for target in targets:
            changed = _apply(target, shapes, page, redacted, unclear)
            changed_by.setdefault(target.rule.id, []).extend(changed)
            for number in changed if target.rule.listed else ():
                listed.setdefault(number, []).append(target.rule.id)
        for number, ids in listed.items():
            redacted[number] = with_manifest(redacted[number], ids)
        return redacted, unclear, changed_by

    def _shapes(self, events: Sequence[bytes]) -> list[msgspec.Struct]:
        try:
            return list(map(self._decode, events))
        except (msgspec.DecodeError, RecursionError):
            return [self._shape_of(event) for event in events]

    def _shape_of(self, event: bytes) -> msgspec.Struct:
        try:
            return self._decode(event)
        except (msgspec.DecodeError, RecursionError):
            return self._shape()


def _apply(
    target: _Target, shapes: list[msgspec.Struct], page: bytes, events: list[bytes], unclear: set[int]
) -> list[int]:
    """Apply one rule to all events of the page in place; gives the numbers of those that it changed."""
    values = list(map(bytes, map(target.value_of, shapes)))
    spliced = list(map(bytes.replace, events, *_edits(target, values), repeat(1)))
    changed = list(map(ne, spliced, events))
    found = len(values) - values.count(b"")
    if page.count(target.name) == changed.count(True) == found:
        events[:] = spliced  # who has the field has its name once, and the others do not have it
        return list(compress(range(len(events)), changed))
    return _apply_one_by_one(target, values, spliced, events, unclear)


def _apply_one_by_one(
    target: _Target, values: list[bytes], spliced: list[bytes], events: list[bytes], unclear: set[int]
) -> list[int]:
    times = map(bytes.count, events, repeat(target.name))
    changed = []
    for number, (often, before, edited) in enumerate(zip(times, events, spliced, strict=True)):
        if often:
            after = edited if edited != before else _looked_at_closely(before, target, values[number])
            if often > 1 or after is None:
                unclear.add(number)
            elif after is not before:
                events[number] = after
                changed.append(number)
    return changed


def _edits(target: _Target, values: list[bytes]) -> tuple[Iterable[bytes], Iterable[bytes]]:
    """Give what is to be replaced in each event, and by what."""
    if target.rule.action == "hash" or not _are_texts(values):
        edit = _edit if max(map(len, values)) <= _LONGEST_REMEMBERED else _edit.__wrapped__
        olds, news = zip(*map(edit, repeat(target), values), strict=True)
        return olds, news
    old, new = _edit(target, b'""')  # much the same for all
    member = old.removesuffix(b'""').__add__
    if b"null" in values or b"" in values:
        return [_NOWHERE if value in _ABSENT else member(value) for value in values], repeat(new)
    return map(member, values), repeat(new)


def _are_texts(values: list[bytes]) -> bool:
    """Tell whether none of the values escapes what is no text."""
    if b"\\" not in b"".join(values):
        return True
    with suppress(msgspec.DecodeError, ValueError, RecursionError):
        msgspec.json.decode(b"[%b]" % b",".join(filter(None, values)))
        return True
    return False


@functools.lru_cache(maxsize=16_384)
def _edit(target: _Target, value: bytes) -> tuple[bytes, bytes]:
    """Give a piece of an event without white space, and what is to stand there; the name twice for what is unclear."""
    member = target.name + b":" + value
    if value == b"null":
        return _NOWHERE, _NOWHERE
    more_than_bytes = target.rule.action == "hash" and (value[:1] in b"{[" or value == b"-0")
    if not value or more_than_bytes:
        return target.name, target.name
    if target.rule.action == "drop":
        return b"," + member, b""
    try:
        text = msgspec.json.decode(value, type=str).encode() if value[:1] == b'"' else value
    except (msgspec.DecodeError, ValueError):  # it holds what is no text
        return target.name, target.name
    return member, b'%b:"%b"' % (target.name, target.rule.stand_in(text))


def _looked_at_closely(event: bytes, target: _Target, value: bytes) -> bytes | None:
    """Give what an event that the edit leaves alone becomes; None when it has to be taken apart."""
    old, new = _edit(target, value)
    if old == new:
        return event if new != target.name else None
    if target.rule.action == "drop":
        member = target.name + b":" + value
        edits = [(member + b",", b""), (b"{%b}" % member, b"{}")]
    else:
        edits = [(target.name + b": " + value, new)]
    return next((event.replace(old, new, 1) for old, new in edits if old in event), None)


def _names(rule: Rule) -> tuple[str, ...]:
    """Give the path of a rule when it can be applied to bytes, else nothing."""
    names = tuple(step for step in rule.steps if isinstance(step, str) and is_plain(step))
    return () if rule.detector or len(names) < len(rule.steps) else names


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether one path leads to or through the other's field."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared] and shared > 0


def _shape(paths: list[tuple[str, ...]]) -> type[msgspec.Struct]:
    """Make the struct that has the fields at these paths, and nothing else."""
    fields: list[tuple[str, type, Any]] = []
    for name in dict.fromkeys(path[0] for path in paths):
        below = [path[1:] for path in paths if path[0] == name and len(path) > 1]
        if below:
            inner = _shape(below)
            fields.append((_attribute(name), inner, msgspec.field(default_factory=inner)))
        else:
            fields.append((_attribute(name), Raw, Raw()))
    renamed = {_attribute(path[0]): path[0] for path in paths}
    return msgspec.defstruct("Shape", fields, rename=renamed, gc=False)


def _getter(names: tuple[str, ...]) -> Callable[[Any], Any]:
    return attrgetter(".".join(map(_attribute, names)))


def _attribute(name: str) -> str:
    """Turn the name of a field into one that Python accepts."""
    return f"_{name.encode().hex()}"
