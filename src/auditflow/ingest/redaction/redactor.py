"""Redacts batches of events: takes apart only those that a rule may concern."""

from __future__ import annotations

import functools
import gc
import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Raw

from auditflow.errors import RedactionFailed
from auditflow.event.depth import is_too_deep
from auditflow.ingest.redaction.paths import Path, Place, path_text
from auditflow.ingest.redaction.rule import MANIFEST, Rule, encode, key_traces, with_manifest
from auditflow.ingest.redaction.splice import Splice
from auditflow.telemetry import metrics

_LENGTHS: Final = {"eventType": range(1, 256), "sourceSystem": range(1, 256), "correlationId": range(65)}
_HIDDEN_ASCII: Final = rb"\\u00[2-7]"
"""A character that needs no escape and has one all the same: a name or a text may hide behind it."""
_UNFINISHED: Final = RedactionFailed(reason="it was not taken apart")


def _compiled(patterns: Sequence[bytes]) -> list[Any]:
    """Compile traces: words one by one, to which RE2 can skip, and all others as one, which it reads through."""
    words = {pattern for pattern in patterns if re.escape(pattern) == pattern}
    others = {pattern for pattern in patterns if pattern not in words}
    joined = [b"|".join(sorted(others))] if others else []
    return [_re2_of_bytes(pattern) for pattern in (_HIDDEN_ASCII, *sorted(words), *joined)]


@functools.lru_cache(maxsize=256)  # tenants have much the same rules
def _re2_of_bytes(pattern: bytes) -> Any:
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # any bytes
    return re2.compile(pattern, options)


@dataclass(frozen=True, slots=True)
class Effect:
    """What one rule does with an event; never holds a value."""

    rule: str
    action: str
    fields: list[str]
    """Paths of what it changes."""


