"""Random JSON: values, and the many ways to write one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from auditflow.testing.sample_events import sample_events

NAMES = ("eventType", "sourceSystem", "eventId", "eventTime", "timestamp", "tenantId", "correlationId", "geolocation",
         "lat", "city", "extra", "email", "userId", "items", "a", "b", "größe", "a/b", 'q"', "redaction", "")  # fmt: skip
TEXTS = (
    "",
    "x",
    "email",
    '"email":',
    "\\",
    "\\u0065",
    "{",
    "[",
    "\n",
    "\t",
    "\x7f",
    "é",
    "日本",
    "😀",
    "null",
    "1.0",
    "a.b",
)
NUMBERS = (
    "0",
    "-0",
    "1",
    "1.0",
    "-1.5e-7",
    "1e400",
    "12345678901234567890123",
    "0.10000000000000000000001",
    "4111111111111111",
)


class Members(list[tuple[str, Any]]):
    """An object as its members, in which a name may come twice."""


class Number(str):
    """A number as it is written."""

    __slots__ = ()


def text(dice: Random) -> str:
    return "".join(dice.choice(TEXTS) for _ in range(dice.randrange(3)))


def value(dice: Random, depth: int = 4) -> Any:
    kind = dice.randrange(8 if depth else 5)
    if kind < 2:
        return text(dice)
    if kind == 2:
        return Number(dice.choice(NUMBERS))
    if kind < 5:
        return dice.choice((None, True, False))
    if kind == 5:
        return [value(dice, depth - 1) for _ in range(dice.randrange(4))]
    return members(dice, depth)


def members(dice: Random, depth: int = 4) -> Members:
    return Members((_name(dice), value(dice, depth - 1)) for _ in range(dice.randrange(6)))


def _name(dice: Random) -> str:
    return dice.choice(NAMES if dice.random() < 0.5 else ("extra", "email", "userId", "a", "b"))


def event(dice: Random) -> Members:
    """Give the members of an event that is valid, or close to it."""
    sample = next(sample_events(dice.randrange(100)))
    fields = Members((name, _as_members(each)) for name, each in sample.items())
    for _ in range(dice.randrange(4)):
        fields.insert(dice.randrange(len(fields) + 1), (_name(dice), value(dice)))
    return fields


def _as_members(given: Any) -> Any:
    if isinstance(given, dict):
        return Members((name, _as_members(each)) for name, each in given.items())
    return Number(json.dumps(given)) if isinstance(given, int | float) else given


def written(dice: Random, given: Any) -> str:
    """Write JSON as one of the many clients does: compact or not, with escapes that are not needed, and mixed."""
    spaces = dice.choice((("",), ("",), (" ",), ("", "", " ", "\n", "\r\n\t")))
    styles = dice.choice(((0,), (4,), (0, 0, 0, 0, 1, 2, 3, 4)))
    return _written(dice, given, spaces, styles)


def _written(dice: Random, given: Any, spaces: Sequence[str], styles: Sequence[int]) -> str:
    if isinstance(given, Members):
        pairs = [
            f"{_text(dice.choice(styles), name)}:{dice.choice(spaces)}{_written(dice, each, spaces, styles)}"
            for name, each in given
        ]
        return "{" + f",{dice.choice(spaces)}".join(pairs) + f"{dice.choice(spaces).strip(' ')}}}"
    if isinstance(given, list):
        return (
            "[" + f",{dice.choice(spaces)}".join(_written(dice, each, spaces, styles) for each in given) + "]"
        )
    if isinstance(given, Number):
        return str(given)
    return _text(dice.choice(styles), given) if isinstance(given, str) else json.dumps(given)


def _text(style: int, given: str) -> str:
    if style == 0:
        return json.dumps(given)
    if style == 1:
        return '"' + "".join(f"\\u{unit:04x}" for unit in _utf16(given)) + '"'
    quoted = json.dumps(given, ensure_ascii=False)
    if style == 2:
        return quoted.replace("/", "\\/")
    if style == 3 and given[:1].isalpha() and given[:1].isascii():
        return f'"\\u{ord(given[0]):04X}{quoted[2:]}'
    return quoted


def _utf16(given: str) -> list[int]:
    encoded = given.encode("utf-16-be")
    return [int.from_bytes(encoded[at : at + 2]) for at in range(0, len(encoded), 2)]


def mutated(dice: Random, raw: bytes) -> bytes:
    """Change, remove or repeat a few bytes."""
    data = bytearray(raw)
    for _ in range(dice.randrange(1, 4)):
        at, length = dice.randrange(len(data) + 1), dice.randrange(1, 9)
        match dice.randrange(4):
            case 0:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length * 8]
            case 3:
                data[at:at] = dice.choice(
                    (b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\xff", b"\\ud800", b"\n", b"1e", b"-")
                )
    return bytes(data)
