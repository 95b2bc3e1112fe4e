"""The operators of conditions: what each is called, when it holds, and its test of a field's text."""
# Tested in tests/pipelines/decide/test_condition.py.

from __future__ import annotations

import operator as comparisons
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from auditflow.settings import misfit

Test = Callable[[str], bool]
"""Whether the text of a field that is there satisfies a rule."""


class Operator(NamedTuple):
    """When an operator holds, in words for people; and its other names."""

    meaning: str
    aliases: tuple[str, ...] = ()


OPERATORS: Final = {
    "eq": Operator("the text is the value", ("equals",)),
    "neq": Operator("the text is not the value", ("not_equals", "notequals")),
    "contains": Operator("the value is somewhere in the text; of a list or object, in its JSON"),
    "not_contains": Operator("the value is nowhere in the text", ("notcontains",)),
    "startsWith": Operator("the text begins with the value", ("starts_with",)),
    "endsWith": Operator("the text ends with the value", ("ends_with",)),
    "in": Operator("the text is one of the values"),
    "notIn": Operator("the text is none of the values", ("not_in",)),
    "exists": Operator("the field is there and not null; takes no value"),
    "notExists": Operator("the field is absent or null; takes no value", ("not_exists",)),
    "regex": Operator(
        "the whole text matches the expression (RE2): `login` does not match `auth.login`", ("matches",)
    ),
    "search": Operator("the expression (RE2) matches somewhere in the text"),
    "gt": Operator(
        "greater than the value: as exact numbers if the value is one, and then false for what is no number; else as text"
    ),
    "gte": Operator("greater than the value, or equal; as `gt`", ("ge",)),
    "lt": Operator("less than the value; as `gt`"),
    "lte": Operator("less than the value, or equal; as `gt`", ("le",)),
    "eqIgnoreCase": Operator("the text is the value, in upper or lower case", ("eq_ignore_case",)),
}


_NUMBER_LENGTH: Final = 10_000
"""A longer text is compared as text, and is no number."""
_DECIMAL: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def number_of(text: str) -> Decimal | None:
    """Give the number that a text is, exactly; None for any other."""
    if len(text) > _NUMBER_LENGTH or not _DECIMAL.fullmatch(text):
        return None
    try:
        return Decimal(text.strip())
    except InvalidOperation:  # an exponent of 19 digits
        return None


def _ordered(holds: Callable[[str, str], bool]) -> Callable[[str], Test]:
    """Compare as text; with a number as bound, see `_beyond`."""
    return lambda expected: lambda text: holds(text, expected)


def _equal_ignoring_case(expected: str) -> Test:
    lowered = expected.lower()
    return lambda text: text.lower() == lowered


def compile_expression(pattern: str) -> Any:
    """Compile a regular expression of RE2, which takes linear time. Raises a misfit that says what is wrong."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise misfit(f"not a regular expression that can be used: {reason}", _regex_hint(pattern)) from None


def _regex_hint(pattern: str) -> str:
    if re.search(r"\(\?<?[=!]|\\[1-9]", pattern):
        return (
            "the engine is RE2, which has no look-around, (?=…) (?!…) (?<=…) (?<!…), and no back-references"
        )
    return "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax"


def _matches(pattern: str) -> Test:
    fullmatch = compile_expression(pattern).fullmatch
    return lambda text: fullmatch(text) is not None


def _finds(pattern: str) -> Test:
    search = compile_expression(pattern).search
    return lambda text: search(text) is not None


ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": comparisons.gt,
    "gte": comparisons.ge,
    "lt": comparisons.lt,
    "lte": comparisons.le,
}
TESTS: Final[dict[str, Callable[[Any], Test]]] = {
    "eq": lambda expected: lambda text: text == expected,
    "neq": lambda expected: lambda text: text != expected,
    "contains": lambda expected: lambda text: expected in text,
    "not_contains": lambda expected: lambda text: expected not in text,
    "startsWith": lambda expected: lambda text: text.startswith(expected),
    "endsWith": lambda expected: lambda text: text.endswith(expected),
    "in": lambda expected: frozenset(expected).__contains__,
    "notIn": lambda expected: lambda text: text not in expected,
    "regex": _matches,
    "search": _finds,
    **{name: _ordered(compare) for name, compare in ORDERS.items()},
    "eqIgnoreCase": _equal_ignoring_case,
}
