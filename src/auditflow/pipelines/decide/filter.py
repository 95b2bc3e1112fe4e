"""Which events a pipeline takes, told from their bytes: condition and sampling together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from auditflow.event.fields import REFUSED, FieldAccess
from auditflow.event.model import decode as decode_whole
from auditflow.event.paths import parse_path
from auditflow.pipelines.decide.condition import Condition, compile_condition, reader
from auditflow.pipelines.decide.sample import keeps

Takes = Callable[[bytes], bool]


def compile_filter(condition: Condition | None, sample: float = 1.0) -> Takes | None:
    """Give a function of an event's bytes; None when every event is taken.

    The function raises what decoding raises for bytes that are no JSON object.
    """
    rules = condition.rules if condition is not None else ()
    if not rules and sample >= 1:
        return None
    paths = [parse_path(rule.field) for rule in rules] + ([["eventId"]] if sample < 1 else [])
    view = FieldAccess(paths)
    decode = view.decode
    holds = _holds(condition, sample, lambda path: view.reader(parse_path(path)))
    holds_whole = _holds(condition, sample, reader)

    def takes(event: bytes) -> bool:
        try:
            fields = decode(event)
        except REFUSED:  # only a whole look tells what it means that a field on the way is no object, or a number too large
            return holds_whole(decode_whole(event))
        return holds(fields)

    return takes


def _holds(
    condition: Condition | None, sample: float, reader: Callable[[str], Callable[[Any], Any]]
) -> Callable[[Any], bool]:
    kept = keeps(sample)
    event_id = reader("eventId") if sample < 1 else None
    if condition is None or not condition.rules:
        return lambda fields: kept(event_id(fields)) if event_id else True
    matches = compile_condition(condition, reader)
    if event_id is None:
        return matches
    return lambda fields: matches(fields) and kept(event_id(fields))
