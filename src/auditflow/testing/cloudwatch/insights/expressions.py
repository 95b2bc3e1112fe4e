"""Conditions on a JSON event, as filter patterns (`$.a = "b" && …`) and queries (`a = "b" and …`) write them."""
# Tested in tests/testing/cloudwatch/insights/test_queries.py.

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Fields = Mapping[str, str]
"""Discovered fields: dotted path → value as text."""
Condition = Callable[[Fields], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<regex>/(?:\\.|[^/\\])+/i?)
      | (?P<name>`[^`]+`|[$@]?[A-Za-z_*.][\w.*@-]*|\$\.[^\s=!<>(){}&|]+)
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<sign>&&|\|\||!=|<=|>=|=~|[=<>(),\[\]])
    )""",
    re.VERBOSE,
)
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def fields_of(message: str) -> dict[str, str]:
    """Discover the fields of a message that is a JSON object; a message of another kind has none.

    Nested fields have dotted paths, items of lists their index; booleans are 1 and 0; nulls are left out.
    """
    try:
        decoded = json.loads(message)
    except ValueError:
        return {}
    return dict(_flattened(decoded, "")) if isinstance(decoded, dict) else {}


def _flattened(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in items:
            yield from _flattened(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, bool):
        yield path, str(int(value))
    elif value is not None:
        yield path, value if isinstance(value, str) else json.dumps(value)


def parse(text: str) -> Condition:
    """Build the condition that `text` writes; ValueError says what is not understood."""
    parser = _Parser(text)
    condition = parser.either()
    if parser.kind:
        raise ValueError(f"unexpected {parser.value!r}")
    return condition


class _Parser:
    """Recursive descent: either := both (or both)*; both := one (and one)*; one := [not] (either) | comparison."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.at = 0
        self.kind = self.value = ""
        self.advance()

    def advance(self) -> str:
        """Go to the next token and give the one left behind."""
        left = self.value
        if self.at >= len(self.text):
            self.kind = self.value = ""
            return left
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            raise ValueError(f"unexpected {self.text[self.at :]!r}")
        self.at = match.end()
        self.kind = str(match.lastgroup)
        self.value = match.group(self.kind)
        return left

    def took(self, *words: str) -> bool:
        """Pass over the token if it is one of the words."""
        if self.kind in {"name", "sign"} and self.value.lower() in words:
            self.advance()
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.took(sign):
            raise ValueError(f"expected {sign!r}, found {self.value!r}")

    def either(self) -> Condition:
        parts = [self.both()]
        while self.took("or", "||"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda fields: any(part(fields) for part in parts)

    def both(self) -> Condition:
        parts = [self.one()]
        while self.took("and", "&&"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else lambda fields: all(part(fields) for part in parts)

    def one(self) -> Condition:
        if self.took("not"):
            negated = self.one()
            return lambda fields: not negated(fields)
        if self.took("("):
            inner = self.either()
            self.expect(")")
            return inner
        if self.took("ispresent"):
            self.expect("(")
            name = self.name()
            self.expect(")")
            return lambda fields: name in fields
        return self.comparison()

    def name(self) -> str:
        if self.kind != "name":
            raise ValueError(f"expected a field, found {self.value!r}")
        return self.advance().strip("`").removeprefix("$.")

    def comparison(self) -> Condition:
        name = self.name()
        negated = self.took("not")
        if self.took("like", "=~"):
            found = self._search()
            return lambda fields: found(fields.get(name, "")) is not negated
        if self.took("in"):
            values = self._list()
            return lambda fields: (fields.get(name) in values) is not negated
        if self.took("exists"):
            return lambda fields: (name in fields) is not negated
        if self.value not in _COMPARE or negated:
            raise ValueError(f"expected a comparison after {name}, found {self.value!r}")
        return _comparison(name, self.advance(), self._value())

    def _value(self) -> str:
        if self.kind not in {"text", "number", "name"}:
            raise ValueError(f"expected a value, found {self.value!r}")
        quoted = self.kind == "text"
        value = self.advance()
        if quoted:
            return re.sub(r"\\(.)", r"\1", value[1:-1])
        return {"true": "1", "false": "0"}.get(value.lower(), value)

    def _list(self) -> list[str]:
        self.expect("[")
        values = [self._value()]
        while self.took(","):
            values.append(self._value())
        self.expect("]")
        return values

    def _search(self) -> Callable[[str], bool]:
        if self.kind == "regex":
            body, _, flags = self.advance()[1:].rpartition("/")
            pattern = re.compile(body, re.IGNORECASE if flags else 0)
            return lambda text: pattern.search(text) is not None
        needle = self._value()
        return lambda text: needle in text


def _comparison(name: str, sign: str, wanted: str) -> Condition:
    """Compare as numbers where both are numbers, else as text; `*` in the wanted text stands for anything."""
    compare, number = _COMPARE[sign], _number(wanted)
    if "*" in wanted and sign in {"=", "!="}:
        shape = re.compile(".*".join(map(re.escape, wanted.split("*"))), re.DOTALL)
        return lambda fields: name in fields and (shape.fullmatch(fields[name]) is not None) is (sign == "=")

    def holds(fields: Fields) -> bool:
        if name not in fields:
            return False
        found = _number(fields[name])
        if number is not None and found is not None:
            return compare(found, number)
        return compare(fields[name], wanted)

    return holds


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
