"""A condition that loads decides about every event."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from pydantic import ValidationError

from auditflow.pipelines.decide.condition import Condition, compile_condition
from auditflow.pipelines.decide.operators import OPERATORS

from . import grammar

FIELDS = (
    "eventType",
    "extra",
    "extra.userId",
    "extra.items[0].a",
    "extra.a[0][1]",
    "a.b.c",
    "geolocation.lat",
    "größe",
    "x..y",
)
VALUES = ("", "a", "auth.", "1", "1.0", "-1e5", "nan", "inf", ".*", "(a+)+$", "(", "[", "\\", "a{1000}", "(?i)A", "a,b, c", "é",
          1, -5, 1.5, True, None, ["a", 1], [None], {"a": 1}, "9" * 400, "1e400")  # fmt: skip


def check(dice: Random) -> None:
    rules = [
        {"field": dice.choice(FIELDS), "operator": _operator(dice), "value": dice.choice(VALUES)}
        for _ in range(dice.randrange(4))
    ]
    for event in (_event(dice), _event(dice)):
        for chosen in ([rule] for rule in rules):
            _decides({"match": dice.choice(("all", "any")), "rules": chosen}, event)
        _decides({"match": dice.choice(("all", "any")), "rules": rules}, event)


def _decides(condition: dict[str, Any], event: dict[str, Any]) -> None:
    try:
        holds = compile_condition(Condition.model_validate(condition))
    except ValidationError:
        return
    assert holds(event) in {True, False}


def _operator(dice: Random) -> str:
    name = dice.choice([*OPERATORS, "equals", "like"])
    return dice.choice((name, name.upper(), name.lower()))


def _event(dice: Random) -> dict[str, Any]:
    while True:
        try:
            event = msgspec.json.decode(grammar.written(dice, grammar.event(dice)))
        except msgspec.DecodeError:  # numbers that are out of range
            continue
        return dict(event)
