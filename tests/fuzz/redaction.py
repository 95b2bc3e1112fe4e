"""No value that a rule covers survives redaction, however the event is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

from pydantic import ValidationError

from auditflow.errors import RedactionFailed
from auditflow.event.paths import Every, Step, parse_pattern
from auditflow.ingest.redaction.config import RedactionConfig, RedactionRule, compile_redaction
from auditflow.ingest.redaction.detectors import DETECTORS

from . import grammar
from .grammar import Members, Number

FIELDS = ("extra.email", "extra.userId", "extra.a", "extra.a.b", "extra.*", "extra.*.email", "extra.größe", "extra.a/b",
          "items[0].email", "items[*].email", "items[*]", "a", "a.b", "email", "eventType", "geolocation.city", "redaction",
          "correlationId", None)  # fmt: skip
CARDS = ("4111 1111 1111 {:04}", "41111111111{:05}", "5500-0000-{:04}-0004")
UNSEARCHED = {"eventId", "tenantId", "timestamp", "eventTime"}


def check(dice: Random) -> None:
    try:
        config = RedactionConfig.model_validate(_config(dice))
    except ValidationError:
        return
    numbers = count(dice.randrange(9_000))
    events = [_planted(dice, numbers, grammar.event(dice)) for _ in range(dice.randrange(1, 4))]
    raws = [grammar.written(dice, event).encode() for event in events]
    redactor = compile_redaction(config)
    if redactor is None:
        return
    results = redactor.redact(raws)
    for event, raw, result in zip(events, raws, results, strict=True):
        if isinstance(result, bytes):
            _covered_values_are_gone(event, result, config)
            assert redactor.redact([raw]) == [result], "an event depends on its neighbours"
            assert result is raw or result != raw, "a copy without a change"
            assert _same(result, redactor._rewritten(raw)[0]), "the fast way differs from the slow one"
    for result in redactor.redact([grammar.mutated(dice, raw) for raw in raws]):
        assert isinstance(result, bytes | RedactionFailed)


def _config(dice: Random) -> dict[str, Any]:
    rules = [
        {
            "field": dice.choice(FIELDS),
            "detector": dice.choice((None, None, *DETECTORS)),
            "action": dice.choice(("mask", "hash", "drop")),
        }
        for _ in range(dice.randrange(1, 5))
    ]
    return {
        "rules": rules,
        "key": "k" * 16,
        "manifest": dice.random() < 0.3,
        "mask": dice.choice(("***", "[weg]", "é")),
    }


def _planted(dice: Random, numbers: Iterator[int], given: Any) -> Any:
    """Make texts unique, so that one that survives can be told from another, and plant what detectors find."""
    if isinstance(given, Members):
        return Members((name, _planted(dice, numbers, each)) for name, each in given)
    if isinstance(given, list):
        return [_planted(dice, numbers, each) for each in given]
    if not isinstance(given, str) or isinstance(given, Number):
        return given
    number = next(numbers)
    return dice.choice((
        given, f"{given}~{number}~", f"{given} u{number}@example.org", f"{dice.choice(CARDS).format(number)} {given}",
        f"{given}10.7.{number % 256}.{number // 256}", f"2001:db8::{number:x}", f"eyJ{number}.eyJ{number}.x{given}",
        f"AKIA{number:016}", f"{_iban(number)} {given}",
    ))  # fmt: skip


def _iban(number: int) -> str:
    account = f"{number:018}"
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def _same(one: bytes, other: bytes) -> bool:
    return bool(json.loads(one, parse_float=str) == json.loads(other, parse_float=str))


def _covered_values_are_gone(event: Members, result: bytes, config: RedactionConfig) -> None:
    fields = json.loads(result, object_pairs_hook=Members, parse_int=Number, parse_float=Number)
    kept = "\n".join(_texts(fields))
    rule = config.rules[0]  # what the others cover may be changed by those before them
    for text in _covered(event, rule):
        assert len(text) < 5 or text not in kept, f"{rule} left {text!r}"


def _covered(event: Members, rule: RedactionRule) -> Iterator[str]:
    """Give the texts that have to go, those behind repeated names as well."""
    if rule.field:
        roots = _at(event, parse_pattern(rule.field))
    else:
        roots = [each for name, each in event if name not in UNSEARCHED]
    for root in roots:
        for text in _texts(root):
            if not rule.detector:
                if "~" in text:
                    yield text[text.index("~") :]
            else:
                yield from (text[start:end] for start, end in DETECTORS[rule.detector].find(text))


def _at(node: Any, steps: tuple[Step, ...]) -> list[Any]:
    if not steps:
        return [node]
    step, *rest = steps
    if isinstance(node, Members):
        below = [each for name, each in node if step is Every.MEMBER or name == step]
    elif isinstance(node, list):
        below = node if step is Every.ITEM else node[step : step + 1] if isinstance(step, int) else []
    else:
        below = []
    return [found for each in below for found in _at(each, tuple(rest))]


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, Members):
        for _, each in node:
            yield from _texts(each)
    elif isinstance(node, list):
        for each in node:
            yield from _texts(each)
    elif isinstance(node, str) and not isinstance(node, Number):
        yield node