class Redactor:
    """Applies rules in their order. `auditflow.ingest.redaction.config` says what they mean."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        for rule in rules:
            metrics.count_redacted(rule.id, 0)  # one that never changes anything is seen to do so
        self._splice = Splice(rules)
        self._keeps_manifest = any(rule.listed for rule in rules)
        traces = [trace for rule in rules if rule not in self._splice.rules for trace in rule.traces()]
        if self._keeps_manifest:
            traces += key_traces(MANIFEST)
        self._traces = _compiled(traces)

    def redact(self, events: Sequence[bytes]) -> list[bytes | RedactionFailed]:
        """Redact events, each a JSON object; one that no rule changes is given back as it is.

        In place of an event that cannot be redacted stands the reason; it spoils no other.
        """
        redacted, suspects = self.begin(events)
        self.finish(events, redacted, suspects)
        return redacted

    def begin(self, events: Sequence[bytes]) -> tuple[list[bytes | RedactionFailed], set[int]]:
        """Redact what can be in its bytes; also gives the numbers of the events that `finish` has to take apart.

        Until it has, a failure stands in their place, lest one is taken for redacted.
        """
        page = b"\n".join(events)
        spliced, unclear, changed_by = self._splice.redact(events, page)
        redacted: list[bytes | RedactionFailed] = [*spliced]
        suspects = unclear | self._suspects(page, events)
        for rule, changed in changed_by.items():
            metrics.count_redacted(rule, len(changed) - len(suspects.intersection(changed)))
        for number in suspects:
            redacted[number] = _UNFINISHED
        return redacted, suspects

    def finish(
        self, events: Sequence[bytes], redacted: list[bytes | RedactionFailed], numbers: Iterable[int]
    ) -> None:
        """Put in place what becomes of the events with these numbers, by taking them apart."""
        hits: Counter[str] = Counter()
        for number in numbers:
            try:
                redacted[number], changed = self._rewritten(events[number])
            except RedactionFailed as error:
                redacted[number] = error
            else:
                hits.update(rule.id for rule, places in zip(self._rules, changed, strict=True) if places)
        for rule, count in hits.items():
            metrics.count_redacted(rule, count)

    def explain(self, event: bytes) -> list[Effect]:
        """Say what each rule does with an event. Raises RedactionFailed."""
        _, changed = self._rewritten(event)
        hidden = {key for places in changed for _, key, path in places if path and path[1] != key}

        def shown(path: Any) -> Path:
            return path and (shown(path[0]), "***" if path[1] in hidden else path[1])

        return [
            Effect(rule.id, rule.action, [path_text(shown(path)) for _, _, path in places])
            for rule, places in zip(self._rules, changed, strict=True)
        ]

    def _suspects(self, page: bytes, events: Sequence[bytes]) -> set[int]:
        """Give the numbers of the events that some rule may change, or that may hide that it does."""
        suspects: set[int] = set()
        nexts: list[int] = []
        for trace in self._traces:
            start = 0
            while start < len(page) and (match := trace.search(page, start)):
                nexts = nexts or list(accumulate(len(event) + 1 for event in events))
                number = bisect_right(nexts, match.start())
                suspects.add(number)
                start = nexts[number]  # one finding is enough
        return suspects

    def _rewritten(self, event: bytes) -> tuple[bytes, list[list[Place]]]:
        """Take an event apart and give what is made of it, with the places that each rule changed."""
        if is_too_deep(event):
            raise RedactionFailed(reason="it is nested too deeply")
        try:
            try:
                return self._rewritten_as_read(event, _read)
            except (OverflowError, ValueError, msgspec.DecodeError):  # numbers that it does not write
                return self._rewritten_as_read(event, _read_exactly)
        except RecursionError:
            raise RedactionFailed(reason="it is nested too deeply") from None
        except ValueError:
            raise RedactionFailed(reason="it is not valid JSON") from None

    def _rewritten_as_read(
        self, event: bytes, read: Callable[[bytes], Any]
    ) -> tuple[bytes, list[list[Place]]]:
        fields = read(event)
        if not isinstance(fields, dict):
            raise RedactionFailed(reason="it is not a JSON object")
        claimed = self._keeps_manifest and MANIFEST in fields
        if claimed:
            del fields[MANIFEST]
        changed = self._applied(fields)
        written = encode(fields)
        if not any(changed) and not claimed and (len(written) == len(event) or not _repeats(event)):
            return event, changed
        listed = self._listed(changed)
        return with_manifest(written, listed) if listed else written, changed

    def _applied(self, fields: dict[str, Any]) -> list[list[Place]]:
        """Apply the rules in order. Detectors that look at the same places in turn read the texts there once."""
        changed, texts, steps = [], None, None
        for rule in self._rules:
            if rule.detector is None:
                places, texts = rule.apply(fields), None
            else:
                if texts is None or texts.stale or rule.steps != steps:
                    texts, steps = rule.texts(fields), rule.steps
                places = rule.search(rule.detector, texts)
            changed.append(_checked(rule, fields, places))
        return changed

    def _listed(self, changed: list[list[Place]]) -> list[str]:
        return [rule.id for rule, places in zip(self._rules, changed, strict=True) if rule.listed and places]


def _checked(rule: Rule, event: dict[str, Any], changed: list[Place]) -> list[Place]:
    """Refuse an event of which a rule leaves what is no event any more."""
    for node, name, _ in changed:
        if node is event and name in _LENGTHS and len(event.get(name, "")) not in _LENGTHS[name]:
            raise RedactionFailed(reason=f"the rule {rule.id} leaves {name} too long, or nothing of it")
    return changed


_decode = msgspec.json.Decoder(float_hook=Raw).decode


def _read(event: bytes) -> Any:
    """Decode. All threads wait meanwhile: not also for garbage to be looked for, among a million lists say."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _decode(event)
    finally:
        if collecting:
            gc.enable()


def _read_exactly(event: bytes) -> Any:
    """Decode with all numbers as they are written, whatever their size."""
    return json.loads(event.decode(), parse_int=Raw, parse_float=Raw, parse_constant=_refused)


def _refused(_: str) -> NoReturn:
    raise ValueError  # NaN and Infinity


def _repeats(event: bytes) -> bool:
    """Tell whether an object repeats a name: its last value counts, and those before escape the rules."""
    repeats = False

    def members(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeats
        repeats = repeats or len({name for name, _ in pairs}) < len(pairs)

    json.loads(event.decode(), object_pairs_hook=members, parse_int=Raw, parse_float=Raw)
    return repeats
