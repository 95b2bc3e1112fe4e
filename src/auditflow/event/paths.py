"""Paths of fields in an event: one grammar for conditions, redaction and names.

Names are joined by dots and follow exactly, upper and lower case apart: ``extra.items[0].sku``. A name that holds a
dot, a bracket or a star is quoted, as in JSON or with single quotes: ``extra."addr.remote"`` or
``extra["addr.remote"]``. Where several fields may be meant, ``*`` stands for every member of an object, ``[*]`` for
every item of a list, and ``**`` for any depth: ``extra.**.password``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

from auditflow.event.model import FIELDS, Geolocation
from auditflow.settings import misfit


class Every(Enum):
    """A step to several children at once."""

    MEMBER = "*"
    ITEM = "[*]"
    DEPTH = "**"
    """To the object or list itself and all that are in it."""


Step = str | int | Every

MOST_STEPS: Final = 64
"""Steps of the longest path that is followed."""

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'"
_NAME: Final = r"""[^.\[\]*"'\s](?:[^.\[\]*]*[^.\[\]*\s])?"""
_SEGMENT: Final = re.compile(
    rf"(?:(?P<deep>\*\*)|(?P<every>\*)|(?P<quoted>{_QUOTED})|(?P<name>{_NAME}))(?P<inside>(?:\[(?:\d+|\*|{_QUOTED})\])*)",
    re.ASCII,
)
_INSIDE: Final = re.compile(rf"\d+|\*|{_QUOTED}", re.ASCII)
_plain: Final = re.compile(_NAME).fullmatch
_HINT: Final = (
    """join names by dots, as in extra.items[0].card; quote a name that holds one: extra."addr.remote\""""
)
_HINT_OF_MANY: Final = f"{_HINT}; * stands for every member, [*] for every item, ** for any depth"
_ONE_ONLY: Final = """this reads one field; if the star is part of its name, quote it: extra."a*b\""""


def parse_path(path: str) -> list[str | int]:
    """Split the path of one field into names and indexes. Raises PydanticCustomError, which says what a path looks like."""
    if not path.strip():
        raise misfit("expected the path of a field, not an empty text")
    steps = _steps(path, _HINT)
    one = [step for step in steps if not isinstance(step, Every)]
    if len(one) < len(steps):
        raise misfit("* stands for several fields", _ONE_ONLY)
    return one


def parse_pattern(path: str) -> tuple[Step, ...]:
    """Split the path of one field or several. Raises PydanticCustomError, which says what a path looks like."""
    steps = _steps(path, _HINT_OF_MANY)
    if steps[0] is Every.MEMBER:
        raise misfit(
            "a path begins with the name of a field", "name it, as in extra.*, or write ** for any depth"
        )
    if steps.count(Every.DEPTH) > 1:
        raise misfit("** stands twice in the path", "once is enough: it stands for any depth")
    if steps[-1] is Every.DEPTH or not any(isinstance(step, str) for step in steps):
        raise misfit(
            "a path ends with a name, an index or a star",
            "say what is meant at any depth, as in extra.**.password",
        )
    return tuple(steps)


def written(name: str) -> str:
    """Write a name as a path has it."""
    return name if _plain(name) else json.dumps(name, ensure_ascii=False)


def _steps(path: str, hint: str) -> list[Step]:
    steps: list[Step] = []
    start = 0
    while True:
        match = _SEGMENT.match(path, start)
        if match is None or path[match.end() : match.end() + 1] not in {"", "."}:
            raise misfit(f"not the path of a field at {path[start:].partition('.')[0]!r}", hint)
        if match["deep"] or match["every"]:
            steps.append(Every.DEPTH if match["deep"] else Every.MEMBER)
        else:
            steps.append(_unquoted(match["quoted"]) if match["quoted"] else match["name"])
        steps += map(_inside, _INSIDE.findall(match["inside"]))
        start = match.end() + 1
        if match.end() == len(path):
            break
    if len(steps) > MOST_STEPS:
        raise misfit(f"a path of {len(steps)} steps; at most {MOST_STEPS} are followed")
    return steps


def _inside(text: str) -> Step:
    if text == "*":
        return Every.ITEM
    return int(text) if text[0] not in "\"'" else _unquoted(text)


def _unquoted(text: str) -> str:
    if text.startswith("'"):
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    try:
        name: str = json.loads(text, strict=False)
    except ValueError:
        raise misfit(
            f"not the path of a field at {text}", "between double quotes, write it as in JSON"
        ) from None
    return name


_OBJECTS: Final = frozenset({"geolocation", "extra"})
_PLACE: Final = tuple(field.encode_name for field in msgspec.structs.fields(Geolocation))
_NAMES: Final = {name.lower(): name for name in FIELDS}


def unreachable(steps: Sequence[Step]) -> str:
    """Say why no event that is accepted has a field there; nothing if one may."""
    first, *rest = steps
    if first in FIELDS and first not in _OBJECTS:
        return f"{first} is a text: nothing is below it" if rest else ""
    if first == "extra" and rest and (isinstance(rest[0], int) or rest[0] is Every.ITEM):
        return "extra is an object, not a list"
    if first == "geolocation" and rest and rest[0] not in {*_PLACE, Every.MEMBER, Every.DEPTH}:
        return f"geolocation has the fields {', '.join(_PLACE)}"
    meant = _NAMES.get(first.lower()) if isinstance(first, str) else None
    return f"upper and lower case differ: the field is called {meant}" if meant and meant != first else ""
