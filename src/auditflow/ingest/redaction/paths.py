"""Places in an event that the paths of redaction rules lead to. A path that leads nowhere has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from auditflow.event.paths import Every, Step, written

Container = Any
"""An object or a list of an event: what a place lies in."""
Path = tuple[Any, str | int] | None
"""The last key or index behind the path so far; None is the event itself."""
Place = tuple[Container, Any, Path]
"""Container, key in it, and the path to it."""


def path_text(path: Path) -> str:
    """Write a path as a rule would name it."""
    text = ""
    while path is not None:
        path, key = path
        text = f"[{key}]{text}" if isinstance(key, int) else f".{written(key)}{text}"
    return text.removeprefix(".")


def places(event: dict[str, Any], steps: Sequence[Step]) -> Iterator[Place]:
    """Give every place that the steps lead to."""
    nodes: list[tuple[Container, Path]] = [(event, None)]
    for step in steps[:-1]:
        if step is Every.DEPTH:
            nodes = [inner for node, path in nodes for inner in _containers(node, path)]
        else:
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


def _containers(node: Container, path: Path) -> Iterator[tuple[Container, Path]]:
    """Give an object or list and all that are in it. Not recursive: events may be deep."""
    pending = [(node, path)]
    while pending:
        node, path = pending.pop()
        if isinstance(node, (dict, list)):
            yield node, path
            members = node.items() if isinstance(node, dict) else enumerate(node)
            pending += [(child, (path, key)) for key, child in members if isinstance(child, (dict, list))]


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


def names(node: Container, path: Path = None) -> Iterator[Place]:
    """Give the place of every member, at any depth: what it is called may be personal, too."""
    for inner, above in _containers(node, path):
        if isinstance(inner, dict):
            yield from ((inner, name, (above, name)) for name in inner)
