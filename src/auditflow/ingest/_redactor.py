"""Redacts batches of events: takes apart only those that a rule may concern."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from msgspec import Raw

from auditflow.errors import RedactionFailed
from auditflow.ingest._detectors import Trace
from auditflow.ingest._redaction_paths import Place, path_text
from auditflow.ingest._redaction_rule import MANIFEST, Rule, encode, key_in_json, with_manifest
from auditflow.ingest._splice import Splice

_LENGTHS: Final = {"eventType": range(1, 256), "sourceSystem": range(1, 256), "correlationId": range(65)}
_LONGEST_EXACT: Final = 18
"""Digits of integers that every encoder writes as they are."""

_hides_ascii = re.compile(rb"\\u00[2-7]").search


@dataclass(frozen=True, slots=True)
class Effect:
    """What one rule does with an event; never holds a value."""

    rule: str
    action: str
    fields: list[str]
    """Paths of what it changes."""


class Redactor:
    """Applies rules in their order. `auditflow.ingest.redaction` says what they mean."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._splice = Splice(rules)
        self._keeps_manifest = any(rule.listed for rule in rules)
        traces = [trace for rule in rules if rule not in self._splice.rules for trace in rule.traces()]
        if self._keeps_manifest:
            traces.append(Trace((key_in_json(MANIFEST),)))
        self._traces = list(dict.fromkeys(traces))

    def redact(self, events: Sequence[bytes]) -> list[bytes | RedactionFailed]:
        """Redact events, each a JSON object; one that no rule changes is given back as it is.

        In place of an event that cannot be redacted stands the reason; it spoils no other.
        """
        page = b"\n".join(events)
        suspects = self._suspects(page, events)
        redacted: list[bytes | RedactionFailed] = list(events)
        if targets := self._splice.targets(page):
            splice = self._splice.apply
            for number, event in enumerate(events):
                spliced = splice(event, targets)
                if spliced is None:
                    suspects.add(number)
                else:
                    redacted[number] = spliced
        for number in suspects:
            try:
                redacted[number], _ = self._rewritten(events[number])
            except RedactionFailed as error:
                redacted[number] = error
        return redacted

    def explain(self, event: bytes) -> list[Effect]:
        """Say what each rule does with an event. Raises RedactionFailed."""
        _, changed = self._rewritten(event)
        return [
            Effect(rule.id, rule.action, [path_text(path) for _, _, path in places])
            for rule, places in zip(self._rules, changed, strict=True)
        ]

    def _suspects(self, page: bytes, events: Sequence[bytes]) -> set[int]:
        """Give the numbers of the events that have to be taken apart; the page has one a line."""
        suspects = {number for trace in self._traces for number in trace.among(page, events)}
        if _hides_ascii(page):
            suspects.update(number for number, event in enumerate(events) if _hides_ascii(event))
        return suspects

    def _rewritten(self, event: bytes) -> tuple[bytes, list[list[Place]]]:
        """Take an event apart and give what is made of it, with the places that each rule changed."""
        try:
            fields, repeats = _read(event)
            claimed = self._keeps_manifest and MANIFEST in fields
            if claimed:
                del fields[MANIFEST]
            changed = [_checked(rule, fields, rule.apply(fields)) for rule in self._rules]
            if any(changed) or repeats or claimed:
                event = encode(fields)
            if listed := self._listed(changed):
                event = with_manifest(event, listed)
        except RecursionError:
            raise RedactionFailed(reason="it is nested too deeply") from None
        except ValueError:
            raise RedactionFailed(reason="it is not valid JSON") from None
        return event, changed

    def _listed(self, changed: list[list[Place]]) -> list[str]:
        return [rule.id for rule, places in zip(self._rules, changed, strict=True) if rule.listed and places]


def _checked(rule: Rule, event: dict[str, Any], changed: list[Place]) -> list[Place]:
    """Refuse an event of which a rule leaves what is no event any more."""
    for node, name, _ in changed:
        if node is event and name in _LENGTHS and len(event.get(name, "")) not in _LENGTHS[name]:
            raise RedactionFailed(reason=f"the rule {rule.id} leaves {name} too long, or nothing of it")
    return changed


def _read(event: bytes) -> tuple[dict[str, Any], bool]:
    """Decode an event, its numbers as they are written; tell whether an object in it repeats a name.

    Of a name that is repeated the last one counts; the others would not be redacted.
    """
    repeats = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeats
        fields = dict(pairs)
        repeats = repeats or len(fields) < len(pairs)
        return fields

    fields = json.loads(
        event.decode(),
        object_pairs_hook=members,
        parse_int=_whole,
        parse_float=Raw,
        parse_constant=_refused,
    )
    if not isinstance(fields, dict):
        raise RedactionFailed(reason="it is not a JSON object")
    return fields, repeats


def _whole(digits: str) -> int | Raw:
    return int(digits) if len(digits) <= _LONGEST_EXACT and digits != "-0" else Raw(digits)


def _refused(_: str) -> NoReturn:
    raise ValueError  # NaN and Infinity
