"""Paths of redaction rules: `extra.email`, `items[0].card`, `extra.*.email`, `items[*].card`.

Names are joined by dots and follow exactly, upper and lower case apart; `*` stands for every member of an
object, `[*]` for every item of a list. A path that leads nowhere has no places.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final

from auditflow.settings import misfit


class Every(Enum):
    """A step to all children at once."""

    MEMBER = "*"
    ITEM = "[*]"


Step = str | int | Every
Container = Any
"""An object or a list of an event: what a place lies in."""
Path = tuple[Any, str | int] | None
"""The last key or index behind the path so far; None is the event itself."""
Place = tuple[Container, Any, Path]
"""Container, key in it, and the path to it."""

_SEGMENT: Final = re.compile(r"(\*|[^.\[\]*]+)((?:\[(?:\d+|\*)\])*)", re.ASCII)
_INDEX: Final = re.compile(r"\d+|\*", re.ASCII)
_MOST_STEPS: Final = 64
_SYNTAX_HINT: Final = (
    "join names by dots, as in extra.items[0].card; * stands for every member, [*] for every item"
)


def parse_path(path: str) -> tuple[Step, ...]:
    """Split a path into names, indexes and wildcards; the error says what a path looks like."""
    steps: list[Step] = []
    for segment in path.split("."):
        match = _SEGMENT.fullmatch(segment)
        if match is None:
            raise misfit(f"not the path of a field at {segment!r}", _SYNTAX_HINT)
        steps.append(Every.MEMBER if match[1] == "*" else match[1])
        steps += [Every.ITEM if index == "*" else int(index) for index in _INDEX.findall(match[2])]
    if steps[0] is Every.MEMBER:
        raise misfit("a path begins with the name of a field", "name it, as in extra.*")
    if len(steps) > _MOST_STEPS:
        raise misfit(f"a path of {len(steps)} steps; at most {_MOST_STEPS} are followed")
    return tuple(steps)


def path_text(path: Path) -> str:
    """Write a path as a rule would name it."""
    text = ""
    while path is not None:
        path, key = path
        text = f"[{key}]{text}" if isinstance(key, int) else f".{key}{text}"
    return text.removeprefix(".")


def places(event: dict[str, Any], steps: Sequence[Step]) -> Iterator[Place]:
    """Give every place that the steps lead to."""
    nodes: list[tuple[Container, Path]] = [(event, None)]
    for step in steps[:-1]:
        nodes = [(child, (path, key)) for node, path in nodes for key, child in _children(node, step)]
    for node, path in nodes:
        for key, _ in _children(node, steps[-1]):
            yield node, key, (path, key)


def _children(node: Container, step: Step) -> Iterable[tuple[Any, Any]]:
    if isinstance(node, dict):
        if step is Every.MEMBER:
            return node.items()
        return ((step, node[step]),) if step in node else ()
    if isinstance(node, list):
        if step is Every.ITEM:
            return enumerate(node)
        return ((step, node[step]),) if isinstance(step, int) and step < len(node) else ()
    return ()


def leaves(place: Place) -> Iterator[Place]:
    """Give every place at or below one that holds neither an object nor a list.

    Values may be replaced meanwhile. Not recursive, and a path is one pair for each leaf: events may be deep.
    """
    node, key, path = place
    if not isinstance(node[key], (dict, list)):
        yield place
        return
    pending = [(node[key], path)]
    while pending:
        node, path = pending.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(value, (dict, list)):
                pending.append((value, (path, key)))
            else:
                yield node, key, (path, key)
