"""Conditions: which events a pipeline takes. Checked when they are read, compiled once to closures.

A rule reads one field. An absent field, a JSON null and a path that leads nowhere make every operator false,
except `notExists`; so `neq`, `notIn` and `not_contains` are false on an absent field, unless the rule says
`missing: match`. Values are compared as text: strings as they are, everything else as its compact JSON (`true`,
`42`, `1.0`, `{"a":1}`). Where the bound of `gt`, `gte`, `lt` or `lte` is a number, numbers are compared exactly, and
what is no number makes it false.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from auditflow.errors import did_you_mean
from auditflow.event.fields import follow
from auditflow.event.model import encode
from auditflow.event.paths import parse_path
from auditflow.pipelines.decide.operators import OPERATORS, ORDERS, TESTS, compile_expression, number_of
from auditflow.settings import Settings, misfit

Event = dict[str, Any]


_CANONICAL: Final = {
    alias.lower(): name for name, each in OPERATORS.items() for alias in (name, *each.aliases)
}
_PRESENCE: Final = frozenset({"exists", "notExists"})
_MEMBERSHIP: Final = frozenset({"in", "notIn"})
_EXPRESSIONS: Final = frozenset({"regex", "search"})


class Rule(Settings):
    """One comparison of one field."""

    field: str
    """Path of the field: names joined by dots, list items by index, e.g. `extra.items[0].sku`, `extra."addr.remote"`."""
    operator: Annotated[str, WithJsonSchema({"anyOf": [{"enum": [*OPERATORS]}, {"type": "string"}]})]
    """How to compare, e.g. `eq`, `startsWith`, `in`, `exists`, `regex`, `gt`; upper and lower case are the same."""
    value: Annotated[
        str | tuple[str, ...] | None,
        Field(validate_default=True),
        WithJsonSchema({"type": ["string", "number", "boolean", "array"]}),
    ] = None
    """What to compare with: text, a number or a boolean; for `in` and `notIn` a list or text with commas."""

    missing: Literal["fail", "match"] = "fail"
    """What an absent field or null makes of the rule: `fail`, or `match` for rules as `neq` that mean all others."""

    @model_validator(mode="after")
    def _missing_says_something(self) -> Self:
        if self.operator in _PRESENCE and "missing" in self.model_fields_set:
            raise misfit(f"missing: the operator {self.operator} is about that itself", "leave it out")
        return self

    @field_validator("field")
    @classmethod
    def _path(cls, field: str) -> str:
        parse_path(field)
        return field

    @field_validator("operator")
    @classmethod
    def _known_operator(cls, operator: str) -> str:
        canonical = _CANONICAL.get(operator.lower())
        if canonical is None:
            known = ", ".join(OPERATORS)
            hint = did_you_mean(
                operator, [*OPERATORS, *chain(*(each.aliases for each in OPERATORS.values()))]
            )
            raise misfit(f"unknown operator {operator!r}", f"{hint} known operators: {known}".strip())
        return canonical

    @field_validator("value", mode="before")
    @classmethod
    def _comparable(cls, value: Any, info: ValidationInfo) -> str | tuple[str, ...] | None:
        operator = info.data.get("operator")
        if operator in _PRESENCE and value is not None:
            raise misfit(f"the operator {operator} takes no value", _presence_hint(operator, value))
        if operator in _MEMBERSHIP:
            value = _members(value)
        elif isinstance(value, (list, tuple, dict)):
            raise misfit("expected text, a number or a boolean", "a list is for the operators in and notIn")
        if value is None and operator is not None and operator not in _PRESENCE:
            raise misfit(f"required by the operator {operator}, but missing")
        if operator in _EXPRESSIONS:
            compile_expression(_text(value))
        return value if value is None or isinstance(value, tuple) else _text(value)


class Condition(Settings):
    """Which events a pipeline takes: those that satisfy all rules, or any. Without rules, every event."""

    match: Literal["all", "any"] = "all"
    """Whether all rules must hold, or any one."""
    rules: tuple[Rule, ...] = ()
    """The comparisons, tried in order until the answer is known."""


def reader(path: str) -> Callable[[Event], Any]:
    """Give a function that follows the path and ends in None where it leads nowhere."""
    steps = parse_path(path)
    return lambda event: follow(event, steps)


def compile_condition(
    condition: Condition, reader: Callable[[str], Callable[[Any], Any]] = reader
) -> Callable[[Any], bool]:
    """Turn a condition into a function of the decoded event, or of whatever `reader` reads."""
    rules = [_compile_rule(rule, reader(rule.field)) for rule in condition.rules]
    if not rules:
        return lambda _event: True
    if len(rules) == 1:
        return rules[0]

    def every(event: Event) -> bool:
        for holds in rules:  # noqa: SIM110 - a generator doubles the cost, and this runs per event
            if not holds(event):
                return False
        return True

    def some(event: Event) -> bool:
        for holds in rules:  # noqa: SIM110 - a generator doubles the cost, and this runs per event
            if holds(event):
                return True
        return False

    return every if condition.match == "all" else some


def _compile_rule(rule: Rule, read: Callable[[Any], Any]) -> Callable[[Any], bool]:
    if rule.operator == "exists":
        return lambda event: read(event) is not None
    if rule.operator == "notExists":
        return lambda event: read(event) is None
    absent = rule.missing == "match"
    test = TESTS[rule.operator](rule.value)
    compare, bound = ORDERS.get(rule.operator), number_of(rule.value) if isinstance(rule.value, str) else None
    if compare is not None and bound is not None:
        return _beyond(read, compare, bound, absent)

    def holds(event: Event) -> bool:
        value = read(event)
        return absent if value is None else test(value if type(value) is str else _text(value))

    return holds


def _beyond(
    read: Callable[[Any], Any], compare: Callable[[Any, Any], bool], bound: Decimal, absent: bool
) -> Callable[[Any], bool]:
    """Compare with a number: exactly, and false for what is none. A text that is written like a number is one."""
    exact = int(bound) if bound.as_tuple().exponent == 0 else bound  # integers compare several times as fast
    rounded = (
        exact if isinstance(exact, int) else float(bound)
    )  # a fraction in JSON was read as the nearest double

    def holds(event: Event) -> bool:
        value = read(event)
        if type(value) is int:
            return compare(value, exact)
        if type(value) is float:
            return compare(value, rounded)
        if value is None:
            return absent
        if isinstance(value, (bool, list, dict)):
            return False
        number = number_of(value if type(value) is str else _text(value))
        return number is not None and compare(number, bound)

    return holds


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode()


def _presence_hint(operator: str, value: Any) -> str:
    if value in (False, "false"):
        return f"write {'notExists' if operator == 'exists' else 'exists'}, without a value"
    return "leave the value out"


def _members(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    items = value if isinstance(value, (list, tuple)) else [item.strip() for item in _text(value).split(",")]
    if (
        not items
        or isinstance(value, dict)
        or any(item is None or isinstance(item, (list, tuple, dict)) for item in items)
    ):
        raise misfit("expected a list of texts, numbers or booleans, or text with commas")
    return tuple(_text(item) for item in items)
